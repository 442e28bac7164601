"""Traces from files, at 1 Hz: the requests per second of a load, the bytes per second of a network."""

from __future__ import annotations

import csv
import lzma
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

import numpy as np

from ipa_seldon.errors import ConfigError
from ipa_seldon.simulation.network import PATTERNS, Network, pattern_bandwidth, sizes_of
from ipa_seldon.simulation.workload import Floats, pattern_rates, scaled

SECOND, RATE, BANDWIDTH = "second", "rps", "bytes_per_second"
PATTERN_SECONDS = 180
LONGEST_JUMP = 86_400  # seconds: a larger one is a typing error, not a gap


def read_trace(path: str | Path) -> list[float]:
    """Requests/s of each second, oldest first; at least one value, all finite and >= 0.

    A trace has one number a line, or is CSV with a header naming the columns ``second`` and ``rps`` (others are
    ignored); either may be xz-compressed (``.xz``). A second that a CSV skips is 0, as a hole in a plain trace is.
    Raises ConfigError naming file and line.
    """
    lines = _lines(path, f"one number a line, or CSV with '{SECOND},{RATE}'")
    if "," in lines[0]:
        seconds, values = _from_csv(path, lines, RATE)
        rates = [0.0] * (seconds[-1] + 1)
        for second, value in zip(seconds, values, strict=True):
            rates[second] = value
        return rates
    return [_number(f"{path}, line {number}", line) for number, line in enumerate(lines, start=1)]


def window(rates: Sequence[float], start: float, duration: float | None) -> Floats:
    """The seconds of a trace from ``start`` on, ``duration`` of them or all; ConfigError where it has none there."""
    first = round(start)
    if first >= len(rates):
        raise ConfigError(f"start: {start:g}: accepted: below the {len(rates)} seconds of the trace")
    return np.array(rates[first : None if duration is None else first + max(1, round(duration))])


def read_bandwidth(path: str | Path) -> Floats:
    """Bytes/s of each second of a network trace, shape (n,), oldest first, all finite and >= 0.

    CSV with a header naming the columns ``second`` and ``bytes_per_second`` (others are ignored); may be xz-compressed
    (``.xz``). A second that is skipped is as the one before it. Raises ConfigError naming file and line.
    """
    seconds, values = _from_csv(path, _lines(path, f"CSV with '{SECOND},{BANDWIDTH}'"), BANDWIDTH)
    return np.repeat(values, np.diff([*seconds, seconds[-1] + 1]))


def read_network(source: str | None, size: str | None, duration: int, seed: int) -> Network | None:
    """The network that requests of ``size`` pass (see sizes_of): a trace's where ``source`` is a file, ``duration``
    seconds of a pattern's where it is a name; None where neither is given. ConfigError for one without the other.
    """
    if (source is None) != (size is None):
        raise ConfigError("network: accepted: --network and --size together")
    if source is None or size is None:
        return None
    trace = None if source in PATTERNS or not Path(source).exists() else Path(source)
    return network_of(trace, source, size, duration, seed)


def network_of(trace: Path | None, pattern: str, size: str, duration: int, seed: int) -> Network:
    """The network of ``trace``, without one ``duration`` seconds of the ``pattern``, which requests of ``size`` pass
    (see sizes_of). ConfigError for any of them.
    """
    return Network(read_bandwidth(trace) if trace else pattern_bandwidth(pattern, duration, seed), sizes_of(size))


def load_rates(
    pattern: str | None, trace: Path | None, duration: float | None, scale: float | None, damping: float, seed: int
) -> Floats:
    """Requests/s of each second of a load: the first ``duration`` seconds of ``trace``, or of a named ``pattern``.

    ``scale`` multiplies a trace, or is the rate at a pattern's peak; ``damping`` divides. Without a duration it is all
    of the trace, or PATTERN_SECONDS of the pattern. ConfigError unless exactly one of pattern and trace is given.
    """
    if (pattern is None) == (trace is None):
        raise ConfigError("load: accepted: exactly one of --pattern and --trace")
    if trace is not None:
        return scaled(window(read_trace(trace), 0.0, duration), scale or 1.0, damping)
    seconds = None if duration is None else max(1, round(duration))
    return scaled(pattern_rates(pattern or "", seconds or PATTERN_SECONDS, scale or 1.0, seed), damping=damping)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        return (lzma.decompress(content) if path.suffix == ".xz" else content).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: the trace cannot be read: {error.strerror or error}") from error
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a text trace, plain or xz-compressed: {error}") from error


def _lines(path: str | Path, accepted: str) -> list[str]:
    """The lines of a trace, at least one."""
    lines = _text(Path(path)).rstrip().splitlines()
    if not lines:
        raise ConfigError(f"{path}: the trace is empty; accepted: {accepted}")
    return lines


def _from_csv(path: str | Path, lines: list[str], column: str) -> tuple[list[int], list[float]]:
    """The seconds of the rows, from 0 on, and what ``column`` has in each; at least one row."""
    rows = csv.reader(lines)
    header = [name.strip() for name in next(rows)]
    if SECOND not in header or column not in header:
        raise ConfigError(
            f"{path}, line 1: columns {', '.join(header)}; accepted: a header with '{SECOND}' and '{column}'"
        )
    second_at, value_at = header.index(SECOND), header.index(column)
    seconds: list[int] = []
    values: list[float] = []
    previous = None
    for number, row in enumerate(rows, start=2):
        place = f"{path}, line {number}"
        if len(row) <= max(second_at, value_at):
            raise ConfigError(f"{place}: {len(row)} columns; accepted: {len(header)}, as in the header")
        second = _number(f"{place}, {SECOND}", row[second_at])
        step = 1.0 if previous is None else second - previous
        if not (step >= 1 and step == int(step) and step <= LONGEST_JUMP):
            raise ConfigError(f"{place}: {SECOND} {row[second_at]!r}; accepted: whole seconds, rising, within a day")
        seconds.append(seconds[-1] + int(step) if seconds else 0)
        values.append(_number(f"{place}, {column}", row[value_at]))
        previous = second
    if not values:
        raise ConfigError(f"{path}: the trace has a header but no rows")
    return seconds, values


def _number(place: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (isfinite(value) and value >= 0):
        raise ConfigError(f"{place}: {text.strip()!r}; accepted: a number >= 0")
    return value
