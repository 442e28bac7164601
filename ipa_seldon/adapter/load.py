"""A pipeline's load: as Prometheus has it from whoever counts requests, or as a gateway tells itself."""

from __future__ import annotations

from ipa_seldon.bootstrap import history_seconds, seldon_spec
from ipa_seldon.config import Config
from ipa_seldon.errors import ConfigError
from ipa_seldon.gateway.client import GatewayClient
from ipa_seldon.plan import Backlog, Measured
from ipa_seldon.platforms.seldon.options import Load
from ipa_seldon.prometheus import Prometheus
from ipa_seldon.prometheus.access import Stated, resolve
from ipa_seldon.prometheus.queries import Counters, Executor, Gateway, Triton

RECENT = 60
"""Seconds over which missed SLOs are counted."""


class PrometheusLoad:
    """The last ``seconds`` of a pipeline's load, by ``query``; requests that missed the ``slo`` (seconds) are those of
    its executors, or of its gateway where that counts.
    """

    def __init__(
        self, prometheus: Prometheus, query: str, seconds: int, missed: Executor | Gateway, slo: float
    ) -> None:
        self._prometheus = prometheus
        self._query = query
        self._seconds = seconds
        self._missed = missed
        self._slo = slo

    def arrivals(self, now: float) -> Measured:
        """Requests per second up to ``now``, oldest first."""
        return self._prometheus.load(self._query, self._seconds, now)

    def violations(self, now: float) -> float | None:
        """The share of the requests of the last RECENT seconds that were late or failed."""
        if isinstance(self._missed, Gateway):
            return self._prometheus.value(self._missed.missed_query(RECENT), now)
        return self._prometheus.violation_ratio(self._missed, self._slo, RECENT, now)

    def backlog(self) -> Backlog:
        """Not known: counters tell of requests that have come or gone."""
        return Backlog()


class GatewayLoad:
    """The last ``seconds`` of it, as the ``gateway`` counts it. All calls raise LoadError where it is not there."""

    def __init__(self, gateway: GatewayClient, seconds: int) -> None:
        self._gateway = gateway
        self._seconds = seconds

    def arrivals(self, now: float) -> Measured:
        """Requests per second up to ``now``, oldest first; NaN before its start."""
        return Measured(self._gateway.arrivals(now, self._seconds))

    def violations(self, _: float) -> float | None:
        """The share of the requests of the last RECENT seconds that were late, dropped or failed."""
        return self._gateway.violations(RECENT)

    def backlog(self) -> Backlog:
        """What requests have left."""
        return self._gateway.backlog()


def build_load(config: Config, namespace: str | None, url: str | None) -> Load:
    """What the config says of where its load comes from; ``url`` is the command line's Prometheus. ConfigError where
    nobody names one that is needed.
    """
    spec, seconds = seldon_spec(config), history_seconds(config)
    if spec.gateway is not None:
        return GatewayLoad(GatewayClient(spec.gateway), seconds)
    prometheus = prometheus_of(config, url)
    if prometheus is None:
        key = "spec.seldon.load.prometheus.url"
        raise ConfigError(f"{config.path}: {key}: missing; accepted: there, by --prometheus or by PROMETHEUS_URL")
    counters = counters_of(config, namespace)
    missed = counters if isinstance(counters, Gateway) else executor_of(config, namespace)
    return PrometheusLoad(prometheus, load_query(config, namespace), seconds, missed, config.spec.slo.latency)


def prometheus_of(config: Config, url: str | None) -> Prometheus | None:
    """The Prometheus that the command line's ``url``, the environment or the config names; None: none is."""
    stated = seldon_spec(config).load.prometheus
    found = resolve(url, Stated(stated.url, stated.ca_cert_path, stated.tls_insecure_skip_verify))
    return found and Prometheus(found[0], stated.timeout, found[1])


def executor_of(config: Config, namespace: str | None) -> Executor:
    """The executors of the config's predictor."""
    return Executor(config.name, seldon_spec(config).predictor, namespace)


def counters_of(config: Config, namespace: str | None) -> Counters:
    """Who counts the config's requests."""
    source = seldon_spec(config).load.source
    if source == "gateway":
        return Gateway(config.name, namespace)
    if source == "triton":
        return Triton.of(config.pipeline, namespace)
    return executor_of(config, namespace)


def load_query(config: Config, namespace: str | None) -> str:
    """The PromQL that tells the config's load: its own, or that of who counts its requests."""
    spec = seldon_spec(config)
    return spec.arrivals or counters_of(config, namespace).arrivals_query(spec.load.window)
