"""The queue of a model: earliest deadline first, and nothing waits longer than it can afford."""

from __future__ import annotations

import asyncio
from bisect import bisect_right, insort
from contextlib import suppress
from itertools import count

from ipa_seldon.gateway.protocol import FaultError


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

    @property
    def size(self) -> int:
        """Requests that wait or are in the stage."""
        return self._inside + len(self._waiting)

    def ahead(self, deadline: float) -> int:
        """Requests that are in the stage or come before one of that ``deadline``."""
        return self._inside + bisect_right(self._waiting, deadline, key=lambda place: place[0])

    def expel(self, reason: str) -> None:
        """Raise a FaultError of 503 for those that wait, in place of their turn; those inside stay."""
        waiting, self._waiting = self._waiting, []
        for _, _, admitted in waiting:
            if not admitted.done():
                admitted.set_exception(FaultError(503, reason))

    async def enter(self, deadline: float, longest_wait: float) -> None:
        """Wait for a turn; TimeoutError when it takes over ``longest_wait`` seconds. Whoever entered must ``leave``.

        ``deadline`` only orders: any clock that all callers share.
        """
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (deadline, next(self._turns), admitted)
        insort(self._waiting, place)
        self._admit()
        if admitted.done():
            return
        try:
            async with asyncio.timeout(longest_wait):
                await admitted
        except BaseException:
            # Let in at the very moment it gave up.
            if admitted.done() and not admitted.cancelled() and admitted.exception() is None:
                self.leave()
            with suppress(ValueError):
                self._waiting.remove(place)
            raise

    def leave(self) -> None:
        """The request has left the stage."""
        self._inside -= 1
        self._admit()

    def _admit(self) -> None:
        while self._inside < self._capacity and self._waiting:
            _, _, admitted = self._waiting.pop(0)
            if not admitted.done():
                self._inside += 1
                admitted.set_result(None)
