"""The clock of one stage: a central queue, dynamic batching as in Triton, and replicas. Pure and seeded.

Stages of a pipeline feed forward only, so each may be advanced through a stretch of time on its own, in topological
order, on what the stages before it sent in that stretch: the same events as one clock for all, without its cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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
    """How replicas work on a queue; the log calls it ``index``."""

    service: Service
    batching: Batching
    index: int


@dataclass(eq=False)
class Log:
    """Every batch that was started: its ``requests`` one after the other, its size, when it ended (seconds), and the
    index of what served it. Columns, since a list of batches would keep the garbage collector busy.
    """

    requests: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    served: list[int] = field(default_factory=list)

    def add(self, batch: Batch) -> None:
        """One more batch."""
        ends, requests, index = batch
        self.requests.extend(requests)
        self.sizes.append(len(requests))
        self.ends.append(ends)
        self.served.append(index)


class Station:
    """Requests are numbered in the order of their deadlines, so that the smallest number in the queue is served first
    (earliest deadline first; requests of one SLO come out in order of arrival).

    ``deadlines[x]`` in seconds. A request that is taken from the queue with less than ``reserve`` seconds left to its
    deadline is dropped. ``log`` holds every batch that was started, ``dropped`` every dropped request with its moment,
    ``free`` the moments at which the replicas are free again.
    """

    def __init__(self, deadlines: Sequence[float], generator: np.random.Generator) -> None:
        self.reserve = 0.0
        self.log = Log()
        self.dropped: list[tuple[float, int]] = []
        self.queue: list[int] = []
        self.clock = 0.0
        self.free: list[float] = []
        self._deadlines = deadlines
        self._entered = [0.0] * len(deadlines)
        self._coming: list[Batch] = []
        self._under_way: list[Batch] = []
        self._generator = generator
        self._factors: list[float] = []
        self._serving = Serving(Service((0.0, 0.0), ()), Batching(1), 0)

    @property
    def idle(self) -> bool:
        """Whether nothing waits or is being served."""
        return not (self.queue or self._coming or self._under_way)

    def serve(self, serving: Serving, free: Sequence[float], now: float) -> None:
        """From ``now`` on, batches run as ``serving`` on replicas that are free at the moments ``free`` (at least one).
        Batches that have begun end as they were to.
        """
        self.free = sorted(free)
        if serving.service is not self._serving.service:
            self._factors = []
        self._serving = serving
        self.clock = max(self.clock, now)

    def advance(self, until: float, coming: Sequence[Batch]) -> list[Batch]:
        """Everything that happens before ``until`` (seconds), when ``coming`` arrives, in order of time.

        Returns the batches that end before ``until``, in that order.
        """
        self._coming.extend(coming)
        self._run(until)
        under_way = self._under_way
        under_way.sort()
        ended = next((k for k, batch in enumerate(under_way) if batch[0] >= until), len(under_way))
        done = under_way[:ended]
        del under_way[:ended]
        return done

    def _run(self, until: float) -> None:
        """The loop that every simulated request passes through: locals and no calls, for speed."""
        queue, free, coming, entered = self.queue, self.free, self._coming, self._entered
        size, delay = self._serving.batching.size, self._serving.batching.delay
        means, index = self._serving.service.means, self._serving.index
        clock, position, ahead, log = self.clock, 0, len(coming), self.log.add
        while queue or position < ahead:
            now = free[0] if free[0] > clock else clock
            if not queue and coming[position][0] > now:
                now = coming[position][0]
            expires = NEVER
            while now < until:
                while position < ahead and coming[position][0] <= now:
                    moment, requests, _ = coming[position]
                    position += 1
                    for x in requests:
                        entered[x] = moment
                        heappush(queue, x)
                if not delay or len(queue) >= size:
                    break
                if expires == NEVER:
                    expires = min([entered[x] for x in queue]) + delay
                if now >= expires:
                    break
                now = min(coming[position][0], expires) if position < ahead else expires
            else:
                break
            clock = now
            members = self._take(now, size)
            if members:
                ends = now + means[len(members)] * (self._factors.pop() if self._factors else self._draw())
                heapreplace(free, ends)
                batch = (ends, members, index)
                self._under_way.append(batch)
                log(batch)
        self.clock = clock
        del coming[:position]

    def _take(self, now: float, size: int) -> list[int]:
        """Up to ``size`` requests from the queue that can still make their deadlines."""
        queue, deadlines, latest = self.queue, self._deadlines, now + self.reserve
        members: list[int] = []
        while queue and len(members) < size:
            x = heappop(queue)
            if deadlines[x] < latest:
                self.dropped.append((now, x))
            else:
                members.append(x)
        return members

    def _draw(self) -> float:
        """A factor on the mean service time, with a stock of more."""
        factors = self._serving.service.factors
        if not len(factors):
            return 1.0
        self._factors = self._generator.choice(factors, DRAWN).tolist()
        return self._factors.pop()
