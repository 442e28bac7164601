"""The queue of a stage: earliest deadline first, and nothing waits longer than it can afford."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count


class StageQueue:
    """Lets ``capacity`` requests into the stage at a time; of those that wait, the one with the earliest deadline next.

    It stands before Triton's own queue, which cannot drop what is out of time without stalling (a queue policy with a
    timeout makes Triton 2.51 wait in steps of half a second). Requests of equal SLO come out in order of arrival.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._inside = 0
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._turns = count()

    @property
    def capacity(self) -> int:
        """Requests that may be in the stage at the same time."""
        return self._capacity

    @capacity.setter
    def capacity(self, capacity: int) -> None:
        self._capacity = capacity
        self._admit()

    async def enter(self, deadline: float, longest_wait: float) -> None:
        """Wait for a turn; TimeoutError when it takes over ``longest_wait`` seconds. Whoever entered must ``leave``.

        ``deadline`` only orders: any clock that all callers share.
        """
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (deadline, next(self._turns), admitted))
        self._admit()
        if admitted.done():
            return
        try:
            async with asyncio.timeout(longest_wait):
                await admitted
        except BaseException:
            if admitted.done() and not admitted.cancelled():  # let in at the very moment it gave up
                self.leave()
            admitted.cancel()
            raise

    def leave(self) -> None:
        """The request has left the stage."""
        self._inside -= 1
        self._admit()

    def _admit(self) -> None:
        while self._inside < self._capacity and self._waiting:
            _, _, admitted = heapq.heappop(self._waiting)
            if not admitted.done():
                self._inside += 1
                admitted.set_result(None)
