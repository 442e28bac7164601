"""The series of one pipeline: what each round changes in them, and their text, which is ready before it is scraped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import floor, isfinite
from typing import TypeVar

from ipa_seldon.config import Config
from ipa_seldon.forecasters.score import Score
from ipa_seldon.metric import Instrument, Metric, series_of
from ipa_seldon.plan import (
    Allocation,
    Decision,
    Observation,
    Outcome,
    Plan,
    Proposal,
    Status,
    is_switch,
    plan_in_force,
)
from ipa_seldon.telemetry import catalogue as of
from ipa_seldon.telemetry.reasons import (
    COMPONENTS,
    CONSTRAINTS,
    DIRECTIONS,
    LOAD_REASONS,
    REASONS,
    constraint_of,
    direction_of,
    reason_of,
    refusal_reason,
)

MEDIAN = 0.5
Made = TypeVar("Made", bound=Instrument)
FIELDS: Mapping[str, Callable[[Allocation], float]] = {
    "replicas": lambda one: one.replicas,
    "cores": lambda one: one.replicas * one.cores,
    "gpus": lambda one: one.replicas * one.gpus,
    "batch": lambda one: one.batch,
    "share": lambda one: one.share,
}
"""What is shown of an allocation, by the keys of CURRENT and DESIRED."""


class PipelineSeries:
    """Of the pipeline of ``config``. Rounds come seldom and scrapes may come often, of many pipelines at once: so every
    change is put in words when it is made. ``text`` has a metric's series as they are exposed, and is replaced whole.
    """

    def __init__(self, config: Config, namespace: str) -> None:
        spec = self._spec = config.spec
        self._at = (namespace, config.name)
        self._gauges = _made("gauge", Metric.gauge)
        self._counters = _made("counter", Metric.counter)
        self._histograms = _made("histogram", Metric.histogram)
        self._changed: set[Metric] = set(of.OF_PIPELINE)
        quantile = None if spec.forecaster.quantile == "none" else spec.forecaster.quantile
        self._score = Score(spec.forecaster.horizon, quantile or MEDIAN, spec.forecaster.resolution)
        self._stood: tuple[str, tuple[str, ...]] = ("", ())
        self.text: Mapping[Metric, bytes] = {}
        self._set(of.SLO, spec.slo.latency)
        self._set(of.OBJECTIVE, spec.slo.percentile / 100)
        self._set(of.INTERVAL, spec.interval)
        self._set(of.QUANTILE, quantile)
        self._set(of.MODE, 1, config.mode)
        self._begin_at_zero()
        self._tell()

    def decided(self, decision: Decision, violations: float | None) -> None:
        """A round has ended; ``violations`` is the share of recent requests that missed the SLO, where it is known."""
        reason = reason_of(decision)
        self._count(of.DECISIONS, str(decision.outcome), reason)
        if decision.outcome is Outcome.FAILED:
            self._count(of.ERRORS, reason)
        if is_switch(decision):
            self._count(of.SWITCHES, direction_of(decision))
        self._set(of.LAST_DECISION, decision.observation.time)
        self._set(of.VIOLATIONS, violations)
        self._set(of.FALLBACK, decision.load.fallback)
        if decision.load.reason is not None:
            self._count(of.LOAD_FAULTS, str(decision.load.reason))
        self._judge(decision)
        self._observe(decision.observation)
        if decision.proposal is not None:
            self._propose(decision, decision.proposal)
        if not (decision.outcome is Outcome.FAILED and reason == "observe"):  # which saw nothing
            plan = plan_in_force(decision)
            self._plan(of.CURRENT, plan)
            self._set(of.CURRENT_COST, self._spec.hourly_cost(plan))
        self._tell()

    def stands(self, refusal: str, waiting: Iterable[str]) -> None:
        """Why the graph is left alone (empty: it is not), and the stages that are not as planned."""
        stood = (refusal, tuple(waiting))
        if stood == self._stood:
            return
        self._stood = stood
        for metric in (of.REFUSED, of.WAITING):
            self._set(metric, None)
        if refusal:
            self._set(of.REFUSED, 1, refusal_reason(refusal))
        for stage in stood[1]:
            self._set(of.WAITING, 1, stage)
        self._tell()

    def failed(self, component: str) -> None:
        """A fault beside the rounds, in one of COMPONENTS."""
        self._count(of.ERRORS, component)
        self._tell()

    # ---- what a round tells -----------------------------------------------------------------------------------------

    def _judge(self, decision: Decision) -> None:
        """Compare past forecasts with what has come since, then take in the new one."""
        observation, score = decision.observation, self._score
        judged = score.observe(observation.time, observation.arrivals)
        self._count(of.JUDGED, by=judged)
        self._set(of.SMAPE, score.smape)
        self._set(of.COVERAGE, score.coverage)
        if decision.rate is not None:
            score.forecast(observation.time, decision.rate)
            self._set(of.FORECAST, decision.rate)

    def _observe(self, observation: Observation) -> None:
        recent = observation.arrivals[-max(1, round(self._spec.interval)) :]
        counted = [count for count in recent if isfinite(count)]
        self._set(of.OBSERVED, sum(counted) / len(counted) if counted else None)
        ages = (age for age, count in enumerate(reversed(observation.arrivals)) if isfinite(count))
        age = next(ages, None)
        if age is not None:
            self._set(of.LAST_LOAD, floor(observation.time) - age)

    def _propose(self, decision: Decision, proposal: Proposal) -> None:
        constraint = constraint_of(decision)
        if constraint:
            self._count(of.LIMITED, constraint)
        self._time(of.DECISION_SECONDS, decision.seconds)
        self._time(of.SOLVER_SECONDS, decision.solver_seconds)
        if decision.apply_seconds:
            self._time(of.APPLY_SECONDS, decision.apply_seconds)
        self._plan(of.DESIRED, proposal.plan)
        self._set(of.GAP, proposal.gap)
        self._set(of.EXPECTED_LATENCY, proposal.latency)
        self._set(of.HEADROOM, 1 - proposal.latency / self._spec.slo.latency)
        self._set(of.ACCURACY, proposal.accuracy)
        self._set(of.CAPACITY, proposal.served)
        self._set(of.DEGRADED, proposal.status is Status.DEGRADED)
        self._set(of.DESIRED_COST, self._spec.hourly_cost(proposal.plan))

    def _plan(self, metrics: Mapping[str, Metric], plan: Plan) -> None:
        for field, metric in metrics.items():
            self._set(metric, None)
            for stage, allocations in plan.items():
                for one in allocations:
                    self._set(metric, FIELDS[field](one), stage, one.variant)

    # ---- instruments ------------------------------------------------------------------------------------------------

    def _begin_at_zero(self) -> None:
        """So that the first of a kind is seen as a growth."""
        for metric, values in (
            (of.LIMITED, CONSTRAINTS),
            (of.SWITCHES, DIRECTIONS),
            (of.ERRORS, COMPONENTS),
            (of.LOAD_FAULTS, LOAD_REASONS),
        ):
            for value in values:
                self._count(metric, value, by=0)
        for outcome, reasons in REASONS.items():
            for reason in reasons:
                self._count(of.DECISIONS, str(outcome), reason, by=0)
        self._count(of.JUDGED, by=0)
        for histogram in self._histograms.values():
            histogram.labels(*self._at)

    def _set(self, metric: Metric, value: float | None, *labels: str) -> None:
        """None: no series of it, whatever the labels."""
        self._changed.add(metric)
        if value is None:
            self._gauges[metric].clear()
        else:
            self._gauges[metric].labels(*self._at, *labels).set(value)

    def _count(self, metric: Metric, *labels: str, by: int = 1) -> None:
        self._changed.add(metric)
        self._counters[metric].labels(*self._at, *labels).inc(by)

    def _time(self, metric: Metric, seconds: float) -> None:
        self._changed.add(metric)
        self._histograms[metric].labels(*self._at).observe(seconds)

    def _tell(self) -> None:
        """Put in words what has changed."""
        instruments: Mapping[Metric, Instrument] = {**self._gauges, **self._counters, **self._histograms}
        self.text = {**self.text, **{metric: series_of(instruments[metric]) for metric in self._changed}}
        self._changed.clear()


def _made(kind: str, make: Callable[[Metric], Made]) -> dict[Metric, Made]:
    return {metric: make(metric) for metric in of.OF_PIPELINE if metric.kind == kind}
