"""What Triton's own tools have measured, as points of a profile: perf_analyzer's CSV (its option -f), and Model
Analyzer's metrics-model-inference.csv.

A profile's latency is that of one batch, without a wait, and its throughput that of a replica which is kept busy. Of
several rows about one point, such as a range of concurrencies, the latency is the least loaded one's, and the
throughput the highest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ipa_seldon.csv_rows import header, number, rows
from ipa_seldon.errors import ConfigError
from ipa_seldon.profiler.clients import IN_FLIGHT
from ipa_seldon.profiler.table import Point
from ipa_seldon.profiles import Measurement


@dataclass(frozen=True)
class Tool:
    """How a tool names the columns of its CSV; its times are in units of ``seconds``. The latencies include the queue
    of the server, and ``queue`` is the mean wait in it.
    """

    name: str
    throughput: str
    latency: str
    queue: str
    seconds: float

    def latencies(self, columns: Sequence[str]) -> list[str]:
        """Those of ``columns`` that are percentiles of latency."""
        pattern = re.escape(self.latency).replace(re.escape("{:g}"), r"\d+")
        return [column for column in columns if re.fullmatch(pattern, column)]


PERF_ANALYZER = Tool("perf_analyzer", "Inferences/Second", "p{:g} latency", "Server Queue", 1e-6)
MODEL_ANALYZER = Tool("Model Analyzer", "Throughput (infer/sec)", "p{:g} Latency (ms)", "Server Queue time (ms)", 1e-3)
MODEL, CONFIGURATION, INSTANCES = "Model", "Model Config Path", "Instance Group"
BATCH, LARGEST, CONCURRENCY, RATE = "Batch", "Max Batch Size", "Concurrency", "Request Rate"
Row = Mapping[str, str]


@dataclass(frozen=True)
class Stated:
    """What a file does not say: the ``cores`` of a replica; the ``batch`` that was run, None where the file tells it;
    the ``percentile`` to take; (stage, variant), by the name of a model or of one of its configurations, or ``alone``
    for all rows.
    """

    cores: int
    batch: int | None = None
    percentile: float = 99.0
    alone: tuple[str, str] | None = None
    named: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """The ``points`` of a file, which ``tool`` wrote; by reason, how many rows were ``left_out``; whether its latencies
    are ``queued``, with the wait in the server's queue, as the file does not tell that apart.
    """

    tool: str
    points: Mapping[Point, Measurement]
    left_out: Mapping[str, int]
    queued: bool


def read_measurements(path: Path, stated: Stated) -> Imported:
    """The points in the CSV at ``path``; ConfigError names file, line, column and what is accepted."""
    columns = header(path)
    tool = _tool(path, columns)
    latency = tool.latency.format(stated.percentile)
    if latency not in columns:
        known = ", ".join(tool.latencies(columns)) or latency
        raise ConfigError(f"{path}: column {latency} is missing; accepted: {known}")
    table = list(rows(path, (tool.throughput, latency)))
    if tool is PERF_ANALYZER:
        _check_perf_analyzer(path, stated)
    else:
        _check_model_analyzer(path, [row for _, row in table], stated)
    found: dict[Point, list[tuple[float, Measurement]]] = {}
    left_out: Counter[str] = Counter()
    for where, row in table:
        point = _point(where, row, tool, stated)
        if isinstance(point, Point):
            found.setdefault(point, []).append((_load(where, row), _measurement(where, row, tool, latency)))
        else:
            left_out[point] += 1
    if not found:
        raise ConfigError(f"{path}: no row to import; {in_words(left_out)}")
    points = {point: _summary(measured) for point, measured in found.items()}
    return Imported(tool.name, points, left_out, tool.queue not in columns)


def in_words(left_out: Mapping[str, int]) -> str:
    """How many rows were left out, and why."""
    return "left out: " + ", ".join(f"{count} {reason}" for reason, count in left_out.items())


def _tool(path: Path, columns: Sequence[str]) -> Tool:
    for tool in (PERF_ANALYZER, MODEL_ANALYZER):
        if tool.throughput in columns:
            return tool
    raise ConfigError(
        f"{path}: line 1: {','.join(columns)!r}: accepted: the CSV of perf_analyzer -f, which has a column "
        f"{PERF_ANALYZER.throughput}, or Model Analyzer's metrics-model-inference.csv, with {MODEL_ANALYZER.throughput}"
    )


def _check_perf_analyzer(path: Path, stated: Stated) -> None:
    """ConfigError where the user does not say what was measured."""
    if stated.alone is None:
        raise ConfigError(f"--map: accepted: with Model Analyzer's CSV, not with perf_analyzer's, {path}")
    if stated.batch is None:
        raise ConfigError(f"--batch: missing; accepted: the requests in a batch, which {path} does not say")


def _check_model_analyzer(path: Path, table: Sequence[Row], stated: Stated) -> None:
    """ConfigError where neither the file nor the user says what was measured."""
    for column in (MODEL, CONFIGURATION, INSTANCES, *(() if stated.batch else (BATCH, LARGEST))):
        if column not in table[0]:
            instead = ", or --batch" if column in (BATCH, LARGEST) else ""
            raise ConfigError(f"{path}: column {column} is missing; accepted: this column of Model Analyzer{instead}")
    models = sorted({row[MODEL] for row in table})
    if stated.alone and len(models) > 1:
        raise ConfigError(f"{path}: column {MODEL}: {', '.join(models)}: accepted: one model, or --map for each")
    known = {*models, *(row[CONFIGURATION] for row in table)}
    for name in stated.named.keys() - known:
        raise ConfigError(
            f"--map: {name!r}: accepted: a model of {path}, or a configuration: {', '.join(sorted(known))}"
        )


def _point(where: str, row: Row, tool: Tool, stated: Stated) -> Point | str:
    """What a row is about, or why it is left out."""
    names = stated.alone or stated.named.get(row[CONFIGURATION]) or stated.named.get(row[MODEL])
    if names is None:
        return "of models that --map does not name"
    if tool is MODEL_ANALYZER and _instances(where, row) != 1:
        return "of more than one instance"
    batch = stated.batch or _batch(where, row)
    return Point(*names, stated.cores, batch) if batch else "whose load does not fill a batch"


def _instances(where: str, row: Row) -> int:
    """Of all groups: 2:GPU, 1/CPU, 1:CPU + 1:GPU."""
    counts = re.findall(r"(\d+)[:/]", row[INSTANCES] or "")
    if not counts:
        raise ConfigError(f"{where}: {INSTANCES}: {row[INSTANCES]!r}: accepted: such as 1:CPU")
    return sum(map(int, counts))


def _batch(where: str, row: Row) -> int | None:
    """The batches that the server ran, which are full where one request fills one, or several of them wait; else None,
    since nothing tells what was run.
    """
    sent, largest = int(number(where, BATCH, row[BATCH], whole=True)), row[LARGEST]
    # Triton's 0 is a model without batches.
    full = max(int(number(where, LARGEST, largest, whole=True, zero=True)), 1)
    requests = int(number(where, CONCURRENCY, row[CONCURRENCY], whole=True)) if row.get(CONCURRENCY) else 0
    return full if sent == full or requests * sent >= IN_FLIGHT * full else None


def _load(where: str, row: Row) -> float:
    """Something that grows with the load; 0 where the file does not tell it."""
    return next((number(where, column, row[column]) for column in (CONCURRENCY, RATE) if row.get(column)), 0.0)


def _measurement(where: str, row: Row, tool: Tool, latency: str) -> Measurement:
    """In seconds and requests/s. Waits differ, so what is left of a percentile without their mean is rather too long.

    ConfigError for what is no time or no rate.
    """
    whole = number(where, latency, row[latency])
    wait = number(where, tool.queue, row[tool.queue], zero=True) if tool.queue in row else 0.0
    if wait >= whole:
        raise ConfigError(f"{where}: {latency}: {row[latency]!r}: accepted: more than {tool.queue}, {row[tool.queue]}")
    return Measurement((whole - wait) * tool.seconds, number(where, tool.throughput, row[tool.throughput]))


def _summary(measured: Sequence[tuple[float, Measurement]]) -> Measurement:
    """Of rows about one point, each with its load: the least loaded one's latency, the longer one of equals."""
    _, least = min(measured, key=lambda one: (one[0], -one[1].latency))
    return Measurement(least.latency, max(one.throughput for _, one in measured))
