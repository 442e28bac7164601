"""What an adapter needs of Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from math import isfinite

from ipa_seldon.adapter.load import counters_of, load_query
from ipa_seldon.bootstrap import seldon_spec
from ipa_seldon.config import Config
from ipa_seldon.doctor.findings import Finding, fail, ok, warn
from ipa_seldon.errors import PlatformError
from ipa_seldon.prometheus import Prometheus
from ipa_seldon.prometheus.queries import Counters

HISTORY = 3600
"""Seconds that are looked back."""
RECENT = 120
"""Seconds within which there must be data."""
SELDOM = 300.0
"""Seconds between two scrapes that still tell a load, were the window as wide."""
_SCRAPE = "kubectl apply -k manifests/monitoring"
_FORWARD = (
    "give --prometheus the URL of the Prometheus that knows the load; from outside the cluster: "
    "kubectl -n monitoring port-forward svc/prometheus-operated 9090, and http://localhost:9090"
)


def reachable(prometheus: Prometheus) -> Finding:
    """Whether it answers questions."""
    try:
        answer = prometheus.arrivals("vector(1)", 1, time.time())
    except PlatformError as error:
        return fail("prometheus", str(error), _FORWARD)
    if answer != [1.0]:
        return fail("prometheus", f"{prometheus}: not an answer of Prometheus", _FORWARD)
    return ok("prometheus", f"{prometheus} answers")


def load(prometheus: Prometheus, config: Config, namespace: str | None) -> Finding:
    """Whether there is a load of the pipeline to be read."""
    spec, now = seldon_spec(config), time.time()
    query = load_query(config, namespace)
    try:
        rates = prometheus.arrivals(query, HISTORY, now)
    except PlatformError as error:
        if spec.arrivals is None:
            raise
        return fail("load", str(error), "correct spec.seldon.arrivals: PromQL for requests/s, one series, sum(...)")
    ages = [age for age, rate in enumerate(reversed(rates)) if isfinite(rate)]
    if ages and ages[0] <= RECENT:
        return ok("load", f"{rates[-1 - ages[0]]:g} requests/s, as of {ages[0]} s ago")
    if not ages and spec.arrivals is None:
        return next(_near_misses(prometheus, config, namespace, now), None) or fail(
            "load",
            f"no series at all in the last hour: {query}",
            f"have {_who(config)} scraped every 5 s: {_SCRAPE}; then send a request: there is none before the first",
        )
    if not ages:
        return fail("load", f"no series at all in the last hour: {spec.arrivals}", "correct spec.seldon.arrivals")
    return fail(
        "load",
        f"stale: the last data is {ages[0]} s old",
        f"in Prometheus, under Status, Targets, {_who(config)} must be up; is each scraped every 5 s?",
    )


def _who(config: Config) -> str:
    """Those who count the pipeline's requests."""
    source = seldon_spec(config).load.source
    return {"executor": "the executors", "gateway": "its gateway", "triton": "the Tritons of its first stage"}[source]


def _near_misses(prometheus: Prometheus, config: Config, namespace: str | None, now: float) -> Iterator[Finding]:
    """Why series that there are do not answer the query."""
    window = seldon_spec(config).load.window
    others: tuple[tuple[Counters, str, str], ...] = (
        (
            counters_of(config, namespace),
            f"no two scrapes within {window:g} s",
            f"have {_who(config)} scraped every 5 s: {_SCRAPE}",
        ),
        (
            counters_of(config, None),
            f"its series have no label namespace={namespace!r}",
            "have Prometheus give its targets that label, or state spec.seldon.arrivals",
        ),
    )
    for other, words, remedy in others:
        if any(map(isfinite, prometheus.arrivals(other.arrivals_query(SELDOM), RECENT, now))):
            yield fail("load", words, remedy)


def triton(prometheus: Prometheus, config: Config, namespace: str | None) -> Finding:
    """Whether each stage's Triton is scraped, which only dashboards need."""
    stages = [stage.name for stage in config.pipeline.stages]
    where = f',namespace="{namespace}"' if namespace else ""
    series = f'nv_inference_request_success{{model=~"{"|".join(stages)}"{where}}}'
    (found,) = prometheus.arrivals(f"count(count by (model) ({series}))", 1, time.time())
    count = int(found) if isfinite(found) else 0
    if count < len(stages):
        words = f"Triton's own series are there for {count} of {len(stages)} stages; the adapter needs none"
        return warn("triton", words, f"for dashboards: {_SCRAPE}")
    return ok("triton", f"Triton's own series are there for all {count} stages")
