"""A lane of a simulated stage: a queue, and the replicas around it that start, switch and drain. Pure and seeded."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import replace
from itertools import repeat
from math import ceil

from ipa_seldon.plan import Allocation
from ipa_seldon.simulation.engine import NEVER, Station
from ipa_seldon.simulation.gpus import Gpus
from ipa_seldon.simulation.physics import Servers

Ledger = list[tuple[float, int]]
"""Changes of the allocated cores, as (seconds, cores)."""


class Lane:
    """Replicas that serve one queue, of one variant but while it is replaced by another. ``target`` is what the lane
    was told to run; changes of its cores go to ``ledger``.

    New replicas are created before old ones are deleted: while a switch is under way both are allocated, and a replica
    that was told to go is until it has finished what it serves. New replicas take the place of others once those that
    are ready carry as much, or all are ready; replicas that join running ones serve as soon as they are.

    Where cores change in place, replicas get more of them after a while, and are charged for them at once; with fewer
    they serve at once, and give up the others after a while, but not before the batch under way has ended.

    A replica that needs ``gpus`` waits for them, and has no cores until it has them. Those of another variant that take
    the place of as many GPUs each do so on these, as a server loads another model beside the one that it serves.
    """

    def __init__(self, servers: Servers, station: Station, ledger: Ledger, gpus: Gpus) -> None:
        self.station = station
        self.target: Allocation | None = None
        self._servers = servers
        self._ledger = ledger
        self._gpus = gpus
        self._running: Allocation | None = None
        self._ready: list[float] = []
        """When each replica of the target that has been created will be ready, ascending; NEVER: it waits for GPUs."""
        self._passed_on = 0
        """Of how many replicas that run the GPUs are also those of replicas that start."""
        self._grown = NEVER
        """When those that serve have the target's cores, which are more."""
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
        """Whether replicas of the target are not ready yet, or have not got its cores."""
        return bool(self._ready) or self._grown < NEVER

    @property
    def ready(self) -> int:
        """How many replicas of the target serve, on its cores or on fewer that grow."""
        serves = self.serves
        return serves.replicas if serves and self.target and self._servers.alike(self.target, serves) else 0

    @property
    def due(self) -> float:
        """When the next new replicas, or new cores, serve (seconds)."""
        if not self._ready or self.target is None:
            return self._grown
        serves = self.serves
        if serves is None or self._servers.alike(self.target, serves):
            return min(self._ready[0], self._grown)
        carried = serves.replicas * self._servers.throughput(serves)
        enough = ceil(carried / self._servers.throughput(self.target))
        return self._ready[min(enough, len(self._ready)) - 1]

    def apply(self, allocation: Allocation, now: float, at_once: bool = False) -> None:
        """Run ``allocation`` from ``now`` (seconds, up to which the lane was advanced), or when it is ready; with
        ``at_once`` it is.
        """
        if allocation == self.target:
            return
        self._stop_growing(now)
        self._keep_starting(allocation, now)
        self.target = allocation
        replicas = 0
        if self._running is not None and self._servers.alike(allocation, self._running):
            each = self._servers.at_a_time(allocation)
            free = sorted(self.station.free)
            replicas = min(len(free) // each, allocation.replicas)
            self._retire(free[: len(free) - replicas * each], now)
            self._resize(allocation, free[len(free) - replicas * each :], now)
        missing = allocation.replicas - replicas - len(self._ready)
        if missing < 0:
            self._cancel(-missing, allocation.cores, now)
        else:
            self._ready.extend(repeat(NEVER, missing))
            self._start(now, at_once)
        self.take_over(now)

    def take_over(self, now: float) -> None:
        """New replicas serve when they are due by ``now``, up to which the lane was advanced: beside the running ones
        of their kind, or in place of those of another; running ones on more cores when they have them.
        """
        if self.target is None:
            return
        self._start(now)
        if self.due > now:
            return
        if self._grown <= now:
            self._grown = NEVER
        before, running = self.station.free, self._running
        ready = [moment for moment in self._ready if moment <= now]
        del self._ready[: len(ready)]
        free = [moment for moment in ready for _ in range(self._servers.at_a_time(self.target))]
        if running is not None and self._servers.alike(self.target, running):
            self._serve(self.target if self._grown == NEVER else running, [*before, *free], now)
        else:
            if running is not None:
                self._retire(before, now)
            self._serve(self.target, free, now)

    def split(self) -> Lane | None:
        """What starts in place of another variant, as a lane of its own; None where nothing does."""
        if self._running is None or self.variant == self._running.variant:
            return None
        other = Lane(self._servers, self.station.beside(), self._ledger, self._gpus)
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

    def _start(self, now: float, at_once: bool = False) -> None:
        """Replicas of the target that wait start, as far as there are GPUs; with ``at_once`` they are ready."""
        while self.target is not None and self._ready and self._ready[-1] == NEVER and self._placed(self.target, now):
            del self._ready[-1]
            insort(self._ready, now + (0.0 if at_once else self._servers.startup(self.target)))
            self._ledger.append((now, self.target.cores))

    def _placed(self, target: Allocation, now: float) -> bool:
        """Whether a replica of the target has its GPUs now."""
        if not target.gpus:
            return True
        running = self._running
        if running is not None and running.gpus == target.gpus and not self._servers.alike(target, running):
            there = len(self.station.free) // self._servers.at_a_time(running)
            if self._passed_on < there:
                self._passed_on += 1
                return True
        return self._gpus.take(target.gpus, now)

    @property
    def _started(self) -> int:
        """How many replicas are starting, and do not wait."""
        return len(self._ready) - self._ready.count(NEVER)

    def _serve(self, allocation: Allocation, free: Sequence[float], now: float) -> None:
        """Run ``allocation`` from ``now`` on, on replicas that are free at the moments ``free``."""
        self.station.serve(self._servers.serving(allocation), free, now)
        self._running = allocation

    def _resize(self, allocation: Allocation, free: Sequence[float], now: float) -> None:
        """Run ``allocation`` on running replicas that are free at the moments ``free``, once they have its cores."""
        if self._running is None:
            return
        more = allocation.cores - self._running.cores
        if more > 0:
            self._ledger.append((now, len(free) * more))
            self._grown = now + self._servers.resize
        elif more < 0:
            self._ledger.extend((max(now + self._servers.resize, moment), more) for moment in free)
        self._serve(self._running if more > 0 else allocation, free, now)

    def _stop_growing(self, now: float) -> None:
        """Give back the cores that replicas have asked for and not got."""
        if self._running is not None and self.target is not None and self._grown < NEVER:
            self._ledger.append((now, len(self.station.free) * (self._running.cores - self.target.cores)))
            self._grown = NEVER

    def _keep_starting(self, allocation: Allocation, now: float) -> None:
        """Of replicas that start those stay that can be ``allocation``'s, with its cores."""
        if not self._ready or self.target is None:
            return
        if not self._servers.alike(allocation, self.target):
            self._cancel(len(self._ready), self.target.cores, now)
        elif allocation.cores != self.target.cores:
            self._ledger.append((now, self._started * (allocation.cores - self.target.cores)))

    def _take_back(self, now: float) -> None:
        self._stop_growing(now)
        if self._ready and self.target is not None:
            self._cancel(len(self._ready), self.target.cores, now)
        self.target = self.serves or self.target

    def _cancel(self, replicas: int, cores: int, now: float) -> None:
        before = self._started
        del self._ready[-replicas:]
        gone = before - self._started
        self._ledger.append((now, -gone * cores))
        if self.target is not None and self.target.gpus and gone:
            alone = min(gone, before - self._passed_on)
            self._passed_on -= gone - alone
            self._gpus.give_back(alone * self.target.gpus, now)

    def _retire(self, free: Sequence[float], now: float) -> None:
        """Let running replicas go that are free at the moments ``free``, each when all that it serves is finished."""
        if self._running is not None:
            each = self._servers.at_a_time(self._running)
            ends = [max(now, moment) for moment in sorted(free)[each - 1 :: each]]
            self._ledger.extend((moment, -self._running.cores) for moment in ends)
            for moment in ends[: len(ends) - self._passed_on] if self._running.gpus else ():
                self._gpus.give_back(self._running.gpus, moment)
            self._passed_on = 0
