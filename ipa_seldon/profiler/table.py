"""The CSV files of profiles and of capacities: read, extended point by point, and never lost half-written."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ipa_seldon.csv_rows import open_text
from ipa_seldon.errors import ConfigError
from ipa_seldon.profiles import Measurement


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

    def __str__(self) -> str:
        return f"{1000 * self.latency:.1f} ms, {self.throughput:.1f} requests/s ({self.samples} batches)"


@dataclass(frozen=True)
class CapacityRow:
    """``capacity``: the most requests/s that were seen to meet the SLO, 0 where none did; ``load_time``: seconds from
    asking for the variant to its first answer; ``samples``: requests counted in a trial.
    """

    capacity: float
    load_time: float
    samples: int

    def __str__(self) -> str:
        return f"{self.capacity:.1f} requests/s ({self.samples} a trial), loads in {self.load_time:.2f} s"


class Table:
    """The CSV at ``path``: what it holds already is kept, and what is added is on disk when ``add`` returns.

    Points that timed out are kept beside it, in ``*.timeouts.csv``, and are not tried again while they stand there.
    Every row that is added says by ``origin``, columns of their own, where it is from. ConfigError when the file holds
    rows of another machine, which would not compare, or is none of this ``kind``.
    """

    kind: str
    keys: Mapping[str, Callable[[str], Any]]
    """The columns that tell points apart, and how each is read."""
    measured: tuple[str, ...]

    def __init__(self, path: Path, origin: Mapping[str, Any]) -> None:
        self._path = path
        self._timeouts_path = path.with_suffix(".timeouts.csv")
        self._origin = origin
        self._columns = (*self.keys, *self.measured, *origin)
        self._rows = self._read(path)
        self._timeouts = self._read(self._timeouts_path)
        # What another command has written beside them stays; it may not have known the machine.
        self._columns = tuple(
            dict.fromkeys(name for row in (*self._rows.values(), self._columns) for name in row if name)
        )
        machine: str = origin.get("machine", "")
        others = {row.get("machine") or machine for row in self._rows.values()} - {machine}
        if machine and others:
            raise ConfigError(f"{path}: holds rows of {min(others)!r}, this is {machine!r}; accepted: a new file")

    def __contains__(self, point: Point) -> bool:
        key = self._key(self._named(point))
        return key in self._rows or key in self._timeouts

    def add(self, point: Point, row: Row | CapacityRow) -> None:
        """Write one measured point."""
        self.extend({point: row})

    def extend(self, rows: Mapping[Point, Row | CapacityRow | Measurement]) -> None:
        """Write measured points, all of them or none."""
        for point, row in rows.items():
            values = {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in vars(row).items()}
            named = self._named(point)
            self._rows[self._key(named)] = {**named, **values, **self._origin}
        _write(self._path, self._columns, self._rows.values())

    def add_timeout(self, point: Point, timeout: float) -> None:
        """Write down that a point took longer than ``timeout`` seconds."""
        named = self._named(point)
        self._timeouts[self._key(named)] = {**named, "timeout": timeout}
        _write(self._timeouts_path, (*self.keys, "timeout"), self._timeouts.values())

    def _named(self, point: Point) -> dict[str, Any]:
        """What the columns of ``keys`` hold of a point."""
        return {name: value for name, value in vars(point).items() if name in self.keys}

    def _key(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(read(str(row[name])) for name, read in self.keys.items())

    def _read(self, path: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
        if not path.exists():
            return {}
        with open_text(path) as lines:
            reader = csv.DictReader(lines)
            try:
                return {self._key(row): dict(row) for row in reader}
            except (KeyError, ValueError) as error:
                raise ConfigError(
                    f"{path}: line {reader.line_num}: not {self.kind}; accepted: {','.join(self._columns)}"
                ) from error


class ProfileTable(Table):
    """The latency and throughput of points, measured on ``machine`` with inputs of ``seed``; see Table."""

    kind = "a profile"
    keys = MappingProxyType({"stage": str, "variant": str, "cores": int, "batch": int})
    measured = ("latency", "throughput", "samples")

    def __init__(self, path: Path, machine: str, seed: int) -> None:
        super().__init__(path, {"seed": seed, "machine": machine})


class ImportedTable(Table):
    """The latency and throughput of points that something else has measured, which ``source`` tells; see Table."""

    kind = ProfileTable.kind
    keys = ProfileTable.keys
    measured = ("latency", "throughput")

    def __init__(self, path: Path, source: str) -> None:
        super().__init__(path, {"source": source})

    def __contains__(self, point: Point) -> bool:
        """Whether there is a row; a point that only timed out here is none."""
        return self._key(self._named(point)) in self._rows


class CapacityTable(Table):
    """The capacity of points at an SLO in seconds; see Table. Stages have no column: variants' names tell all."""

    kind = "a table of capacities"
    keys = MappingProxyType({"variant": str, "cores": int, "slo": float})
    measured = ("capacity", "load_time", "samples")

    def __init__(self, path: Path, machine: str, seed: int, slo: float) -> None:
        self._slo = f"{slo:.6g}"
        super().__init__(path, {"seed": seed, "machine": machine})

    def _named(self, point: Point) -> dict[str, Any]:
        return {**super()._named(point), "slo": self._slo}


def this_machine() -> str:
    """Processor and number of cores."""
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, {os.cpu_count()} cores"


def _write(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Whole or not at all: to a file beside it, which then takes its place. ConfigError when it cannot be written."""
    draft = path.with_name(path.name + ".draft")
    try:
        with draft.open("w", encoding="utf-8", newline="") as lines:
            writer = csv.DictWriter(lines, list(columns), extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            lines.flush()
            os.fsync(lines.fileno())
        draft.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
