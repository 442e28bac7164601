"""A pipeline's load: as the executors of Seldon Core count it, or as a gateway does that its clients come through."""

from __future__ import annotations

from ipa_seldon.gateway.client import GatewayClient
from ipa_seldon.plan import Backlog
from ipa_seldon.prometheus import Executor, Prometheus

RECENT = 60
"""Seconds over which missed SLOs are counted."""


class ExecutorLoad:
    """The last ``seconds`` of it; ``query`` (PromQL, requests/s) takes the place of the executor's own count."""

    def __init__(
        self, prometheus: Prometheus, executor: Executor, slo: float, seconds: int, query: str | None = None
    ) -> None:
        self._prometheus = prometheus
        self._executor = executor
        self._slo = slo
        self._seconds = seconds
        self._query = query or executor.arrivals_query()

    def arrivals(self, now: float) -> list[float]:
        """Requests per second up to ``now``, oldest first."""
        return self._prometheus.arrivals(self._query, self._seconds, now)

    def violations(self, now: float) -> float | None:
        """The share of the requests of the last RECENT seconds that were late or failed."""
        return self._prometheus.violation_ratio(self._executor, self._slo, RECENT, now)

    def backlog(self) -> Backlog:
        """Not known: an executor tells of a request when it has answered it."""
        return Backlog()


class GatewayLoad:
    """The last ``seconds`` of it, as the ``gateway`` counts it. All calls raise PlatformError where it is not there."""

    def __init__(self, gateway: GatewayClient, seconds: int) -> None:
        self._gateway = gateway
        self._seconds = seconds

    def arrivals(self, now: float) -> list[float]:
        """Requests per second up to ``now``, oldest first; NaN before its start."""
        return self._gateway.arrivals(now, self._seconds)

    def violations(self, _: float) -> float | None:
        """The share of the requests of the last RECENT seconds that were late, dropped or failed."""
        return self._gateway.violations(RECENT)

    def backlog(self) -> Backlog:
        """What requests have left."""
        return self._gateway.backlog()
