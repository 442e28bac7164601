"""The results of an experiment on disk: one CSV, a row per run, that survives whatever ends the experiment."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path

from ipa_seldon.errors import ConfigError
from ipa_seldon.experiments.grid import Run

IDENTITY = ("pipeline", "load", "method", "seed")
KEY = "key"
Value = str | int | float | None
Row = Mapping[str, Value]


def row_of(run: Run, figures: Mapping[str, int | float | None]) -> Row:
    """The row of a run that ended."""
    cell = run.cell
    return {"pipeline": cell.pipeline, "load": cell.load, "method": cell.method, "seed": run.seed, **figures} | {
        KEY: run.key
    }


class ResultStore:
    """The rows in the file at ``path``, each added to it as soon as it is known.

    A row that is added replaces the one of the same pipeline, load, method and seed. A last line that was not written
    to its end is left out.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = {_identity(row): row for row in _read(path)}
        self._columns: tuple[str, ...] = ()
        if self._rows:
            self.save()

    def all_rows(self) -> list[Row]:
        """Every row, sorted, of runs of other experiments too."""
        return [self._rows[identity] for identity in sorted(self._rows)]

    def rows(self, runs: Iterable[Run]) -> list[Row]:
        """The rows of those ``runs`` whose results are there, in their order."""
        found = ((run, self._rows.get((run.cell.pipeline, run.cell.load, run.cell.method, run.seed))) for run in runs)
        return [row for run, row in found if row is not None and row[KEY] == run.key]

    def has(self, run: Run) -> bool:
        """Whether the result of ``run`` is there."""
        return bool(self.rows([run]))

    def add(self, row: Row) -> None:
        """Keep a row, on disk before this returns."""
        self._rows[_identity(row)] = row
        if tuple(row) != self._columns:
            self.save()
            return
        with self._path.open("a", encoding="utf-8", newline="") as stream:
            stream.write(_csv([row], self._columns))
            stream.flush()
            os.fsync(stream.fileno())

    def save(self) -> None:
        """Write the file anew, sorted and without what was replaced; whole or not at all."""
        rows = self.all_rows()
        self._columns = tuple(dict.fromkeys(chain.from_iterable(rows)))
        beside = self._path.with_suffix(".new")
        beside.write_text(_csv([dict(zip(self._columns, self._columns, strict=True)), *rows], self._columns), "utf-8")
        beside.replace(self._path)


def _identity(row: Row) -> tuple[str, str, str, int]:
    pipeline, load, method, seed = (row[column] for column in IDENTITY)
    return str(pipeline), str(load), str(method), int(seed or 0)


def _csv(rows: Iterable[Row], columns: Iterable[str]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, list(columns), lineterminator="\n").writerows(rows)
    return text.getvalue()


def _read(path: Path) -> list[Row]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    lines = list(csv.reader(text[: text.rfind("\n") + 1].splitlines()))
    columns = lines[0] if lines else []
    if lines and not {*IDENTITY, KEY} <= set(columns):
        raise ConfigError(
            f"{path}: columns {', '.join(columns)}; accepted: results of ipa-seldon experiment, or no file"
        )
    names = (*IDENTITY[:3], KEY)
    return [
        {
            column: text if column in names else _number(text, f"{path}, line {number}, {column}")
            for column, text in zip(columns, line, strict=True)
        }
        for number, line in enumerate(lines[1:], start=2)
        if len(line) == len(columns)
    ]


def _number(text: str, where: str) -> int | float | None:
    if not text:
        return None
    try:
        return int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        raise ConfigError(f"{where}: {text!r}; accepted: a number") from None
