"""Profiles: sweep a pipeline's variants over cores and batches on a real Triton, or check a stored profile quickly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from ipa_seldon.pipeline import Pipeline, Stage
from ipa_seldon.profiler.bench import Bench, Effort, Request
from ipa_seldon.profiler.clients import PointTimeoutError
from ipa_seldon.profiler.table import Point, ProfileTable, Row, this_machine

__all__ = [
    "Bench",
    "Effort",
    "Point",
    "ProfileTable",
    "Request",
    "Row",
    "calibrate",
    "sweep",
    "sweep_points",
    "this_machine",
]
CALIBRATION_SECONDS = 5.0


def sweep_points(stages: Sequence[Stage], cores: Sequence[int], batches: Sequence[int]) -> list[Point]:
    """Every variant of ``stages`` on every number of cores with every batch, in that order."""
    return [
        Point(stage.name, variant.name, number, batch)
        for stage in stages
        for variant in stage.variants
        for number in cores
        for batch in batches
    ]


def sweep(
    bench: Bench, points: Sequence[Point], table: ProfileTable, effort: Effort
) -> Iterator[tuple[Point, Row | None]]:
    """Measure the points ``table`` lacks, each written before it is yielded; None marks one that timed out."""
    for point in points:
        if point in table:
            continue
        try:
            row = bench.measure(point, effort)
        except PointTimeoutError:
            table.add_timeout(point, effort.timeout)
            yield point, None
        else:
            table.add(point, row)
            yield point, row


def calibrate(
    pipeline: Pipeline, repository: Path, inputs: Callable[[int], Request], seconds: float = CALIBRATION_SECONDS
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
