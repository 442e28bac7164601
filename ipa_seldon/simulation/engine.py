"""The clock of one stage: a central queue, dynamic batching as in Triton, and replicas. Pure and seeded.

Stages of a pipeline feed forward only, so each may be advanced through a stretch of time on its own, in topological
order, on what the stages before it sent in that stretch: the same events as one clock for all, without its cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace

import numpy as np

from ipa_seldon.simulation.service import Service

Batch = tuple[float, list[int], int]
"""When it ended (seconds), the requests in it, and the index of the service that ran it."""

NEVER = float("inf")
DRAWN = 8192


@dataclass(frozen=True)
class Batching:
    """A batch starts when a replica is free and it holds ``size`` requests, or its oldest has waited ``delay`` seconds
    (Triton: max_batch_size, max_queue_delay_microseconds).
    """

    size: int
    delay: float = 0.0


@dataclass(frozen=True)
class Serving:
    """How replicas work on a queue; batches name it by its ``index``. A batch ends ``overhead`` seconds after its
    replica is free for the next one.
    """

    service: Service
    batching: Batching
    index: int
    overhead: float = 0.0


class Station:
    """Requests are numbered in the order of their deadlines, so that the smallest number in the queue is served first
    (earliest deadline first; requests of one SLO come out in order of arrival).

    ``deadlines[x]`` in seconds. A queued request with less than ``reserve`` seconds left to its deadline is dropped: it
    fills no batch and starts none. ``dropped`` holds every such request, ``free`` the moments at which the replicas are
    free again; before the first ``serve`` there is no replica, and requests wait.
    """

    def __init__(self, deadlines: Sequence[float], generator: np.random.Generator) -> None:
        self.reserve = 0.0
        self.dropped: list[int] = []
        self.queue: list[int] = []
        self.clock = 0.0
        self.free: list[float] = [NEVER]
        self.deadlines = deadlines
        self._entered = [0.0] * len(deadlines)
        self._under_way: list[Batch] = []
        self._generator = generator
        self._factors: list[float] = []
        self._serving = Serving(Service((0.0, 0.0), ()), Batching(1), 0)

    def beside(self) -> Station:
        """Another queue for the same requests, without a replica; what either drops is in ``dropped`` of both."""
        other = Station(self.deadlines, self._generator.spawn(1)[0])
        other.dropped, other._entered = self.dropped, self._entered
        return other

    @property
    def idle(self) -> bool:
        """Whether nothing waits or is being served."""
        return not (self.queue or self._under_way)

    def serve(self, serving: Serving, free: Sequence[float], now: float) -> None:
        """From ``now`` on, batches run as ``serving`` on replicas that are free at the moments ``free`` (at least one).
        Batches that have begun end as they were to.
        """
        self.free = sorted(free)
        if serving.service is not self._serving.service:
            self._factors.clear()
        self._serving = serving
        self.clock = max(self.clock, now)

    @property
    def pace(self) -> float:
        """Seconds between two batches that start, on average, while more wait."""
        serving = self._serving
        return serving.service.means[serving.batching.size] / len(self.free)

    def idle_replicas(self, now: float) -> int:
        """How many replicas are free at ``now``, up to which the station was advanced."""
        return sum(moment <= now for moment in self.free) if self.free[0] <= now else 0

    def expected_wait(self, x: int, now: float) -> float:
        """Seconds that request ``x`` would wait if it came at ``now``, up to which the station was advanced: a turn of
        the ``pace`` for every batch before its own, and its own, that finds no replica free.
        """
        queue = self.queue
        ahead = len(queue) if x > max(queue, default=-1) else sum(y < x for y in queue)  # nearly always all of them
        return max(0, ahead // self._serving.batching.size + 1 - self.idle_replicas(now)) * self.pace

    def advance(self, until: float, coming: Sequence[Batch]) -> list[Batch]:
        """Everything that happens before ``until`` (seconds), when ``coming`` arrives before it, in order of time.

        Returns the batches that end before ``until``, in that order.
        """
        self._run(until, coming)
        under_way = self._under_way
        under_way.sort()
        ended = next((k for k, batch in enumerate(under_way) if batch[0] >= until), len(under_way))
        done = under_way[:ended]
        del under_way[:ended]
        return done

    def _run(self, until: float, coming: Sequence[Batch]) -> None:
        """The loop that every simulated request passes through: locals and few calls, for speed."""
        queue, free, entered = self.queue, self.free, self._entered
        deadlines, reserve, factors = self.deadlines, self.reserve, self._factors
        serving, under_way = self._serving, self._under_way
        size, delay = serving.batching.size, serving.batching.delay
        means, index, overhead = serving.service.means, serving.index, serving.overhead
        clock, position, ahead = self.clock, 0, len(coming)
        while queue or position < ahead:
            now = free[0] if free[0] > clock else clock
            if not queue and coming[position][0] > now:
                now = coming[position][0]
            expires = NEVER
            while now < until:
                while position < ahead and coming[position][0] <= now:
                    self._enter(coming[position])
                    position += 1
                if deadlines[queue[0]] < now + reserve:
                    self._drop(now)
                    expires = NEVER
                if not delay or len(queue) >= size or not queue:
                    break
                if expires == NEVER:
                    expires = min([entered[x] for x in queue]) + delay
                if now >= expires:
                    break
                now = min(coming[position][0], expires) if position < ahead else expires
            else:
                break
            clock = now
            if queue:
                members = self._take(size)
                idle = now + means[len(members)] * (factors.pop() if factors else self._draw())
                heapreplace(free, idle)
                under_way.append((idle + overhead, members, index))
        self.clock = clock
        for batch in coming[position:]:
            self._enter(batch)

    def _enter(self, batch: Batch) -> None:
        """The requests of a batch that ended elsewhere join the queue."""
        queue, entered = self.queue, self._entered
        moment, requests, _ = batch
        for x in requests:
            entered[x] = moment
            heappush(queue, x)

    def _drop(self, now: float) -> None:
        """Let those go that cannot make their deadlines any more: the earliest are first in the queue."""
        queue, deadlines, latest = self.queue, self.deadlines, now + self.reserve
        while queue and deadlines[queue[0]] < latest:
            self.dropped.append(heappop(queue))

    def _take(self, size: int) -> list[int]:
        """The first ``size`` requests of the queue, or all there are."""
        if len(self.queue) > size:
            return [heappop(self.queue) for _ in range(size)]
        members = self.queue.copy()
        self.queue.clear()
        return members

    def _draw(self) -> float:
        """A factor on the mean service time, with a stock of more."""
        if not len(self._serving.service.factors):
            return 1.0
        self._factors.extend(self._generator.choice(self._serving.service.factors, DRAWN).tolist())
        return self._factors.pop()
