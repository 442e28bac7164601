"""A load that was recorded: out of an audit log, a trace, or a Prometheus (``history``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from math import floor

import numpy as np

from ipa_seldon.errors import ConfigError
from ipa_seldon.plan import Decision
from ipa_seldon.simulation.workload import Floats, counted_arrivals, poisson_arrivals


@dataclass(frozen=True, eq=False)
class Recording:
    """Requests/s of each second from ``start`` (whole seconds since the epoch) on, shape (n,), NaN where nobody
    measured; ``past``: those of the seconds before, shape (m,), which forecasts look back on.
    """

    start: int
    rates: Floats
    past: Floats = field(default_factory=lambda: np.empty(0))

    @property
    def unmeasured(self) -> tuple[int, int]:
        """Seconds nobody measured: all of them, and the longest run."""
        runs = [sum(1 for _ in run) for missing, run in groupby(np.isnan(self.rates)) if missing]
        return sum(runs), max(runs, default=0)

    @property
    def counted(self) -> bool:
        """Whether requests were counted second by second; else rates are means, over which requests are random."""
        measured = self.rates[~np.isnan(self.rates)]
        return bool((measured == np.floor(measured)).all())

    def arrivals(self, first: int, last: int, seed: int) -> Floats:
        """When requests come in the seconds from ``first`` to before ``last``; seconds from ``first`` on, ascending."""
        draw = counted_arrivals if self.counted else poisson_arrivals
        return draw(self.rates[first:last], seed)

    def first_rate(self, seconds: int) -> float:
        """The highest rate of the first ``seconds`` of which any was measured; 0 without a load."""
        known = np.flatnonzero(~np.isnan(self.rates))
        begin = int(known[0]) if len(known) else 0
        return float(np.nan_to_num(self.rates[begin : begin + seconds]).max(initial=0.0))

    def words(self) -> str:
        """How long it is, since when, and what is missing."""
        missing, longest = self.unmeasured
        gaps = f"; {missing:,} s not measured (the longest {longest:,} s): no requests then" if missing else ""
        since = f" from {datetime.fromtimestamp(self.start, UTC):%Y-%m-%dT%H:%M:%SZ}" if self.start else ""
        return f"{len(self.rates):,} s of load{since}{gaps}"


def of_decisions(decisions: Sequence[Decision], place: str) -> Recording:
    """What was observed between the first and the last decision; ConfigError names ``place`` where that is nothing."""
    seen = [decision.observation for decision in decisions if decision.observation.arrivals]
    if len(seen) < 2 or floor(seen[0].time) >= floor(seen[-1].time):
        raise ConfigError(f"{place}: {len(seen)} observations; accepted: two or more, over a second or more")
    begin = min(floor(one.time) - len(one.arrivals) for one in seen)
    rates = np.full(floor(seen[-1].time) - begin, np.nan)
    for one in seen:
        end = floor(one.time) - begin
        counts, place_of = np.array(one.arrivals), slice(end - len(one.arrivals), end)
        rates[place_of] = np.where(np.isnan(counts), rates[place_of], counts)
    start = floor(seen[0].time)
    if np.isnan(rates[start - begin :]).all():
        raise ConfigError(f"{place}: no load was measured between its first and its last decision")
    return Recording(start, rates[start - begin :], rates[: start - begin])


def trimmed(start: int, rates: Floats, past: int) -> Recording | None:
    """``rates`` from second ``start`` on, of which the first ``past`` are its past, without what nobody measured at
    either end; None where nobody measured anything.
    """
    measured = past + np.flatnonzero(~np.isnan(rates[past:]))
    if not len(measured):
        return None
    first, last = int(measured[0]), int(measured[-1])
    return Recording(start + first, rates[first : last + 1], rates[:first])
