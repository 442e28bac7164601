"""Prometheus metrics of the adapter, in a registry of their own."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ipa_seldon.plan import Decision, Outcome, Plan

SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Upper bounds of a decision's buckets."""


class AdapterMetrics:
    """Shared by all pipelines of an adapter; every series of one carries the label ``pipeline``."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        one = ("pipeline",)
        self.leader = Gauge("ipa_adapter_leader", "1 while this adapter acts.", registry=registry)
        self.calls = Counter(
            "ipa_adapter_api_calls", "Calls of the API server.", ("verb", "resource", "code"), registry=registry
        )
        self.invalid = Gauge("ipa_adapter_invalid", "1 for a pipeline file that is refused.", one, registry=registry)
        self.crashes = Counter("ipa_adapter_crashes", "Loops that ended by a fault of ours.", one, registry=registry)
        self._decisions = Counter(
            "ipa_adapter_decisions", "Rounds, by how they ended.", ("pipeline", "outcome"), registry=registry
        )
        self._seconds = Histogram(
            "ipa_adapter_decision_seconds", "Forecast and solver.", one, buckets=SECONDS, registry=registry
        )
        self._rate = Gauge("ipa_adapter_forecast_rate", "Requests/s planned for.", one, registry=registry)
        self._refused = Gauge(
            "ipa_adapter_refused", "1 while the graph is left alone.", ("pipeline", "reason"), registry=registry
        )
        self._waiting = Gauge(
            "ipa_adapter_waiting", "1 for a stage that is not as planned yet.", ("pipeline", "stage"), registry=registry
        )
        labels = ("pipeline", "stage", "variant")
        self._plan = {
            field: Gauge(f"ipa_adapter_plan_{field}", f"Of the plan: {field}.", labels, registry=registry)
            for field in ("replicas", "cores", "batch")
        }

    def add(self, pipeline: str) -> None:
        """A pipeline is adapted from now on; zeros of its outcomes are exported."""
        for outcome in Outcome:
            self._decisions.labels(pipeline, str(outcome))

    def decided(self, pipeline: str, decision: Decision) -> None:
        """A round of ``pipeline`` has ended."""
        self._decisions.labels(pipeline, str(decision.outcome)).inc()
        if decision.rate is not None:
            self._seconds.labels(pipeline).observe(decision.seconds)
            self._rate.labels(pipeline).set(decision.rate)
        self._show_plan(pipeline, decision.observation.plan)

    def stands(self, pipeline: str, refusal: str, waiting: Mapping[str, str]) -> None:
        """Why the graph is left alone (empty: it is not), and which stages are not as planned."""
        self._refused.remove_by_labels({"pipeline": pipeline})
        self._waiting.remove_by_labels({"pipeline": pipeline})
        if refusal:
            self._refused.labels(pipeline, refusal).set(1)
        for stage in waiting:
            self._waiting.labels(pipeline, stage).set(1)

    def remove(self, pipeline: str) -> None:
        """A pipeline is adapted no more."""
        for metric in (self._refused, self._waiting, self._rate, self.invalid, *self._plan.values()):
            metric.remove_by_labels({"pipeline": pipeline})

    def _show_plan(self, pipeline: str, plan: Plan) -> None:
        for field, gauge in self._plan.items():
            gauge.remove_by_labels({"pipeline": pipeline})
            for stage, allocations in plan.items():
                for allocation in allocations:
                    gauge.labels(pipeline, stage, allocation.variant).set(getattr(allocation, field))

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._registry)
