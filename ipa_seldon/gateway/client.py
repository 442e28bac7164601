"""What a gateway is asked from outside: its load, its queue, and how it dispatches."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any

from ipa_seldon.errors import LoadError, LoadReason
from ipa_seldon.gateway.protocol import error_of
from ipa_seldon.plan import Backlog

_REQUEST_TIMEOUT = 2.0
_DISPATCH_TIMEOUT = 10.0
"""Longer, since a table takes effect only once its models were looked at."""


class GatewayClient:
    """Of the gateway at ``url``. Every question raises PlatformError where it is not answered, LoadError where it is
    about the load.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def arrivals(self, now: float, seconds: int) -> list[float]:
        """Requests that arrived in each of the last ``seconds`` whole seconds before ``now`` (seconds since the epoch).

        Seconds before the gateway's start are NaN: nobody measured them.
        """
        end, counts, _ = self._series(seconds)
        late = max(math.floor(now) - end, 0)
        counts += [math.nan] * min(late, seconds)
        return [math.nan] * (seconds - len(counts)) + counts[-seconds:]

    def violations(self, seconds: int) -> float | None:
        """Requests that missed the SLO in the last ``seconds`` whole seconds, over those that arrived; None: none did.
        At most 1: what is answered now may have arrived before.
        """
        _, counts, missed = self._series(seconds)
        arrived = sum(counts)
        return min(sum(missed) / arrived, 1.0) if arrived else None

    def backlog(self) -> Backlog:
        """What queued requests have left, and what those had that arrived lately."""
        failure = "does not tell its queue"
        queue = self._asked("/queue", failure)
        with self._understanding(failure):
            return Backlog(tuple(queue["remaining_slo"]), tuple(queue["budgets"]))

    def dispatch(self, table: Mapping[str, Mapping[str, float]]) -> None:
        """Share each stage's requests by stage -> version -> weight from now on."""
        self._asked("/dispatch", "does not dispatch", json.dumps(table).encode())

    def dispatched(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Stage -> version -> ``weight``, ``in_flight`` requests and ``healthy``, of those that requests go to or are
        under way to.
        """
        report: dict[str, dict[str, dict[str, Any]]] = self._asked("/dispatch", "does not tell what it dispatches")
        return report

    def _series(self, seconds: int) -> tuple[int, list[float], list[float]]:
        """The end of the series of arrivals, its counts, and how many of each second missed the SLO."""
        failure = "does not tell its arrivals"
        series = self._asked(f"/arrivals?seconds={seconds}", failure)
        with self._understanding(failure):
            counts = [math.nan if count is None else float(count) for count in series["counts"]]
            return int(series["end"]), counts, list(map(float, series["missed"]))

    @contextmanager
    def _understanding(self, failure: str) -> Iterator[None]:
        """LoadError where an answer is none of a gateway's."""
        try:
            yield
        except (LookupError, TypeError, ValueError) as error:
            words = f"the gateway at {self.url} {failure}: not an answer of a gateway: {error!r}"
            raise LoadError(words, LoadReason.INVALID_ANSWER) from error

    def _asked(self, path: str, failure: str, body: bytes | None = None) -> Any:
        """The JSON that it answers to a GET, or to a PUT of ``body``."""
        timeout = _REQUEST_TIMEOUT if body is None else _DISPATCH_TIMEOUT
        url = f"{self.url.rstrip('/')}{path}"
        request = urllib.request.Request(url, body, method="GET" if body is None else "PUT")  # noqa: S310  # http
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310  # http
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                reason = error_of(error.read())
            kind = LoadReason.SERVER_ERROR if error.code >= 500 else LoadReason.CLIENT_ERROR
            raise LoadError(f"the gateway at {self.url} {failure}: {reason}", kind) from error
        except (OSError, HTTPException, ValueError) as error:
            raise LoadError(f"the gateway at {self.url} {failure}: {error}", _kind(error)) from error


def _kind(error: Exception) -> LoadReason:
    if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
        return LoadReason.TIMEOUT
    return LoadReason.INVALID_ANSWER if isinstance(error, ValueError) else LoadReason.UNREACHABLE
