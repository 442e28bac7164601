"""A pipeline's load, and how much of it misses the SLO, out of a Prometheus.

An executor of Seldon Core counts a request when it has answered it. While answers keep up, that is the load; where
requests pile up, or are given up by their clients, the load is more than is counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

from ipa_seldon.errors import LoadError, LoadReason, PlatformError
from ipa_seldon.plan import LoadFault, Measured
from ipa_seldon.prometheus.access import Access, has_password
from ipa_seldon.prometheus.queries import EXECUTOR_REQUESTS, RESTARTED, WINDOW, Executor, duration

if TYPE_CHECKING:
    from prometheus_api_client.prometheus_connect import PrometheusConnect
    from requests import Response

__all__ = ["WINDOW", "Executor", "Prometheus"]

LOOK = 600.0
"""Seconds in which samples are looked at to know how often there is one."""
LONGEST = 200
"""Characters of a server's words that are told."""
Answer = TypeVar("Answer")
Rates = Mapping[int, float]
"""Second (since the epoch) -> value; NaN where that is no finite number."""


@dataclass(frozen=True)
class Prometheus:
    """The Prometheus at ``url``, for example ``http://prometheus.monitoring:9090``.

    ``timeout``: seconds after which a question has no answer, however much of it has come. Questions are not asked
    again: the next round of the loop does that. Each raises LoadError, in one line and without secrets, when there is
    no answer or a refusal.
    """

    url: str = field(repr=False)
    timeout: float = 5.0
    access: Access = field(default_factory=Access)

    def load(self, query: str, seconds: int, now: float) -> Measured:
        """The values of ``query`` (requests per second) at the end of each of the last ``seconds`` whole seconds, and
        what is the matter with them.

        Oldest first; the last one is of the last complete second before ``now`` (seconds since the epoch). NaN where
        nobody measured. While counters begin the load is at least what it was before. LoadError also where the query
        answers more than one series, beside one with the label ``restarted``.
        """
        end = math.floor(now)
        return self._judged(*self._loads(query, range(end - seconds + 1, end + 1)))

    def rates(self, query: str, span: range) -> list[float]:
        """As ``load``, the values alone, at the moments of ``span`` (seconds since the epoch): at most 11,000."""
        return self._loads(query, span)[0]

    def series(self, query: str, span: range) -> list[tuple[Mapping[str, str], Rates]]:
        """The labels and the values of every series of ``query`` at the moments of ``span``: at most 11,000."""

        def ask(client: PrometheusConnect) -> list[tuple[Mapping[str, str], Rates]]:
            first, last = (datetime.fromtimestamp(second, UTC) for second in (span[0], span[-1]))
            return [
                (series["metric"], {int(time): _finite(value) for time, value in series["values"]})
                for series in client.custom_query_range(query, first, last, str(span.step))
            ]

        return self._answer(ask)

    def scrape_interval(self, selector: str, now: float) -> float | None:
        """Seconds between two samples of the series that ``selector`` names: the median over the LOOK before ``now``;
        None where there are not two.
        """

        def ask(client: PrometheusConnect) -> list[list[float]]:
            found = client.custom_query(f"{selector}[{duration(LOOK)}]", {"time": now})
            return [[time for time, _ in series["values"]] for series in found]

        gaps = [later - earlier for times in self._answer(ask) for earlier, later in pairwise(times)]
        return median(gaps) if gaps else None

    def arrivals(self, query: str, seconds: int, now: float) -> list[float]:
        """The values alone."""
        return list(self.load(query, seconds, now).arrivals)

    def value(self, query: str, now: float) -> float | None:
        """What ``query`` is at ``now``; None where it has no answer, or none that is a finite number."""
        found = self._answer(lambda client: [_finite(s["value"][1]) for s in client.custom_query(query, {"time": now})])
        return found[0] if len(found) == 1 and math.isfinite(found[0]) else None

    def violation_ratio(self, executor: Executor, slo: float, seconds: float, now: float) -> float | None:
        """Of the requests answered in the ``seconds`` before ``now``, the fraction that took over ``slo`` or failed.

        The executor's histogram knows times by its buckets only: an answer counts as in time up to the smallest bound
        at or above the SLO, and beyond the largest bound none is late. None where there were no requests or nobody
        counted them, which takes two scrapes. The first errors of an executor are missed, as its new series are.
        """
        query = f"sum by (le, code) (increase({EXECUTOR_REQUESTS}_bucket{executor.selector}[{duration(seconds)}]))"

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

    def _loads(self, query: str, span: range) -> tuple[list[float], bool, list[bool]]:
        """The values, whether any series has them, and the moments at which counters begin."""
        found = self.series(query, span)
        loads = [rates for labels, rates in found if RESTARTED not in labels]
        if len(loads) > 1:
            words = f"{self}: {len(loads)} series answer {query!r}; accepted: one, as of sum(...)"
            raise LoadError(words, LoadReason.DUPLICATE)
        marks = {second for labels, rates in found if RESTARTED in labels for second in rates}
        restarted = [second in marks for second in span]
        rates = [loads[0].get(second, math.nan) if loads else math.nan for second in span]
        return _kept_up(rates, restarted), bool(loads), restarted

    def _judged(self, rates: list[float], answered: bool, restarted: list[bool]) -> Measured:
        if not any(map(math.isfinite, rates)):
            if answered:
                return Measured(rates, LoadFault(LoadReason.NAN, f"{self}: the load is not a number"))
            return Measured(rates, LoadFault(LoadReason.EMPTY, f"{self}: no series answers: nobody measures the load"))
        if not any(restarted):
            return Measured(rates)
        words = f"{self}: counters began in {sum(restarted)} of the last {len(rates)} seconds"
        return Measured(rates, LoadFault(LoadReason.COUNTER_RESET, words))

    def _answer(self, ask: Callable[[PrometheusConnect], Answer]) -> Answer:
        try:
            from prometheus_api_client.exceptions import PrometheusApiClientException
            from prometheus_api_client.prometheus_connect import PrometheusConnect

            from ipa_seldon.prometheus.session import timed_session
        except ImportError as error:
            extra = "pip install 'ipa-seldon[kubernetes]'"
            raise PlatformError(f"{self}: needs the package {error.name!r}: {extra}") from error
        # What a URL has in it is for that URL alone.
        access = Access(self.access.ca_cert_path, self.access.insecure) if has_password(self.url) else self.access
        with timed_session(access, self.timeout) as (session, adapter, deadline):
            try:
                # The client's own exception for a refusal has the whole page in its text.
                session.hooks["response"].append(lambda response, **_: response.raise_for_status())
                timeout: Any = self.timeout  # the client is annotated with int and hands on what it gets
                client = PrometheusConnect(self.url.rstrip("/"), session=session, timeout=timeout)
                for prefix in ("http://", "https://", client.url):  # in the place of the client's, which asks again
                    session.mount(prefix, adapter)
                return ask(client)
            except (OSError, PrometheusApiClientException, LookupError, TypeError, ValueError) as error:
                raise self._fault(error, deadline.passed) from error

    def _fault(self, error: Exception, late: bool) -> LoadError:
        """A question without an answer, in one line: the server's words, or the operating system's."""
        reason, words = _late(self.timeout) if late else _read(error, self.timeout)
        return LoadError(f"{self}: {self.access.without_secrets(words, self.url)[:LONGEST]}", reason)


