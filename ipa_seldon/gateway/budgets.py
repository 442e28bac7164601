"""What requests have left of their SLO when they arrive: how they say it, and what it was lately."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ipa_seldon.gateway.protocol import RefusedError
from ipa_seldon.plan import BUDGET_SECONDS

REMAINING_SLO = "Ipa-Remaining-Slo"
SEND_TIME = "Ipa-Send-Time"
AHEAD = 0.01
"""Seconds that the clock of a client may be ahead of ours and still count as synchronised with it."""
BEHIND = 10.0
"""SLOs that a request may have been on its way: beyond that, clocks that differ are likelier."""

TOLD = 4096
"""Requests that are told of at most."""
DIGITS = 4
"""Of the seconds that are told."""


class Budget(NamedTuple):
    """The ``seconds`` that a request may still take, and by how many a clock seems to be off (0: it does not)."""

    seconds: float
    off: float = 0.0


def read_budget(headers: Mapping[str, str], slo: float, now: float) -> Budget:
    """By the header ``Ipa-Remaining-Slo`` (seconds); else the SLO, less what has passed by ``now`` since the request
    was sent by the header ``Ipa-Send-Time`` (both in seconds since the epoch), where clocks agree.

    RefusedError with 400 for a header that is no number.
    """
    remaining, sent = (_seconds(name, headers.get(name)) for name in (REMAINING_SLO, SEND_TIME))
    if remaining is not None:
        return Budget(remaining)
    passed = 0.0 if sent is None else now - sent
    if -AHEAD <= passed <= BEHIND * slo:
        return Budget(slo - max(passed, 0.0))
    return Budget(slo, off=-passed)


def _seconds(name: str, header: str | None) -> float | None:
    if header is None:
        return None
    try:
        value = float(header)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RefusedError(400, f"header {name}: {header!r}; accepted: seconds as a decimal number")
    return value


class RecentBudgets:
    """The budgets with which requests arrived in the last BUDGET_SECONDS. Times are of any one clock, in seconds."""

    def __init__(self) -> None:
        self._arrivals: deque[tuple[float, float]] = deque()

    def add(self, now: float, budget: float) -> None:
        """A request arrived."""
        self._arrivals.append((now, budget))
        self._forget(now)

    def at(self, now: float) -> list[float]:
        """Those there are, in the order of arrival."""
        self._forget(now)
        return [budget for _, budget in self._arrivals]

    def _forget(self, now: float) -> None:
        while self._arrivals and self._arrivals[0][0] < now - BUDGET_SECONDS:
            self._arrivals.popleft()


def least(seconds: Iterable[float]) -> list[float]:
    """As it is told, ascending: of more than TOLD those with the least time left."""
    return [round(value, DIGITS) for value in sorted(seconds)[:TOLD]]
