"""Prometheus metrics of an adapter, or of a loop on one machine: the pipelines it adapts, and itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest

from ipa_seldon.config import Config
from ipa_seldon.errors import PlatformError
from ipa_seldon.plan import Decision
from ipa_seldon.telemetry.catalogue import ADAPTER_ERRORS, CALLS, INVALID, LEADER, OF_PIPELINE
from ipa_seldon.telemetry.series import PipelineSeries


class AdapterMetrics:
    """Shared by all pipelines of one ``namespace`` (empty: of this machine); may be scraped from any thread."""

    def __init__(self, namespace: str = "") -> None:
        self._namespace = namespace
        self._pipelines: dict[str, PipelineSeries] = {}
        registry = self._registry = CollectorRegistry()
        self._leader = LEADER.gauge(registry)
        self._calls = CALLS.counter(registry)
        self._errors = ADAPTER_ERRORS.counter(registry)
        self._invalid = INVALID.gauge(registry)

    # ---- of a pipeline ----------------------------------------------------------------------------------------------

    def add(self, config: Config) -> None:
        """A pipeline is adapted from now on."""
        self._pipelines[config.name] = PipelineSeries(config, self._namespace)

    def remove(self, pipeline: str) -> None:
        """A pipeline is adapted no more: it has no series either."""
        self._pipelines.pop(pipeline, None)

    def decided(self, pipeline: str, decision: Decision, violations: float | None = None) -> None:
        """A round has ended; ``violations`` is the share of recent requests that missed the SLO, where it is known."""
        self._pipelines[pipeline].decided(decision, violations)

    def listener(self, pipeline: str, violations: Callable[[float], float | None]) -> Callable[[Decision], None]:
        """A listener that asks ``violations(now)`` of the source of load; what it does not answer, it does not tell."""

        def heard(decision: Decision) -> None:
            found = None
            if decision.observation.arrivals:  # else the source does not answer at all
                try:
                    found = violations(decision.observation.time)
                except PlatformError:
                    self.failed(pipeline, "load")
            self.decided(pipeline, decision, found)

        return heard

    def stands(self, pipeline: str, refusal: str, waiting: Iterable[str]) -> None:
        """Why the graph is left alone (empty: it is not), and which stages are not as planned."""
        self._pipelines[pipeline].stands(refusal, waiting)

    def failed(self, pipeline: str, component: str) -> None:
        """A fault beside the rounds, in one of COMPONENTS; nothing of a pipeline that is not adapted."""
        if pipeline in self._pipelines:
            self._pipelines[pipeline].failed(component)

    # ---- of the process ---------------------------------------------------------------------------------------------

    def leads(self, held: bool) -> None:
        """Whether this adapter acts."""
        self._leader.labels(self._namespace).set(held)

    def called(self, verb: str, resource: str, code: int) -> None:
        """A call of the API server has ended."""
        self._calls.labels(self._namespace, verb, resource, str(code)).inc()

    def stumbled(self, component: str) -> None:
        """Keeping the lease ("lease"), or looking for pipelines ("pipelines"), has failed."""
        self._errors.labels(self._namespace, component).inc()

    def judged(self, source: str, refused: bool) -> None:
        """Whether the pipeline file of that name is refused."""
        self._invalid.labels(self._namespace, source).set(refused)

    def gone(self, source: str) -> None:
        """There is no such pipeline file any more."""
        self._invalid.remove_by_labels({"source": source})

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        lines = []
        texts = [series.text for series in list(self._pipelines.values())]
        for metric in OF_PIPELINE:
            series = [text[metric] for text in texts if text[metric]]
            if series:
                lines += [metric.head, *series]
        return b"".join([*lines, generate_latest(self._registry)])
