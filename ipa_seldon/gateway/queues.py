"""The queue of a model: earliest deadline first, and nothing waits longer than it can afford."""

from __future__ import annotations

import asyncio
from bisect import bisect_right, insort
from contextlib import suppress
from itertools import count, islice
from typing import NamedTuple

from ipa_seldon.gateway.protocol import FaultError


class Place(NamedTuple):
    """Of a request in a queue. The lowest ``rank`` is next, of equal ones the one that came first."""

    rank: float
    turn: int
    deadline: float
    admitted: asyncio.Future[None]


class StageQueue:
    """Lets ``capacity`` requests into the stage at a time; of those that wait, the one of the lowest rank next: its
    deadline, on any clock that all share, unless a rank is stated.

    It stands before Triton's own queue, which drops what is out of time, and goes by deadline, only at a price (see
    specs.triton). Requests of equal rank come out in order of arrival.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._inside: dict[int, Place] = {}
        self._waiting: list[Place] = []
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
        return len(self._inside) + len(self._waiting)

    def ahead(self, rank: float) -> int:
        """Requests that are in the stage or come before one of that ``rank``."""
        return len(self._inside) + bisect_right(self._waiting, rank, key=lambda place: place.rank)

    def deadlines(self, computed: int) -> list[float]:
        """Of all requests but the ``computed`` ones that have been in the stage for longest."""
        return [place.deadline for place in (*islice(self._inside.values(), computed, None), *self._waiting)]

    def expel(self, reason: str) -> None:
        """Raise a FaultError of 503 for those that wait, in place of their turn; those inside stay."""
        waiting, self._waiting = self._waiting, []
        for place in waiting:
            if not place.admitted.done():
                place.admitted.set_exception(FaultError(503, reason))

    async def enter(self, deadline: float, longest_wait: float, rank: float | None = None) -> Place:
        """Wait for a turn, by ``rank`` or, without one, by ``deadline``; TimeoutError when it takes over
        ``longest_wait`` seconds. Whoever entered must ``leave`` the place that is returned.
        """
        place = Place(
            deadline if rank is None else rank, next(self._turns), deadline, asyncio.get_running_loop().create_future()
        )
        insort(self._waiting, place)
        self._admit()
        if place.admitted.done():
            return place
        try:
            async with asyncio.timeout(longest_wait):
                await place.admitted
        except BaseException:
            # Let in at the very moment it gave up.
            if place.turn in self._inside:
                self.leave(place)
            with suppress(ValueError):
                self._waiting.remove(place)
            raise
        return place

    def leave(self, place: Place) -> None:
        """The request has left the stage."""
        del self._inside[place.turn]
        self._admit()

    def _admit(self) -> None:
        while len(self._inside) < self._capacity and self._waiting:
            place = self._waiting.pop(0)
            if not place.admitted.done():
                self._inside[place.turn] = place
                place.admitted.set_result(None)
