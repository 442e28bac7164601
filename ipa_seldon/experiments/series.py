"""One run over time: a row for every second of its load."""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.experiments.simulate import Floats, Scenario, SimulatedRun
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Plan, took_effect

COLUMNS = ("second", "rps", "network", "forecast", "accuracy", "loss", "cores", "violations", "p99", "seed")
SeriesRow = tuple[int | float | None, ...]


def series(scenario: Scenario, run: SimulatedRun) -> list[SeriesRow]:
    """A row of COLUMNS for every second.

    ``rps``: requests that arrived; ``network``: the mean of the seconds that they had been on the network;
    ``forecast``: the rate (requests/s) that the last decision was made for;
    ``accuracy``: what the plan in force promises, the product over its stages (IPA: PAS); ``loss``: what that lacks of
    the most accurate variants'; ``cores``: mean over the second; ``violations``: requests that arrived in it and were
    late or dropped; ``p99``: latency (seconds) over the requests answered in it (IPA). None where there is nothing to
    say.
    """
    seconds = len(scenario.rates)
    answers = run.answers
    arrived = np.bincount(answers.arrivals.astype(int), minlength=seconds)
    violated = np.bincount(answers.arrivals[answers.late | answers.dropped].astype(int), minlength=seconds)
    forecasts, accuracies = _decided(scenario.config.pipeline, run, seconds)
    stages = scenario.config.pipeline.stages
    best = prod(max(variant.accuracy for variant in stage.variants) for stage in stages)
    columns = (
        arrived.tolist(),
        _on_network(run, arrived),
        forecasts,
        accuracies,
        [None if accuracy is None else best - accuracy for accuracy in accuracies],
        _cores(run, seconds).tolist(),
        violated.tolist(),
        _tails(run, seconds),
    )
    return [(second, *(column[second] for column in columns), scenario.seed) for second in range(seconds)]


def write_series(path: Path, rows: Sequence[SeriesRow]) -> None:
    """As CSV with a header; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    with beside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    beside.replace(path)


def series_seed(path: Path) -> int | None:
    """The seed of the run in a file of ``write_series``; None where there is none."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return int(next(csv.DictReader(stream))["seed"])
    except (OSError, StopIteration, KeyError, ValueError):
        return None


def _on_network(run: SimulatedRun, arrived: NDArray[np.intp]) -> list[float | None]:
    if run.transfers is None:
        return [None] * len(arrived)
    spent = np.bincount(run.answers.arrivals.astype(int), run.transfers, len(arrived))
    return [float(total / count) if count else None for total, count in zip(spent, arrived, strict=True)]


def _decided(pipeline: Pipeline, run: SimulatedRun, seconds: int) -> tuple[list[float | None], list[float | None]]:
    """Forecast and accuracy of every second; a decision holds until the next."""
    times: list[float] = []
    forecasts: list[float | None] = []
    accuracies: list[float | None] = []
    for decision in run.decisions:
        if not times:  # what ran before the first decision
            times.append(0.0)
            forecasts.append(None)
            accuracies.append(_accuracy(pipeline, decision.observation.plan))
        proposal = decision.proposal if took_effect(decision) else None
        times.append(decision.observation.time)
        forecasts.append(decision.rate)
        accuracies.append(_accuracy(pipeline, proposal.plan if proposal else decision.observation.plan))
    at = [bisect_right(times, second) - 1 for second in range(seconds)] if times else []
    if not at:
        return [None] * seconds, [None] * seconds
    return [forecasts[i] for i in at], [accuracies[i] for i in at]


def _accuracy(pipeline: Pipeline, plan: Plan) -> float | None:
    if not plan:
        return None
    return prod(
        sum(pipeline.stage(stage).variant(a.variant).accuracy * a.share for a in allocations)
        for stage, allocations in plan.items()
    )


def _cores(run: SimulatedRun, seconds: int) -> Floats:
    moments, cores = run.allocated
    at = np.arange(seconds + 1.0)
    edges = np.union1d(moments[moments < seconds], at)
    held = cores[np.maximum(np.searchsorted(moments, edges[:-1], side="right") - 1, 0)]
    spent = np.concatenate(([0.0], np.cumsum(held * np.diff(edges))))
    mean: Floats = np.diff(np.interp(at, edges, spent))
    return mean


def _tails(run: SimulatedRun, seconds: int) -> list[float | None]:
    answered = run.answers.answered
    ends = run.answers.finished[answered]
    order = np.argsort(ends, kind="stable")
    parts = np.split(run.answers.latencies[order], np.searchsorted(ends[order], np.arange(1, seconds + 1)))
    return [float(np.percentile(part, 99)) if len(part) else None for part in parts[:seconds]]
