"""Requests of a stage spread over the stations of its variants, by share. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Sequence

from ipa_seldon.dispatch import RoundRobin
from ipa_seldon.simulation.engine import Batch, Station


class Spread:
    """From ``now`` on each request, as it comes, goes to the station whose turn it is by ``shares`` (weights >= 0).

    Where that cannot serve it in time, by the wait to expect and what is to be held for the times still to come (its
    ``reserve``), it goes to the station with the shortest wait of those that can and have a share. Where none can it
    stays, and is dropped by deadline.
    """

    def __init__(self, stations: Sequence[Station], shares: Sequence[float], now: float) -> None:
        self._stations = stations
        self._shares = shares
        self._turns = RoundRobin(dict(enumerate(shares)))
        self._now = now

    def advance(self, until: float, coming: Sequence[Batch]) -> list[Batch]:
        """As Station.advance, for all stations."""
        done: list[Batch] = []
        seen = [_Seen(station, self._now, done) for station in self._stations]
        sharing = [one for one, share in zip(seen, self._shares, strict=True) if share]
        turn, deadlines = self._turns.turn, self._stations[0].deadlines
        for moment, requests, index in coming:
            for x in requests:
                one = seen[turn()]
                left = deadlines[x] - moment
                if one.longest_wait > left - one.station.reserve and not one.can(x, moment, left):
                    able = [other for other in sharing if other is not one and other.can(x, moment, left)]
                    one = min(able, key=lambda other: other.wait, default=one)
                one.coming.append((moment, [x], index))
        for one in seen:
            one.advance(until)
        self._now = until
        return sorted(done)


class _Seen:
    """A station that is advanced only as far as its state is asked for; what it has ``done`` goes to a common list.

    A request that has begun since it was last looked at took one replica at most: so who waited then, who came since
    and the replicas that were idle bound the wait without another look.
    """

    def __init__(self, station: Station, now: float, done: list[Batch]) -> None:
        self.station = station
        self.coming: list[Batch] = []
        self.wait = 0.0
        """Of the last request that was asked for (seconds)."""
        self._done = done
        self._pace = station.pace
        self._look(now)

    @property
    def longest_wait(self) -> float:
        """Seconds that a request which comes now waits at most, as far as can be expected."""
        return max(0, self._ahead + len(self.coming)) * self._pace

    def can(self, x: int, now: float, left: float) -> bool:
        """Whether request ``x``, which comes at ``now`` with ``left`` seconds to its deadline, is served in time."""
        self.advance(now)
        self.station.clock = max(self.station.clock, now)  # what has joined at this very moment starts now, not before
        self._look(now)
        self.wait = self.station.expected_wait(x, now)
        return self.wait <= left - self.station.reserve

    def advance(self, until: float) -> None:
        """Let everything happen that happens before ``until``."""
        self._done += self.station.advance(until, self.coming)
        self.coming = []

    def _look(self, now: float) -> None:
        self._ahead = len(self.station.queue) + 1 - self.station.idle_replicas(now)
