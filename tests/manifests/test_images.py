"""The images hold what the programs in them import, at locked versions. None is built here: that needs a daemon."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ipa_seldon import __version__
from ipa_seldon.platforms.triton_server import OUR_BACKENDS
from ipa_seldon.schema import SeldonSpec
from tests.manifests.documents import BASE, MANIFESTS, ROOT, built, only

IMAGES = MANIFESTS / "images"
UV = Path(sys.executable).with_name("uv")
DISTRIBUTIONS = {"cv2": "opencv-python-headless"}
"""Where the name of a package and of its import differ."""


def instructions(image: str) -> list[tuple[str, str]]:
    """(word, rest) of a Dockerfile, lines joined."""
    text = (IMAGES / image / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def values(image: str, word: str) -> list[str]:
    """The rests of one word's instructions, in order."""
    return [rest for found, rest in instructions(image) if found == word]


def locked(path: Path) -> dict[str, str]:
    """Package -> version of a lock file."""
    pairs = re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(pairs)


def resolved(*words: str) -> dict[str, str]:
    """Package -> version that uv would install; the test fails with uv's words when it finds no such set."""
    done = subprocess.run([UV, *words, "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^ \+ ([a-z0-9-]+)==(\S+)", done.stderr, re.MULTILINE))


@pytest.mark.parametrize("image", ["ipa-seldon", "seldon-bridge", "triton-text", "triton-models"])
def test_images_are_pinned_and_run_as_a_number(image: str) -> None:
    """Every base has a tag that names a release; the last user is a number, and not root's."""
    for base in values(image, "FROM"):
        assert re.search(r":[\w.-]*\d+\.\d+", base), base
    assert int(values(image, "USER")[-1].split(":")[0]) > 0


def test_users_agree() -> None:
    """The adapter's pods run as the user that the image states."""
    context = only(built(BASE), "Deployment")["spec"]["template"]["spec"]["securityContext"]
    assert values("ipa-seldon", "USER") == [f"{context['runAsUser']}:{context['runAsGroup']}"]


def installed(image: str, env: Path) -> dict[str, str]:
    """Package -> version that the image's own command would install into a new environment."""
    (command,) = (run for run in values(image, "RUN") if "-r pyproject.toml" in run)
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, env], check=True)
    words = shlex.split(command.replace("/opt/ipa-seldon", str(env)).replace("--no-cache ", ""))
    assert words[0] == "uv"
    return resolved(*words[1:])


def test_a_cluster_gets_its_part_of_the_lock_file(tmp_path: Path) -> None:
    """The image's own command resolves, to versions of the lock file alone: what adapter and sidecar import is among
    them, the Triton of the demo and the development tools are not.
    """
    found = installed("ipa-seldon", tmp_path / "env")
    assert found.items() <= locked(ROOT / "requirements.lock").items()
    assert {"click", "highspy", "kubernetes", "prometheus-client", "statsmodels", "tritonclient"} <= set(found)
    assert not {"nvidia-pytriton", "matplotlib", "onnxruntime", "pytest"} & set(found)


def test_the_bridge_gets_a_lock_file_of_its_own(tmp_path: Path) -> None:
    """The extra ``seldon`` resolves to all of it, but for what other systems need."""
    lock = locked(ROOT / "requirements-seldon.lock")
    del lock["colorama"]  # Windows
    assert installed("seldon-bridge", tmp_path / "env") == lock


def test_what_the_images_are_built_with_is_locked() -> None:
    """The lock file has, with hashes, what the Dockerfiles take from it by name, and the build back end."""
    images = ("ipa-seldon", "seldon-bridge", "triton-text", "triton-models")
    runs = [run for image in images for run in values(image, "RUN")]
    named = re.findall(r"/\^([a-z]+)==/", " ".join(runs))
    assert named == ["uv", "uv", "click", "uv"]
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    for name in (*named, "hatchling"):
        assert re.search(rf"^{name}==\S+ \\\n    --hash=sha256:", text, re.MULTILINE), name


def test_tags_are_the_versions() -> None:
    """The commands that build the images tag them as the manifests name them."""
    for image, tag in (("ipa-seldon", "ipa-seldon"), ("seldon-bridge", "ipa-seldon-bridge")):
        assert f"-t {tag}:{__version__} ." in (IMAGES / image / "Dockerfile").read_text(encoding="utf-8")
    for image in ("triton-text", "triton-models"):
        assert values(image, "FROM")[-1] == SeldonSpec(model_uri="pvc://models").triton_image


def imported(folder: Path) -> set[str]:
    """The top-level modules that a folder's files import from elsewhere."""
    files = list(folder.rglob("*.py"))
    own = {file.stem for file in files} | {"triton_python_backend_utils"}
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - own - set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("image", "code", "packages"),
    [
        ("triton-text", ROOT / "model_repository" / "text", {"numpy", "onnxruntime", "opencv-python-headless"}),
        ("triton-models", OUR_BACKENDS / "transformers", {"numpy", "torch", "transformers"}),
    ],
)
def test_triton_has_what_its_models_import(tmp_path: Path, image: str, code: Path, packages: set[str]) -> None:
    """Each import is a locked package, and the lock file resolves for the image's Python 3.10, with hashes; torch
    alone is not in it, and what it needs is.
    """
    lock = IMAGES / image / "requirements.lock"
    assert {DISTRIBUTIONS.get(name, name) for name in imported(code)} == packages
    assert packages - {"torch"} <= set(locked(lock))
    assert not {name for name in locked(lock) if name.startswith(("nvidia", "torch", "triton"))}
    if "torch" in packages:
        needed = {Requirement(line) for line in requires("torch") or ()}
        assert {one.name for one in needed if not one.marker} <= set(locked(lock))
    found = resolved(
        *("pip", "install", "--require-hashes", "-r", str(lock), "--target", str(tmp_path)),
        *("--python-version", "3.10", "--python-platform", "x86_64-manylinux_2_35", "--only-binary", ":all:"),
    )
    assert found == locked(lock)


def test_torch_is_that_of_the_tests() -> None:
    """The image installs the version that `make` does, in its build for processors alone unless it is told another."""
    (command,) = (run for run in values("triton-models", "RUN") if "torch" in run)
    assert values("triton-models", "ARG") == ["TORCH_BACKEND=cpu"]
    assert '--torch-backend "$TORCH_BACKEND" torch==2.13.0 ' in command
    assert "torch==2.13.0\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
