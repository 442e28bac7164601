"""Tables in CSV files, row by row. Bad input is one line: file, line, column, value, what is accepted."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from ipa_seldon.errors import ConfigError


def open_text(path: Path) -> TextIO:
    """The file at ``path`` as text; ConfigError when it cannot be read."""
    try:
        return path.open(encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def header(path: Path) -> tuple[str, ...]:
    """The names of a CSV's columns; ConfigError when it is none."""
    with open_text(path) as lines:
        try:
            return tuple(next(csv.reader(lines), ()))
        except (UnicodeDecodeError, csv.Error) as error:
            raise ConfigError(f"{path}: not CSV: {error}") from error


def rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV with at least ``columns``, in any order, each with its place in words; ConfigError where a
    column is missing or there are none.
    """
    missing = [column for column in columns if column not in header(path)]
    if missing:
        raise ConfigError(f"{path}: column {missing[0]} is missing; accepted: {','.join(columns)}")
    with open_text(path) as lines:
        reader = csv.DictReader(lines)
        empty = True
        try:
            for row in reader:
                empty = False
                yield f"{path}: line {reader.line_num}", row
        except (UnicodeDecodeError, csv.Error) as error:
            raise ConfigError(f"{path}: line {reader.line_num + 1}: not CSV: {error}") from error
        if empty:
            raise ConfigError(f"{path}: no rows; accepted: {','.join(columns)}")


def number(where: str, column: str, text: str | None, whole: bool = False, zero: bool = False) -> float:
    """The finite number above 0 in ``text``, of at least 1 where it is to be ``whole``; or, with ``zero``, 0.
    ConfigError names the place.
    """
    try:
        found = float(text or "")
    except ValueError:
        found = math.nan
    if not (0 < found < math.inf or (zero and found == 0)) or (whole and found % 1):
        accepted = f"a whole number >= {int(not zero)}" if whole else "a number >= 0" if zero else "a number > 0"
        raise ConfigError(f"{where}: {column}: {text!r}: accepted: {accepted}")
    return found
