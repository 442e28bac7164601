"""A lane of a simulated stage: a queue, and the replicas around it that start, switch and drain. Pure and seeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import repeat
from math import ceil

from ipa_seldon.plan import Allocation
from ipa_seldon.simulation.engine import NEVER, Station
from ipa_seldon.simulation.physics import Servers

Ledger = list[tuple[float, int]]
"""Changes of the allocated cores, as (seconds, cores)."""


class Lane:
    """Replicas that serve one queue, of one variant but while it is replaced by another. ``target`` is what the lane
    was told to run; changes of its cores go to ``ledger``.

    New replicas are created before old ones are deleted: while a switch is under way both are allocated, and a replica
    that was told to go is until it has finished what it serves. New replicas take the place of others once those that
    are ready carry as much, or all are ready; replicas that join running ones serve as soon as they are.
    """

    def __init__(self, servers: Servers, station: Station, ledger: Ledger) -> None:
        self.station = station
        self.target: Allocation | None = None
        self._servers = servers
        self._ledger = ledger
        self._running: Allocation | None = None
        self._ready: list[float] = []
        """When each replica of the target that has been created will be ready, ascending."""
        self._left = NEVER

    @property
    def variant(self) -> str:
        """What it is told to run; empty before it is."""
        return self.target.variant if self.target else ""

    @property
    def serves(self) -> Allocation | None:
        """What serves now."""
        if self._running is None:
            return None
        return replace(self._running, replicas=len(self.station.free) // self._servers.at_a_time(self._running))

    @property
    def starts(self) -> bool:
        """Whether replicas of the target are not ready yet."""
        return bool(self._ready)

    @property
    def due(self) -> float:
        """When the next new replicas serve (seconds)."""
        if not self._ready or self.target is None:
            return NEVER
        serves = self.serves
        if serves is None or _alike(self.target, serves):
            return self._ready[0]
        carried = serves.replicas * self._servers.throughput(serves)
        enough = ceil(carried / self._servers.throughput(self.target))
        return self._ready[min(enough, len(self._ready)) - 1]

    def apply(self, allocation: Allocation, now: float, at_once: bool = False) -> None:
        """Run ``allocation`` from ``now`` (seconds, up to which the lane was advanced), or when it is ready; with
        ``at_once`` it is.
        """
        if allocation == self.target:
            return
        if self._ready and self.target is not None and not _alike(allocation, self.target):
            self._cancel(len(self._ready), self.target.cores, now)
        self.target = allocation
        replicas = 0
        if self._running is not None and _alike(allocation, self._running):
            each = self._servers.at_a_time(allocation)
            free = sorted(self.station.free)
            replicas = min(len(free) // each, allocation.replicas)
            self._retire(free[: len(free) - replicas * each], now)
            self._serve(allocation, free[len(free) - replicas * each :], now)
        startup = 0.0 if at_once else self._servers.startup(allocation)
        missing = allocation.replicas - replicas - len(self._ready)
        if missing < 0:
            self._cancel(-missing, allocation.cores, now)
        else:
            self._ledger.append((now, missing * allocation.cores))
            self._ready.extend(repeat(now + startup, missing))
        self.take_over(now)

    def take_over(self, now: float) -> None:
        """New replicas serve when they are due by ``now``, up to which the lane was advanced: beside the running ones
        of their kind, or in place of those of another.
        """
        if self.target is None or self.due > now:
            return
        before, running = self.station.free, self._running
        ready = [moment for moment in self._ready if moment <= now]
        del self._ready[: len(ready)]
        free = [moment for moment in ready for _ in range(self._servers.at_a_time(self.target))]
        if running is not None and _alike(self.target, running):
            self._serve(self.target, [*before, *free], now)
        else:
            if running is not None:
                self._retire(before, now)
            self._serve(self.target, free, now)

    def split(self) -> Lane | None:
        """What starts in place of another variant, as a lane of its own; None where nothing does."""
        if self._running is None or self.variant == self._running.variant:
            return None
        other = Lane(self._servers, self.station.beside(), self._ledger)
        other.target, other._ready = self.target, self._ready
        self.target, self._ready = self.serves, []
        return other

    def shrinks_to(self, allocation: Allocation) -> bool:
        """Whether more cores than those of ``allocation`` serve now."""
        serves = self.serves
        return serves is not None and serves.replicas * serves.cores > allocation.replicas * allocation.cores

    def keep(self, allocation: Allocation, now: float) -> None:
        """What serves stays, and nothing is under way but to ``allocation``."""
        if self.target != allocation:
            self._take_back(now)

    def leave(self, now: float) -> None:
        """From ``now`` on nothing comes any more: replicas go once they have served who is here."""
        self._take_back(now)
        self._left = now

    def delete(self) -> None:
        """Note that the replicas went, each when it was done, once nobody is here any more after ``leave``."""
        self._retire(self.station.free, self._left)

    def longest_batch(self) -> float:
        """Mean seconds of a full batch of what runs; 0 before anything does."""
        return 0.0 if self._running is None else self._servers.longest_batch(self._running)

    def _serve(self, allocation: Allocation, free: Sequence[float], now: float) -> None:
        """Run ``allocation`` from ``now`` on, on replicas that are free at the moments ``free``."""
        self.station.serve(self._servers.serving(allocation), free, now)
        self._running = allocation

    def _take_back(self, now: float) -> None:
        if self._ready and self.target is not None:
            self._cancel(len(self._ready), self.target.cores, now)
        self.target = self.serves or self.target

    def _cancel(self, replicas: int, cores: int, now: float) -> None:
        self._ledger.append((now, -replicas * cores))
        del self._ready[-replicas:]

    def _retire(self, free: Sequence[float], now: float) -> None:
        """Let running replicas go that are free at the moments ``free``, each when all that it serves is finished."""
        if self._running is not None:
            each = self._servers.at_a_time(self._running)
            ends = sorted(free)[each - 1 :: each]
            self._ledger.extend((max(now, moment), -self._running.cores) for moment in ends)


def _alike(one: Allocation, other: Allocation) -> bool:
    """Whether replicas of the one serve as the other's: same variant, same cores."""
    return (one.variant, one.cores) == (other.variant, other.cores)
