"""``weights.json`` beside the weights of a version: what they are, whence, and the SHA-256 of every file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from ipa_seldon.fields import Document

RECORD = "weights.json"


class Origin(Document):
    """Where the weights of a variant come from; equal origins give equal files."""

    variant: str
    source: Literal["hub", "folder", "random"]
    licence: str | None = None
    """As the owners of the weights state it; random ones have none."""
    tiny: bool = False
    seed: int | None = None
    """Of random weights."""
    options: dict[str, Any] | None = None
    """Of random weights: what their builder was given."""
    hub: str | None = None
    """The repository on the model hub, owner/name."""
    revision: str | None = None
    """The commit there; of a folder, a digest of all that was in it."""
    folder: str | None = None
    """The local directory they were copied from."""


class File(Document):
    """What a file was when it was written; ``size`` in bytes."""

    sha256: str
    size: int


class Record(Document):
    """Origin and files of the weights in one directory."""

    origin: Origin
    files: dict[str, File]
    """By path, relative to the directory."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


def read_record(directory: Path) -> Record | None:
    """The record in a version's directory; None where there is none, or none that can be read."""
    try:
        return Record.model_validate_json((directory / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError):
        return None


def write_record(directory: Path, origin: Origin) -> Record:
    """Record every file in ``directory`` as it is now."""
    record = Record(origin=origin, files=_files(directory))
    text = record.model_dump_json(indent=2, exclude_none=True)
    (directory / RECORD).write_text(text + "\n", encoding="utf-8")
    return record


def is_intact(directory: Path, record: Record) -> bool:
    """Whether the directory holds exactly the files of its record, bit for bit."""
    return _sizes(directory) == {name: file.size for name, file in record.files.items()} and (
        _files(directory) == record.files
    )


def digest(directory: Path) -> str:
    """Of names and contents of all files there, in hexadecimal."""
    lines = [f"{name} {file.sha256}\n" for name, file in _files(directory).items()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """The digest of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _paths(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file() and path != directory / RECORD)


def _sizes(directory: Path) -> dict[str, int]:
    return {path.relative_to(directory).as_posix(): path.stat().st_size for path in _paths(directory)}


def _files(directory: Path) -> dict[str, File]:
    return {
        path.relative_to(directory).as_posix(): File(sha256=sha256_of(path), size=path.stat().st_size)
        for path in _paths(directory)
    }
