"""Profiles and capacities: measure a pipeline's variants on a real Triton, or check what is stored quickly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from statistics import median
from typing import TypeVar

from ipa_seldon.errors import PlatformError
from ipa_seldon.gateway.messages import Message
from ipa_seldon.pipeline import Pipeline, Stage
from ipa_seldon.profiler.bench import Bench, Effort
from ipa_seldon.profiler.capacity import Goal, measure_capacity
from ipa_seldon.profiler.clients import PointTimeoutError
from ipa_seldon.profiler.table import (
    CapacityRow,
    CapacityTable,
    ImportedTable,
    Point,
    ProfileTable,
    Row,
    Table,
    this_machine,
)
from ipa_seldon.profiles import USABLE

__all__ = [
    "Bench",
    "CapacityRow",
    "CapacityTable",
    "Effort",
    "Goal",
    "ImportedTable",
    "Point",
    "ProfileTable",
    "Row",
    "Table",
    "calibrate",
    "calibrate_capacity",
    "measure_capacity",
    "sweep",
    "sweep_points",
    "this_machine",
]
CALIBRATION_SECONDS = 5.0
CALIBRATION_TOLERANCE = 0.1
"""The fraction to which a capacity is found for a calibration."""
CALIBRATION_TIMEOUT = 180.0


def sweep_points(stages: Sequence[Stage], cores: Sequence[int], batches: Sequence[int]) -> list[Point]:
    """Every variant of ``stages`` on every number of cores with every batch, in that order."""
    return [
        Point(stage.name, variant.name, number, batch)
        for stage in stages
        for variant in stage.variants
        for number in cores
        for batch in batches
    ]


RowType = TypeVar("RowType", Row, CapacityRow)


def sweep(
    measure: Callable[[Point], RowType], points: Sequence[Point], table: Table, timeout: float
) -> Iterator[tuple[Point, RowType | None]]:
    """Measure the points ``table`` lacks, each written before it is yielded; None marks one that timed out, which
    ``measure`` says by PointTimeoutError, after ``timeout`` seconds.
    """
    for point in points:
        if point in table:
            continue
        try:
            row = measure(point)
        except PointTimeoutError:
            table.add_timeout(point, timeout)
            yield point, None
        else:
            table.add(point, row)
            yield point, row


def calibrate(
    pipeline: Pipeline, repository: Path, inputs: Callable[[int], Message], seconds: float = CALIBRATION_SECONDS
) -> float:
    """How many times longer this machine takes than the profile says; below 1 it is faster.

    The median over latency and throughput of every stage's lightest variant, at batch 1 on its fewest cores.
    ``seconds`` of measuring in all; starting and loading come on top.
    """
    effort = Effort(seconds / len(pipeline.stages), percentile=pipeline.percentile)
    ratios: list[float] = []
    with Bench(pipeline, repository, inputs) as bench:
        for stage in pipeline.stages:
            lightest = min(stage.variants, key=lambda variant: variant.latency(variant.cores[0], 1))
            cores = lightest.cores[0]
            row = bench.measure(Point(stage.name, lightest.name, cores, 1), effort)
            ratios += [row.latency / lightest.latency(cores, 1), lightest.throughput(cores, 1) / row.throughput]
    return median(ratios)


def calibrate_capacity(pipeline: Pipeline, repository: Path, inputs: Callable[[int], Message], seed: int) -> float:
    """How many times more the capacities promise than a pod takes on this machine; below 1 it is faster.

    The median over stages of the variant that takes most, on the fewest cores on which it takes any, measured to a
    tenth. PlatformError where one takes no load at all.
    """
    goal = Goal(pipeline.slo, pipeline.percentile, CALIBRATION_TOLERANCE, seed)
    effort = Effort(CALIBRATION_SECONDS, CALIBRATION_TIMEOUT)
    ratios = []
    with Bench(pipeline, repository, inputs) as bench:
        for stage in pipeline.stages:
            cores, name, promised = _lightest_pod(stage)
            taken = measure_capacity(bench, Point(stage.name, name, cores, 1), goal, effort).capacity
            if not taken:
                raise PlatformError(f"calibration: variant {name} takes no load within {pipeline.slo:g} s here")
            ratios.append(promised / taken)
    return median(ratios)


def _lightest_pod(stage: Stage) -> tuple[int, str, float]:
    """The fewest cores on which a variant takes any load, the one that takes most there, and that load (requests/s)."""
    taken = ({v.name: v.capacity(n) / USABLE for v in stage.variants if v.capacity} for n in count(1))
    cores, most = next((n, loads) for n, loads in enumerate(taken, start=1) if any(loads.values()))
    name = max(most, key=lambda name: most[name])
    return cores, name, most[name]
