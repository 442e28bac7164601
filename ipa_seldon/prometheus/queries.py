"""PromQL for the load of a pipeline, by who counts its requests: Seldon Core's executors, a gateway, or Triton itself.

Each is the sum of the counters' growth between their last two scrapes, so that a load is seen two scrape intervals late
at most. ``window`` (seconds) is how far back the two may lie: it takes three scrape intervals to outlast a scrape that
fails. Until then the last mean is repeated; afterwards nobody measured. (A ``rate`` is the mean over the window: later,
flatter, and while scrapes fail too low.)

Beside the load, a second series marks the seconds in whose window a counter began, again or for the first time: what it
counted between its last scrape and its end, or before its first scrape, nobody has seen, so the load is at least what
it was before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ipa_seldon.pipeline import Pipeline

WINDOW = 15.0
"""Seconds in which two scrapes are looked for: three at 5 s, so that one may fail."""
RESTARTED = "restarted"
"""The label of the series that marks where counters began."""
EXECUTOR_REQUESTS = "seldon_api_executor_server_requests_seconds"
GATEWAY_ARRIVALS = "ipa_gateway_arrivals_total"
GATEWAY_REQUESTS = "ipa_gateway_requests_total"
TRITON_SUCCESSES, TRITON_FAILURES = "nv_inference_request_success", "nv_inference_request_failure"


class Counters(Protocol):
    """Who counts a pipeline's requests."""

    @property
    def counters(self) -> list[str]:
        """The series in which they are counted, as PromQL selects them."""
        ...

    def arrivals_query(self, window: float = WINDOW) -> str:
        """PromQL for requests/s: one series, and another with the label ``restarted`` where counters began."""
        ...


@dataclass(frozen=True)
class Executor:
    """Whose series are meant: those of the executors of ``predictor`` (None: all) of the SeldonDeployment ``graph``.

    ``namespace`` is a label that not the executor but Prometheus gives, and with most set-ups does; it is needed where
    graphs in several namespaces share a name.
    """

    graph: str
    predictor: str | None
    namespace: str | None = None

    @property
    def selector(self) -> str:
        """The labels of inference requests, in PromQL's braces; neither feedback nor status requests are load."""
        labels = {"deployment_name": self.graph, "predictor_name": self.predictor, "namespace": self.namespace}
        return _selector(labels, 'service=~"predictions|.*ModelInfer"')

    @property
    def counters(self) -> list[str]:
        """Of answered requests."""
        return [f"{EXECUTOR_REQUESTS}_count{self.selector}"]

    def arrivals_query(self, window: float = WINDOW) -> str:
        """The requests that executors answered. Before the first answer of all there is no series."""
        return _growth(self.counters, window)


@dataclass(frozen=True)
class Gateway:
    """The ipa-seldon gateways of a ``pipeline``, which count a request when it arrives."""

    pipeline: str
    namespace: str | None = None

    @property
    def selector(self) -> str:
        """Its labels, in PromQL's braces."""
        return _selector({"pipeline": self.pipeline, "namespace": self.namespace})

    @property
    def counters(self) -> list[str]:
        """Of requests that arrived."""
        return [f"{GATEWAY_ARRIVALS}{self.selector}"]

    def arrivals_query(self, window: float = WINDOW) -> str:
        """The requests that arrived; zero from the gateway's start on."""
        return _growth(self.counters, window)

    def missed_query(self, seconds: float) -> str:
        """Of the requests answered in that time, the share that was late, dropped or failed."""
        missed = f'{self.selector[:-1]},outcome!="completed"}}'
        some, all_ = (f"sum(increase({GATEWAY_REQUESTS}{of}[{duration(seconds)}]))" for of in (missed, self.selector))
        return f"({some} or vector(0)) / {all_}"


@dataclass(frozen=True)
class Triton:
    """The Tritons of a pipeline's entry, the ``model``, which is asked ``per_request`` times for each request.

    Prometheus gives the labels ``pipeline`` and ``namespace``, as ``manifests/monitoring`` has it do.
    """

    pipeline: str
    model: str
    per_request: float = 1.0
    namespace: str | None = None

    @classmethod
    def of(cls, pipeline: Pipeline, namespace: str | None = None) -> Triton:
        """Those of the first stage."""
        entry = pipeline.stages[0]
        return cls(pipeline.name, entry.name, entry.rate, namespace)

    @property
    def counters(self) -> list[str]:
        """Of requests that were answered, and that failed."""
        selector = _selector({"model": self.model, "pipeline": self.pipeline, "namespace": self.namespace})
        return [f"{TRITON_SUCCESSES}{selector}", f"{TRITON_FAILURES}{selector}"]

    def arrivals_query(self, window: float = WINDOW) -> str:
        """The requests that it answered or failed, a request counting once however many inferences are in it."""
        return _growth(self.counters, window, self.per_request)


def duration(seconds: float) -> str:
    """In PromQL, which has whole numbers only."""
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{1000 * seconds:.0f}ms"


def _selector(labels: Mapping[str, str | None], more: str = "") -> str:
    """Labels in PromQL's braces, their values quoted and escaped; those of None are left out."""
    pairs = [f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in labels.items() if value is not None]
    return "{" + ",".join([*pairs, *filter(None, [more])]) + "}"


def _growth(counters: list[str], window: float, per_request: float = 1.0) -> str:
    """The load in ``counters``, and the mark of their beginnings."""
    within = duration(window)
    rates, resets = (" or ".join(f"{of}({name}[{within}])" for name in counters) for of in ("irate", "resets"))
    new = " or ".join(f"{name} unless {name} offset {within}" for name in counters)
    share = "" if per_request == 1 else f" / {per_request:g}"
    return f'sum({rates}){share} or label_replace(sum({resets}) > 0 or count({new}) > 0, "{RESTARTED}", "true", "", "")'
