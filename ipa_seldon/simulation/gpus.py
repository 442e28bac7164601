"""The GPUs of a simulated cluster: a replica starts once those that it needs are free. Pure."""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf

from ipa_seldon.simulation.engine import NEVER


class Gpus:
    """``total`` GPUs (None: as many as are wanted). ``ledger`` holds every change of those that are taken, as (seconds,
    GPUs).
    """

    def __init__(self, total: int | None) -> None:
        self.ledger: list[tuple[float, int]] = []
        self._free = inf if total is None else total
        self._returning: list[tuple[float, int]] = []
        """When so many come free, a heap."""

    @property
    def due(self) -> float:
        """When the next come free (seconds)."""
        return self._returning[0][0] if self._returning else NEVER

    def come(self, now: float) -> None:
        """Whatever comes free by ``now`` can be taken from then on."""
        while self.due <= now:
            self._free += heappop(self._returning)[1]

    def take(self, count: int, now: float) -> bool:
        """Take so many at once, if they are free; whether they were."""
        if count > self._free:
            return False
        self._free -= count
        self.ledger.append((now, count))
        return True

    def give_back(self, count: int, moment: float) -> None:
        """So many come free at that moment."""
        self.ledger.append((moment, -count))
        heappush(self._returning, (moment, count))