def _late(seconds: float) -> tuple[LoadReason, str]:
    return LoadReason.TIMEOUT, f"no answer within {seconds:g} s"


def _read(error: Exception, timeout: float) -> tuple[LoadReason, str]:
    """What kind of fault an exception of the client is, and in words."""
    from requests import JSONDecodeError, RequestException, Timeout
    from requests.exceptions import SSLError

    if isinstance(error, JSONDecodeError):
        return LoadReason.INVALID_ANSWER, "not an answer of Prometheus: no JSON"
    if isinstance(error, RequestException) and error.response is not None:
        status = error.response.status_code
        reason = LoadReason.SERVER_ERROR if status >= 500 else LoadReason.CLIENT_ERROR
        return reason, f"answers {status}: {_refusal(error.response)}"
    if isinstance(error, Timeout):
        return _late(timeout)
    # A file of certificates that is not there is a bare OSError, without a number.
    if isinstance(error, SSLError) or (isinstance(error, OSError) and "certificate" in str(error)):
        return LoadReason.TLS, _root(error)
    if isinstance(error, OSError):
        return LoadReason.UNREACHABLE, _root(error)
    return LoadReason.INVALID_ANSWER, f"not an answer of Prometheus: {error!r}"


def _root(error: BaseException) -> str:
    while error.__context__ is not None:
        error = error.__context__
    return _line(error)


def _refusal(response: Response) -> str:
    """Why a question was refused: what Prometheus says of it, else (a proxy answers) the status in words."""
    try:
        return _line(response.json()["error"])
    except (ValueError, LookupError, TypeError):
        return response.reason


def _line(text: object) -> str:
    return " ".join(str(text).split())


def _kept_up(rates: list[float], restarted: list[bool]) -> list[float]:
    """The rates, while counters begin no lower than before."""
    kept, before = list(rates), math.nan
    for index, (rate, new) in enumerate(zip(rates, restarted, strict=True)):
        if not new:
            before = rate
        elif rate < before:
            kept[index] = before
    return kept


def _finite(value: str) -> float:
    number = float(value)
    return number if math.isfinite(number) else math.nan


def _is_success(code: str) -> bool:
    """Of the label ``code``: HTTP's over REST, a name over gRPC."""
    return code.startswith("2") or code == "OK"
