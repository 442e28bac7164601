"""Whose turn it is: requests shared by weight. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Sequence

FINEST = 1e-9
"""Of a weight, so that sums of them are exact."""


class RoundRobin:
    """Smooth weighted round robin, as nginx does it: each turn everyone gains its weight, and who has most pays the sum
    of all. ``weights`` are >= 0, at least one; where all are 0, turns are equal. Equals take turns in their order.

    After n turns each has had its part of them to within one for each of the others, and its turns lie evenly.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        whole = [round(weight / FINEST) for weight in weights]
        self._weights = whole if any(whole) else [1] * len(whole)
        self._total = sum(self._weights)
        self._gained = [0] * len(self._weights)

    def turn(self) -> int:
        """The index of the next one; never one without weight beside others that have some."""
        gained, best, most = self._gained, 0, 0
        for index, weight in enumerate(self._weights):
            gained[index] += weight
            if gained[index] > most:
                best, most = index, gained[index]
        gained[best] -= self._total
        return best
