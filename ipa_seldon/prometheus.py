"""A pipeline's load, and how much of it misses the SLO, out of a Prometheus that scrapes Seldon Core's executors.

An executor counts a request when it has answered it. While answers keep up, that is the load; where requests pile up,
or are given up by their clients, the load is more than is counted.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from ipa_seldon.errors import PlatformError

if TYPE_CHECKING:
    from prometheus_api_client.prometheus_connect import PrometheusConnect
    from requests import RequestException, Response

WINDOW = 15.0
"""Seconds in which two scrapes are looked for: three at 5 s, so that one may fail."""
_REQUESTS = "seldon_api_executor_server_requests_seconds"
Answer = TypeVar("Answer")


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
        labels = {"deployment_name": self.graph}
        if self.predictor is not None:
            labels["predictor_name"] = self.predictor
        if self.namespace is not None:
            labels["namespace"] = self.namespace
        pairs = [f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in labels.items()]
        return "{" + ",".join([*pairs, 'service=~"predictions|.*ModelInfer"']) + "}"

    def arrivals_query(self, window: float = WINDOW) -> str:
        """PromQL for the requests per second of all executors, each second's being the mean of its last two scrapes.

        So the load is seen two scrape intervals late at most. ``window`` is how far back the two scrapes may lie: it
        takes three scrape intervals to outlast one that fails. Until then the last mean is repeated; afterwards nobody
        measured. (A ``rate`` is the mean over the window: later, flatter, and while scrapes fail too low.)

        A counter that starts again at zero with its container is no drop in load: growth is added up on both sides. A
        new series, of a new pod or the first answer with some code, begins with its first scrape: what was counted
        before that is not seen. Before the first answer of all there is no series.
        """
        return f"sum(irate({_REQUESTS}_count{self.selector}[{_duration(window)}]))"


@dataclass(frozen=True)
class Prometheus:
    """The Prometheus at ``url``, for example ``http://prometheus.monitoring:9090``.

    ``timeout``: seconds it may go without accepting a connection, and then without sending anything. Questions are not
    asked again: the next round of the loop does that. Each raises PlatformError, in one line, when there is no answer
    or a refusal.
    """

    url: str
    timeout: float = 5.0

    def arrivals(self, query: str, seconds: int, now: float) -> list[float]:
        """The values of ``query`` (requests per second) at the end of each of the last ``seconds`` whole seconds.

        Oldest first; the last one is of the last complete second before ``now`` (seconds since the epoch). NaN where
        nobody measured. PlatformError also where the query answers more than one series.
        """
        end = math.floor(now)
        span = range(end - seconds + 1, end + 1)

        def ask(client: PrometheusConnect) -> list[dict[float, float]]:
            first, last = (datetime.fromtimestamp(second, UTC) for second in (span[0], span[-1]))
            found = client.custom_query_range(query, first, last, "1")
            return [
                {time: rate for time, value in series["values"] if math.isfinite(rate := float(value))}
                for series in found
            ]

        found = self._answer(ask)
        if len(found) > 1:
            raise PlatformError(f"{self}: {len(found)} series answer {query!r}; accepted: one, as of sum(...)")
        rates = found[0] if found else {}
        return [rates.get(second, math.nan) for second in span]

    def violation_ratio(self, executor: Executor, slo: float, seconds: float, now: float) -> float | None:
        """Of the requests answered in the ``seconds`` before ``now``, the fraction that took over ``slo`` or failed.

        The executor's histogram knows times by its buckets only: an answer counts as in time up to the smallest bound
        at or above the SLO, and beyond the largest bound none is late. None where there were no requests or nobody
        counted them, which takes two scrapes. The first errors of an executor are missed, as its new series are.
        """
        query = f"sum by (le, code) (increase({_REQUESTS}_bucket{executor.selector}[{_duration(seconds)}]))"

        def ask(client: PrometheusConnect) -> list[tuple[float, str, float]]:
            found = client.custom_query(query, {"time": now})
            return [(float(s["metric"]["le"]), s["metric"]["code"], float(s["value"][1])) for s in found]

        buckets = self._answer(ask)
        total = sum(count for bound, _, count in buckets if bound == math.inf)
        if not total > 0:
            return None
        in_time = min(bound for bound, _, _ in buckets if bound >= slo)
        good = sum(count for bound, code, count in buckets if bound == in_time and _is_success(code))
        return min(max(1 - good / total, 0.0), 1.0)

    def __str__(self) -> str:
        # This is for messages, hence without a password.
        return f"Prometheus at {re.sub('//[^/]*@', '//', self.url)}"

    def _answer(self, ask: Callable[[PrometheusConnect], Answer]) -> Answer:
        try:
            from prometheus_api_client.exceptions import PrometheusApiClientException
            from prometheus_api_client.prometheus_connect import PrometheusConnect
            from requests import RequestException, Session
            from urllib3 import Retry
        except ImportError as error:
            extra = "pip install 'ipa-seldon[kubernetes]'"
            raise PlatformError(f"{self}: needs the package {error.name!r}: {extra}") from error
        try:
            with Session() as session:
                # The client's own exception for a refusal has the whole page in its text.
                session.hooks["response"].append(lambda response, **_: response.raise_for_status())
                # Its own retries would outlast a round of the loop.
                once = Retry(0, read=False)
                timeout: Any = self.timeout  # the client is annotated with int and hands on what it gets
                return ask(PrometheusConnect(self.url.rstrip("/"), retry=once, session=session, timeout=timeout))
        except RequestException as error:
            raise PlatformError(f"{self}: {self._reason(error)}") from error
        except (PrometheusApiClientException, LookupError, TypeError, ValueError) as error:
            raise PlatformError(f"{self}: not an answer of Prometheus: {error!r}") from error

    def _reason(self, error: RequestException) -> str:
        """Of a question without an answer, in one line: the server's words, or the operating system's."""
        from requests import JSONDecodeError, Timeout

        if error.response is not None:
            return f"answers {error.response.status_code}: {_refusal(error.response)}"
        if isinstance(error, JSONDecodeError):
            return "not an answer of Prometheus: no JSON"
        if isinstance(error, Timeout):
            return f"no answer within {self.timeout:g} s"
        cause: BaseException = error
        while cause.__context__ is not None:
            cause = cause.__context__
        return _line(cause)


def _refusal(response: Response) -> str:
    """Why a question was refused: what Prometheus says of it, else (a proxy answers) the status in words."""
    try:
        return _line(response.json()["error"])
    except (ValueError, LookupError, TypeError):
        return response.reason


def _line(text: object) -> str:
    return " ".join(str(text).split())


def _is_success(code: str) -> bool:
    """Of the label ``code``: HTTP's over REST, a name over gRPC."""
    return code.startswith("2") or code == "OK"


def _duration(seconds: float) -> str:
    """In PromQL, which has whole numbers only."""
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{1000 * seconds:.0f}ms"
