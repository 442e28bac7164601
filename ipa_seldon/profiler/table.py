"""The profile CSV: read, extended point by point, and never lost half-written."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipa_seldon.errors import ConfigError

KEY_COLUMNS = ("stage", "variant", "cores", "batch")
COLUMNS = (*KEY_COLUMNS, "latency", "throughput", "samples", "seed", "machine")


@dataclass(frozen=True)
class Point:
    """What is measured: one replica of a variant on ``cores`` cores with batches of ``batch``."""

    stage: str
    variant: str
    cores: int
    batch: int

    def __str__(self) -> str:
        return f"{self.stage} {self.variant}, cores {self.cores}, batch {self.batch}"


@dataclass(frozen=True)
class Row:
    """``latency``: seconds of one batch at the percentile; ``throughput``: requests/s; ``samples``: batches timed."""

    latency: float
    throughput: float
    samples: int


class ProfileTable:
    """The profile at ``path``: what it holds already is kept, and what is added is on disk when ``add`` returns.

    Points that timed out are kept beside it, in ``*.timeouts.csv``, and are not tried again while they stand there.
    Every row names the ``machine`` and the ``seed`` of the inputs. ConfigError when the file holds rows of another
    machine, which would not compare, or is no profile.
    """

    def __init__(self, path: Path, machine: str, seed: int) -> None:
        self._path = path
        self._timeouts_path = path.with_suffix(".timeouts.csv")
        self._origin = {"seed": seed, "machine": machine}
        self._rows = _read(path)
        self._timeouts = _read(self._timeouts_path)
        others = {row.get("machine", machine) for row in self._rows.values()} - {machine}
        if others:
            raise ConfigError(f"{path}: holds rows of {sorted(others)[0]!r}, this is {machine!r}; accepted: a new file")

    def __contains__(self, point: Point) -> bool:
        return point in self._rows or point in self._timeouts

    def add(self, point: Point, row: Row) -> None:
        """Write one measured point."""
        measured = {"latency": f"{row.latency:.6g}", "throughput": f"{row.throughput:.6g}", "samples": row.samples}
        self._rows[point] = vars(point) | measured | self._origin
        _write(self._path, COLUMNS, self._rows.values())

    def add_timeout(self, point: Point, timeout: float) -> None:
        """Write down that a point took longer than ``timeout`` seconds."""
        self._timeouts[point] = vars(point) | {"timeout": timeout}
        _write(self._timeouts_path, (*KEY_COLUMNS, "timeout"), self._timeouts.values())


def this_machine() -> str:
    """Processor and number of cores."""
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, {os.cpu_count()} cores"


def _read(path: Path) -> dict[Point, dict[str, Any]]:
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        try:
            return {Point(r["stage"], r["variant"], int(r["cores"]), int(r["batch"])): dict(r) for r in reader}
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path}: line {reader.line_num}: not a profile; accepted: {','.join(COLUMNS)}"
            ) from error


def _write(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Whole or not at all: to a file beside it, which then takes its place."""
    draft = path.with_name(path.name + ".draft")
    with draft.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, list(columns), extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        lines.flush()
        os.fsync(lines.fileno())
    draft.replace(path)
