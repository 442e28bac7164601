"""A second simulation of queues, written to be clear rather than fast: one heap of events, one step after the other.

It shares no code with the simulator: what both say of the same arrivals must be the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count


@dataclass(eq=False)
class ReferenceQueue:
    """A queue before ``idle`` replicas that take ``means[k]`` seconds for k requests; ``size``, ``delay`` and
    ``reserve`` (seconds) as in the simulator; what it has served goes on to ``followers``.
    """

    means: Sequence[float]
    size: int
    delay: float
    reserve: float
    idle: int
    followers: tuple[ReferenceQueue, ...] = ()
    joined: dict[int, float] = field(default_factory=dict)
    """When each request that waits has joined (seconds)."""
    finished: dict[int, float] = field(default_factory=dict)
    dropped: set[int] = field(default_factory=set)


class Reference:
    """The clock of several queues; request x has until ``deadlines[x]`` (seconds), the earliest is served first."""

    def __init__(self, queues: Sequence[ReferenceQueue], deadlines: Sequence[float]) -> None:
        self._queues = queues
        self._deadlines = deadlines
        self._order = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._now = 0.0

    def run(self, arrivals: Sequence[float], root: ReferenceQueue, numbers: Sequence[int]) -> None:
        """Serve the requests ``numbers``, which arrive at ``root`` at the moments ``arrivals``, to the last."""
        for x, moment in zip(numbers, arrivals, strict=True):
            self._at(moment, partial(self._join, root, x))
        while self._events:
            self._now = self._events[0][0]
            while self._events and self._events[0][0] == self._now:
                heappop(self._events)[2]()
            for queue in self._queues:
                self._drop(queue)
                self._start_batches(queue)

    def _at(self, moment: float, event: Callable[[], None]) -> None:
        heappush(self._events, (moment, next(self._order), event))

    def _join(self, queue: ReferenceQueue, x: int) -> None:
        queue.joined[x] = self._now

    def _drop(self, queue: ReferenceQueue) -> None:
        for x in list(queue.joined):
            if self._deadlines[x] < self._now + queue.reserve:
                del queue.joined[x]
                queue.dropped.add(x)

    def _start_batches(self, queue: ReferenceQueue) -> None:
        while queue.idle and queue.joined:
            expires = min(queue.joined.values()) + queue.delay
            if len(queue.joined) < queue.size and self._now < expires:
                self._at(expires, lambda: None)  # something to look at again
                return
            batch = sorted(queue.joined, key=lambda x: (self._deadlines[x], x))[: queue.size]
            for x in batch:
                del queue.joined[x]
            queue.idle -= 1
            self._at(self._now + queue.means[len(batch)], partial(self._finish, queue, batch))

    def _finish(self, queue: ReferenceQueue, batch: Sequence[int]) -> None:
        queue.idle += 1
        for x in batch:
            queue.finished[x] = self._now
            for follower in queue.followers:
                self._join(follower, x)
