"""Prometheus metrics of one gateway, in a registry of their own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0)
"""Upper bounds in seconds."""


class GatewayMetrics:
    """Every series carries the label ``pipeline``; ``stages`` are created at once so that their zeros are exported."""

    def __init__(self, pipeline: str, stages: tuple[str, ...]) -> None:
        self._pipeline = pipeline
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "ipa_gateway_requests",
            "Answered requests; late and dropped ones violated the SLO.",
            ("pipeline", "outcome", "code"),
            registry=self._registry,
        )
        self._latency = Histogram(
            "ipa_gateway_request_seconds",
            "From arrival to answer.",
            ("pipeline",),
            buckets=BUCKETS,
            registry=self._registry,
        ).labels(pipeline)
        stage_latency = Histogram(
            "ipa_gateway_stage_seconds",
            "One stage's answer, its queue included.",
            ("pipeline", "stage"),
            buckets=BUCKETS,
            registry=self._registry,
        )
        drops = Counter(
            "ipa_gateway_drops",
            "Requests dropped at a stage because they could no longer make the SLO.",
            ("pipeline", "stage"),
            registry=self._registry,
        )
        self._versions = Counter(
            "ipa_gateway_stage_requests",
            "Requests that a version of a stage answered.",
            ("pipeline", "stage", "version"),
            registry=self._registry,
        )
        self._in_flight = Gauge(
            "ipa_gateway_in_flight_requests", "Requests being answered.", ("pipeline",), registry=self._registry
        ).labels(pipeline)
        self._unsynchronised = Counter(
            "ipa_gateway_unsynchronised_requests",
            "Requests whose send time is not believed.",
            ("pipeline",),
            registry=self._registry,
        ).labels(pipeline)
        self._stage_latency = {stage: stage_latency.labels(pipeline, stage) for stage in stages}
        self._drops = {stage: drops.labels(pipeline, stage) for stage in stages}

    def arrived(self) -> None:
        """A request arrived."""
        self._in_flight.inc()

    def unsynchronised(self) -> None:
        """The clock of a request's client seems to be off."""
        self._unsynchronised.inc()

    def answered(self, outcome: str, code: int, seconds: float) -> None:
        """A request was answered ``seconds`` after it arrived."""
        self._in_flight.dec()
        self._requests.labels(self._pipeline, outcome, str(code)).inc()
        self._latency.observe(seconds)

    def stage_answered(self, stage: str, seconds: float) -> None:
        """A stage took ``seconds`` over a request."""
        self._stage_latency[stage].observe(seconds)

    def version_answered(self, stage: str, version: str) -> None:
        """A version of a stage, by its own word, answered a request."""
        self._versions.labels(self._pipeline, stage, version).inc()

    def dropped(self, stage: str) -> None:
        """A stage dropped a request."""
        self._drops[stage].inc()

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._registry)
