"""Requests shared by weight: whose turn it is, and weights in whole parts. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)
FINEST = 1e-9
"""Of the sum of the weights, so that sums of credit are exact."""


def apportioned(weights: Sequence[float], parts: int) -> list[int]:
    """So many ``parts``, each whole, shared by ``weights`` (>= 0, not all 0): by largest remainders, of equal ones the
    first.
    """
    total = sum(weights)
    exact = [parts * weight / total for weight in weights]
    whole = [int(value) for value in exact]
    for k in sorted(range(len(exact)), key=lambda k: whole[k] - exact[k])[: parts - sum(whole)]:
        whole[k] += 1
    return whole


class RoundRobin(Generic[Name]):
    """Smooth weighted round robin, as nginx does it: each turn everyone gains its weight, and who has most pays the sum
    of all. ``weights`` are >= 0 and not to scale. Equals take turns in their order.

    Of any ``sum(weights)`` turns in a row from the start everyone gets exactly its weight, spread as evenly as can be.
    """

    def __init__(self, weights: Mapping[Name, float]) -> None:
        unit = FINEST * sum(weights.values()) or 1.0
        self.weights = dict(weights)
        self._whole = {name: round(weight / unit) for name, weight in weights.items()}
        self._credit = dict.fromkeys(weights, 0)
        self._everyone = self._eligible(self._whole)
        self._sum = sum(self._everyone.values())

    def turn(self, healthy: Collection[Name] | None = None) -> Name:
        """Whose turn it is, among the ``healthy`` where that is told.

        Without weight nobody has one beside others that have some. Where none of the healthy has any weight they take
        turns in equal parts, and where none is healthy, all do.
        """
        weights, total = self._everyone, self._sum
        if healthy is not None:
            weights = self._among(healthy)
            total = sum(weights.values())
        credit = self._credit
        for name, weight in weights.items():
            credit[name] += weight
        chosen = max(weights, key=credit.__getitem__)
        credit[chosen] -= total
        return chosen

    def _among(self, healthy: Collection[Name]) -> Mapping[Name, int]:
        return self._eligible({name: weight for name, weight in self._whole.items() if name in healthy} or self._whole)

    @staticmethod
    def _eligible(weights: Mapping[Name, int]) -> Mapping[Name, int]:
        return {name: weight for name, weight in weights.items() if weight} or dict.fromkeys(weights, 1)
