"""What an adapter needs of Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from math import isfinite

from ipa_seldon.bootstrap import seldon_spec
from ipa_seldon.config import Config
from ipa_seldon.doctor.findings import Finding, fail, ok, warn
from ipa_seldon.errors import PlatformError
from ipa_seldon.prometheus import WINDOW, Executor, Prometheus

HISTORY = 3600
"""Seconds that are looked back."""
RECENT = 120
"""Seconds within which there must be data."""
SELDOM = 300.0
"""Seconds between two scrapes that still tell a load, were the window as wide."""
_SCRAPE = "kubectl apply -k manifests/monitoring"
_FORWARD = (
    "give --prometheus the URL of the Prometheus that scrapes the executors; from outside the cluster: "
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
    executor = Executor(config.name, spec.predictor, namespace)
    try:
        rates = prometheus.arrivals(spec.arrivals or executor.arrivals_query(), HISTORY, now)
    except PlatformError as error:
        if spec.arrivals is None:
            raise
        return fail("load", str(error), "correct spec.seldon.arrivals: PromQL for requests/s, one series, sum(...)")
    ages = [age for age, rate in enumerate(reversed(rates)) if isfinite(rate)]
    if ages and ages[0] <= RECENT:
        return ok("load", f"{rates[-1 - ages[0]]:g} requests/s, as of {ages[0]} s ago")
    if not ages and spec.arrivals is None:
        return next(_near_misses(prometheus, executor, now), None) or fail(
            "load",
            f"no series at all in the last hour: {executor.arrivals_query()}",
            f"have the executors scraped every 5 s: {_SCRAPE}; then send a request: there is none before the first",
        )
    if not ages:
        return fail("load", f"no series at all in the last hour: {spec.arrivals}", "correct spec.seldon.arrivals")
    return fail(
        "load",
        f"stale: the last data is {ages[0]} s old",
        "in Prometheus, under Status, Targets, the executor's pod must be up; is it scraped every 5 s?",
    )


def _near_misses(prometheus: Prometheus, executor: Executor, now: float) -> Iterator[Finding]:
    """Why series that there are do not answer the query."""
    anywhere = Executor(executor.graph, executor.predictor)
    for other, words, remedy in (
        (executor, f"no two scrapes within {WINDOW:g} s", f"have the executors scraped every 5 s: {_SCRAPE}"),
        (
            anywhere,
            f"its series have no label namespace={executor.namespace!r}",
            "have Prometheus give its targets that label, or state spec.seldon.arrivals",
        ),
    ):
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
