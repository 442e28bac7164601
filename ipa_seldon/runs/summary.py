"""What a run came to: the figures of the summary, and the timeline of plans they rest on. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipa_seldon.forecasters import ForecastSettings
from ipa_seldon.forecasters.score import Score
from ipa_seldon.loadgen import ANSWERED, RequestOutcome, RequestRecord
from ipa_seldon.loadgen.records import summary as load_summary
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import (
    Decision,
    Plan,
    Proposal,
    allocated_cores,
    changed_stages,
    cost_of,
    is_switch,
    plan_in_force,
    same_plan,
    took_effect,
    transition,
)

SWITCH_TAIL = 1.0
"""Seconds after a switch in which a failed request is still laid at its door."""


@dataclass(frozen=True)
class RunResult:
    """A run of a pipeline: ``name`` is "adaptive", says what stayed fixed, or is an algorithm's; ``slo`` in seconds at
    ``percentile``; ``start`` and ``end`` in seconds since the epoch. Without ``records`` nothing is known of requests.
    With ``pipeline`` the report can also order variants by accuracy and show the load a plan carries, with
    ``forecaster`` judge forecasts. ``bandwidth``: bytes/s of each second, where requests passed a network.
    """

    name: str
    slo: float
    percentile: float
    start: float
    end: float
    decisions: tuple[Decision, ...]
    records: tuple[RequestRecord, ...]
    pipeline: Pipeline | None = None
    bandwidth: tuple[float, ...] = ()
    forecaster: ForecastSettings | None = None


@dataclass(frozen=True)
class Segment:
    """``plan`` ran from ``start`` to ``end`` (seconds since the epoch)."""

    start: float
    end: float
    plan: Plan


def timeline(run: RunResult) -> list[Segment]:
    """Which plan ran when, clipped to the run, from the first plan on; equal neighbours are one segment.

    A plan counts from the moment its switch is complete; while one is under way the old plan counts.
    """
    segments: list[Segment] = []
    changes = sorted(_changes(run.decisions), key=lambda change: change[0])
    ends = [*(time for time, _ in changes[1:]), run.end]
    for index, (time, plan) in enumerate(changes):
        # What ran at the first observation ran since the start, as far as anybody knows.
        start, end = max(time, run.start) if index else run.start, min(ends[index], run.end)
        if end <= start or not plan:
            continue
        if segments and same_plan(segments[-1].plan, plan):
            segments[-1] = Segment(segments[-1].start, end, plan)
        else:
            segments.append(Segment(start, end, plan))
    return segments


def summary(run: RunResult) -> dict[str, Any]:
    """The figures of a run, as JSON types; with records also those of ``requests_summary``.

    ``mean_cost``: time-weighted mean of the cost in cores, that of both plans while one replaces the other.
    ``expected_accuracy`` and ``expected_latency`` (seconds): what the algorithm expected of what ran, a time-weighted
    mean, of the latency also the worst; None where it expected nothing. ``switches``: decisions that replaced a running
    plan; ``switches_up`` and ``switches_down`` those among them towards higher and lower accuracy, ``stage_changes``
    the stages they changed. ``forecast``: that of ``forecast_figures``.
    """
    switches = [decision for decision in run.decisions if is_switch(decision)]
    directions = list(_accuracy_steps(run, switches))
    return {
        **(requests_summary(run, switches) if run.records else {}),
        "mean_cost": mean_cost(run),
        "expected_accuracy": _mean(run, lambda proposal: proposal.accuracy),
        "expected_latency": {
            "mean": _mean(run, lambda proposal: proposal.latency),
            "max": max((found.latency for _, found in expectations(run) if found), default=None),
        },
        "decisions": len(run.decisions),
        "switches": len(switches),
        "switches_up": sum(step > 0 for step in directions),
        "switches_down": sum(step < 0 for step in directions),
        "stage_changes": sum(len(changed_stages(decision)) for decision in switches),
        "forecast": forecast_figures(run),
    }


def requests_summary(run: RunResult, switches: Sequence[Decision]) -> dict[str, Any]:
    """The figures of a run's requests, as JSON types; ``variants`` are those of ``by_variant``.

    ``violation_ratio``: late, dropped and failed requests over all requests. ``latency``: seconds over answered
    requests (in time or late), None when there is none. ``accuracy``: lines read exactly over lines shown, over
    answered requests. ``start_delay``: seconds by which the generator sent requests too late.
    """
    delays = [record.delay for record in run.records]
    figures = load_summary(run.records)
    del figures["late_starts"]  # told by start_delay
    return {
        **figures,
        "failed_requests_during_switches": _failed_during(switches, run.records),
        "start_delay": {"p99": _percentile(delays, 99), "max": max(delays, default=None)},
        "variants": by_variant(run),
    }


def forecast_figures(run: RunResult) -> dict[str, Any]:
    """How good the forecasts were whose horizon was over within the run: how many were ``judged``, and as Score has
    them ``smape``, ``coverage`` and ``pinball``, None where none was.
    """
    settings = run.forecaster
    if settings is None:
        return {"judged": 0, "smape": None, "coverage": None, "pinball": None}
    score = Score(settings.horizon, settings.judged_at, settings.resolution, math.inf)
    for decision in run.decisions:
        score.observe(decision.observation.time, decision.observation.arrivals)
        if decision.rate is not None:
            score.forecast(decision.observation.time, decision.rate)
    return {"judged": score.judged, "smape": score.smape, "coverage": score.coverage, "pinball": score.pinball}


def expectations(run: RunResult) -> list[tuple[float, Proposal | None]]:
    """When each decision was made (seconds since the epoch), and what was expected of the plan that ran from then on;
    None where the round came to nothing, or to a plan that was not put in place.
    """
    return [
        (d.observation.time, d.proposal if d.proposal and same_plan(d.proposal.plan, plan_in_force(d)) else None)
        for d in run.decisions
    ]


def _mean(run: RunResult, value: Callable[[Proposal], float]) -> float | None:
    """Time-weighted over the expectations; None without any."""
    found = expectations(run)
    ends = [*(time for time, _ in found[1:]), run.end]
    spans = [
        (max(min(end, run.end) - max(time, run.start), 0.0), value(proposal))
        for (time, proposal), end in zip(found, ends, strict=False)
        if proposal is not None
    ]
    seconds = sum(span for span, _ in spans)
    return sum(span * worth for span, worth in spans) / seconds if seconds else None


def by_variant(run: RunResult) -> dict[str, dict[str, dict[str, Any]]]:
    """Stage -> variant -> ``requests`` that it answered, ``planned``, how many of the stage's answered requests the
    shares of the plans that ran when they were due come to, and ``accuracy``, lines read exactly over lines shown.
    """
    answered: dict[tuple[str, str], list[RequestRecord]] = {}
    for record in run.records:
        if record.outcome in ANSWERED:
            for key in record.variants.items():
                answered.setdefault(key, []).append(record)
    planned = _planned(run)
    figures: dict[str, dict[str, dict[str, Any]]] = {}
    for stage, variant in sorted({*answered, *planned}):
        records = answered.get((stage, variant), [])
        figures.setdefault(stage, {})[variant] = {
            "requests": len(records),
            "planned": planned.get((stage, variant), 0.0),
            "accuracy": measured_accuracy(records),
        }
    return figures


def _planned(run: RunResult) -> dict[tuple[str, str], float]:
    """(Stage, variant) -> requests that plans meant for it, of those that the stage answered."""
    planned: dict[tuple[str, str], float] = {}
    for segment in timeline(run):
        due = [r for r in run.records if r.outcome in ANSWERED and segment.start <= r.due < segment.end]
        for stage, allocations in segment.plan.items():
            count = sum(stage in record.variants for record in due)
            for a in allocations:
                planned[stage, a.variant] = planned.get((stage, a.variant), 0.0) + a.share * count
    return planned


def latency_percentile(records: Sequence[RequestRecord], percentile: float) -> float | None:
    """Latency (seconds) of the answered among ``records`` at ``percentile``; None when nothing was answered."""
    return _percentile([r.latency for r in records if r.outcome in ANSWERED], percentile)


def measured_accuracy(records: Sequence[RequestRecord]) -> float | None:
    """Lines read exactly over lines shown, over the answered among ``records``; None when no line was shown."""
    answered = [record for record in records if record.outcome in ANSWERED]
    expected = sum(record.expected for record in answered)
    return sum(record.matched for record in answered) / expected if expected else None


def worth(figures: Mapping[str, Any]) -> float | None:
    """The accuracy by which a run is judged, of its ``summary``: the one that was measured, or where requests had no
    lines to read the one that was expected.
    """
    measured: float | None = figures.get("accuracy")
    return figures["expected_accuracy"] if measured is None else measured


def mean_cost(run: RunResult) -> float:
    """Time-weighted mean of what the plans cost, in cores, since the first one ran; 0 when no plan ever ran.

    From the observation that a switch follows from until its end old and new instances are there side by side, and what
    ``transition`` costs more than the old plan is added.
    """
    segments = timeline(run)
    seconds = sum(segment.end - segment.start for segment in segments)
    if not seconds:
        return 0.0
    core_seconds = sum(cost_in(run, segment.plan) * (segment.end - segment.start) for segment in segments)
    return (core_seconds + sum(_overlap(run, decision) for decision in run.decisions)) / seconds


def _overlap(run: RunResult, decision: Decision) -> float:
    """Core-seconds within the run that a decision's switch holds on top of the plan it replaces."""
    if decision.proposal is None or not is_switch(decision):
        return 0.0
    before = decision.observation.plan
    seconds = min(switch_end(decision), run.end) - max(decision.observation.time, run.start)
    return max(seconds, 0.0) * (cost_in(run, transition(before, decision.proposal.plan)) - cost_in(run, before))


