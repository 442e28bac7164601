"""Prometheus metrics of one sidecar, in a registry of their own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from ipa_seldon.metric import Metric
from ipa_seldon.sidecar.reconciler import Round

BUCKETS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)
"""Upper bounds in seconds."""
STAGE = ("stage",)

IN_SYNC = Metric("ipa_sidecar_in_sync", "1 while Triton runs what the plan wants.", STAGE)
LOADS = Metric("ipa_sidecar_loads_total", "Changes sent to Triton, done or failed.", (*STAGE, "outcome"))
LOAD_SECONDS = Metric("ipa_sidecar_load_seconds", "What a change took.", STAGE, buckets=BUCKETS)
RUNNING = Metric(
    "ipa_sidecar_running",
    "1 for what Triton runs.",
    (*STAGE, "variant", "version", "batch", "cores"),
    "while it runs a plan of ours",
)
OF_SIDECAR = (IN_SYNC, LOADS, LOAD_SECONDS, RUNNING)


class SidecarMetrics:
    """Every series carries the label ``stage``."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        registry = self._registry = CollectorRegistry()
        self._in_sync = IN_SYNC.gauge(registry).labels(stage)
        self._loads = LOADS.counter(registry)
        self._seconds = LOAD_SECONDS.histogram(registry).labels(stage)
        self._running = RUNNING.gauge(registry)
        for outcome in ("done", "failed"):
            self._loads.labels(stage, outcome)

    def observe(self, ended: Round) -> None:
        """A round has ended."""
        self._in_sync.set(ended.in_sync)
        if ended.load_seconds is not None:
            self._loads.labels(self._stage, "failed" if ended.error else "done").inc()
            self._seconds.observe(ended.load_seconds)
        self._running.clear()
        if ended.running is not None:
            plan = ended.running
            self._running.labels(self._stage, plan.variant, plan.version, plan.batch, plan.cores).set(1)

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._registry)
