"""Curves of a run over time, in seconds since its start: load, latency, accuracy, violations, capacity. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.loadgen import RequestOutcome, RequestRecord
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Plan, Proposal
from ipa_seldon.reports.charts import Steps
from ipa_seldon.runs.summary import RunResult, expectations, latency_percentile, measured_accuracy, timeline

Floats = NDArray[np.float64]
MOST_COLUMNS = 1800


def load_seconds(run: RunResult) -> int:
    """The width of the columns that the load is shown in: a second, more where there would be too many to see."""
    return max(math.ceil((run.end - run.start) / MOST_COLUMNS), 1)


def offered(run: RunResult) -> tuple[Floats, Floats]:
    """Middle of every ``load_seconds``, and the mean load in them (requests/s): the requests due in them, without
    records those that were counted for the decisions, NaN where nobody counted.
    """
    width = load_seconds(run)
    columns = max(math.ceil((run.end - run.start) / width), 1)
    if run.records:
        due = np.array([record.due - run.start for record in run.records])
        rates = np.histogram(due, bins=columns, range=(0, columns * width))[0] / width
    else:
        counts = _counted(run, columns * width).reshape(columns, width)
        measured = np.isfinite(counts).sum(axis=1)
        rates = np.full(columns, np.nan)
        np.divide(np.nansum(counts, axis=1), measured, out=rates, where=measured > 0)
    return (np.arange(columns) + 0.5) * width, rates.astype(np.float64)


def _counted(run: RunResult, seconds: int) -> Floats:
    """Requests of every second, as the decisions saw them; what a later one knows of a second counts."""
    counts = np.full(seconds, np.nan)
    for decision in run.decisions:
        arrivals, end = decision.observation.arrivals, math.floor(decision.observation.time - run.start)
        for second, count in enumerate(arrivals, start=end - len(arrivals)):
            if math.isfinite(count) and 0 <= second < seconds:
                counts[second] = count
    return counts


def smoothed(values: Floats, width: int = 10) -> Floats:
    """Centred moving mean over the known among ``width`` values, over fewer at the ends; NaN where none is known."""
    kernel, known = np.ones(min(width, len(values))), np.isfinite(values)
    sums, counts = (np.convolve(part, kernel, "same") for part in (np.where(known, values, 0.0), known.astype(float)))
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0.5)


def window_seconds(run: RunResult) -> int:
    """The width of the windows that latency and accuracy are taken over: about 40 to a run."""
    return max(round((run.end - run.start) / 40), 1)


def windows(run: RunResult, width: int, reach: int = 0) -> list[tuple[float, list[RequestRecord]]]:
    """Middle of every ``width`` seconds, and the requests due in it and in ``reach`` windows on either side."""
    count = max(int(np.ceil((run.end - run.start) / width)), 1)
    buckets: list[list[RequestRecord]] = [[] for _ in range(count)]
    for record in run.records:
        buckets[min(max(int((record.due - run.start) // width), 0), count - 1)].append(record)
    return [
        (
            (index + 0.5) * width,
            [record for bucket in buckets[max(index - reach, 0) : index + reach + 1] for record in bucket],
        )
        for index in range(count)
    ]


def latency(run: RunResult, percentile: float) -> Steps:
    """Latency (seconds) at ``percentile`` per window."""
    cut = windows(run, window_seconds(run))
    return [time for time, _ in cut], [latency_percentile(records, percentile) for _, records in cut]


def rolling_accuracy(run: RunResult) -> Steps:
    """Lines read exactly over lines shown, over three windows around each."""
    cut = windows(run, window_seconds(run), reach=1)
    return [time for time, _ in cut], [measured_accuracy(records) for _, records in cut]


def shares(run: RunResult, stage: str) -> tuple[list[float], dict[str, list[float]]]:
    """Middles of the windows in which ``stage`` answered, and variant -> its part of those answers."""
    cut = [
        (time, [r.variants[stage] for r in found if stage in r.variants])
        for time, found in windows(run, window_seconds(run))
    ]
    told = [(time, named) for time, named in cut if named]
    variants = sorted({variant for _, named in told for variant in named})
    return [time for time, _ in told], {v: [named.count(v) / len(named) for _, named in told] for v in variants}


def moments(run: RunResult, *outcomes: RequestOutcome) -> list[float]:
    """When the requests that ended so were due."""
    return sorted(record.due - run.start for record in run.records if record.outcome in outcomes)


def forecasts(run: RunResult) -> Steps:
    """The rate every decision was made for, drawn to the end of the run."""
    decided = [(d.observation.time - run.start, d.rate) for d in run.decisions if d.rate is not None]
    if decided:
        decided.append((run.end - run.start, decided[-1][1]))
    return [time for time, _ in decided], [rate for _, rate in decided]


def expected(run: RunResult, value: Callable[[Proposal], float]) -> Steps:
    """What was expected of what ran, from every decision on, drawn to the end of the run; None where nothing was."""
    found = [(time - run.start, None if one is None else value(one)) for time, one in expectations(run)]
    if found:
        found.append((run.end - run.start, found[-1][1]))
    return [time for time, _ in found], [worth for _, worth in found]


def steps(run: RunResult, values: Sequence[float | None]) -> Steps:
    """One value per segment of the timeline, drawn to the end of the run."""
    segments = timeline(run)
    times = [segment.start - run.start for segment in segments]
    if segments:
        return [*times, segments[-1].end - run.start], [*values, values[-1]]
    return [], []


def carried(pipeline: Pipeline, plan: Plan) -> float | None:
    """The load (requests/s) the stages of ``plan`` can sustain: the least over stages of what their replicas do
    together, over the requests the stage gets per pipeline request. None when the plan has a variant, core count or
    stage that was not profiled.
    """
    try:
        capacities = []
        for name, allocations in plan.items():
            stage = pipeline.stage(name)
            rates = (a.replicas * stage.variant(a.variant).throughput(a.cores, a.batch) for a in allocations)
            capacities.append(sum(rates) / stage.rate)
    except KeyError:
        return None
    return min(capacities, default=None)