def cost_in(run: RunResult, plan: Plan) -> float:
    """What a plan of the run costs, in cores; of a pipeline that is not known its cores alone."""
    return allocated_cores(plan) if run.pipeline is None else cost_of(run.pipeline, plan)


def predictions(run: RunResult) -> Callable[[Plan], float | None]:
    """The accuracy the algorithm ascribed to a plan; None when it never proposed it."""
    known: dict[frozenset[Any], float] = {}
    for decision in run.decisions:
        if decision.proposal is not None:
            known.setdefault(frozenset(decision.proposal.plan.items()), decision.proposal.accuracy)
    return lambda plan: known.get(frozenset(plan.items()))


def switch_end(decision: Decision) -> float:
    """When the plan of a decision ran (seconds since the epoch)."""
    return decision.observation.time + decision.seconds + decision.apply_seconds


def _changes(decisions: Sequence[Decision]) -> Iterator[tuple[float, Plan]]:
    for decision in decisions:
        yield decision.observation.time, decision.observation.plan
        if decision.proposal is not None and took_effect(decision):
            yield switch_end(decision), decision.proposal.plan


def _accuracy_steps(run: RunResult, switches: Sequence[Decision]) -> Iterator[float]:
    predicted = predictions(run)
    for decision in switches:
        before = predicted(decision.observation.plan)
        yield 0.0 if before is None or decision.proposal is None else decision.proposal.accuracy - before


def _failed_during(switches: Sequence[Decision], records: Sequence[RequestRecord]) -> int:
    windows = [(decision.observation.time, switch_end(decision) + SWITCH_TAIL) for decision in switches]
    failed = [record for record in records if record.outcome is RequestOutcome.FAILED]
    return sum(any(r.sent <= end and r.done >= begin for begin, end in windows) for r in failed)


def _percentile(values: Sequence[float], percentile: float) -> float | None:
    return float(np.percentile(values, percentile)) if values else None
