"""Prometheus metrics of one gateway, in a registry of their own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from ipa_seldon.metric import Metric

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0)
"""Upper bounds in seconds."""
PIPELINE = ("pipeline",)
STAGE = (*PIPELINE, "stage")

ARRIVALS = Metric("ipa_gateway_arrivals_total", "Requests that arrived.", PIPELINE)
REQUESTS = Metric(
    "ipa_gateway_requests_total",
    "Answered requests: completed, late, dropped or failed; late and dropped ones violated the SLO.",
    (*PIPELINE, "outcome", "code"),
    "one per outcome and code that there was",
)
LATENCY = Metric("ipa_gateway_request_seconds", "From arrival to answer.", PIPELINE, buckets=BUCKETS)
IN_FLIGHT = Metric("ipa_gateway_in_flight_requests", "Requests being answered.", PIPELINE)
UNSYNCHRONISED = Metric(
    "ipa_gateway_unsynchronised_requests_total", "Requests whose send time is not believed.", PIPELINE
)
STAGE_LATENCY = Metric(
    "ipa_gateway_stage_seconds",
    "One stage's answer, its queue included.",
    STAGE,
    "one per stage",
    BUCKETS,
)
DROPS = Metric(
    "ipa_gateway_drops_total",
    "Requests dropped at a stage because they could no longer make the SLO.",
    STAGE,
    "one per stage",
)
VERSIONS = Metric(
    "ipa_gateway_stage_requests_total",
    "Requests that a version of a stage answered.",
    (*STAGE, "version"),
    "one per version that answered",
)
OF_GATEWAY = (ARRIVALS, REQUESTS, LATENCY, IN_FLIGHT, UNSYNCHRONISED, STAGE_LATENCY, DROPS, VERSIONS)


class GatewayMetrics:
    """Every series carries the label ``pipeline``; ``stages`` are created at once so that their zeros are exported."""

    def __init__(self, pipeline: str, stages: tuple[str, ...]) -> None:
        self._pipeline = pipeline
        registry = self._registry = CollectorRegistry()
        self._arrivals = ARRIVALS.counter(registry).labels(pipeline)
        self._requests = REQUESTS.counter(registry)
        self._latency = LATENCY.histogram(registry).labels(pipeline)
        self._in_flight = IN_FLIGHT.gauge(registry).labels(pipeline)
        self._unsynchronised = UNSYNCHRONISED.counter(registry).labels(pipeline)
        stage_latency, drops = STAGE_LATENCY.histogram(registry), DROPS.counter(registry)
        self._stage_latency = {stage: stage_latency.labels(pipeline, stage) for stage in stages}
        self._drops = {stage: drops.labels(pipeline, stage) for stage in stages}
        self._versions = VERSIONS.counter(registry)

    def arrived(self) -> None:
        """A request arrived."""
        self._arrivals.inc()
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
