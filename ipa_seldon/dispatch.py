"""Whose turn it is: requests shared by weight. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)
FINEST = 1e-9
"""Of the sum of the weights, so that sums of credit are exact."""


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

    def turn(self, healthy: Collection[Name] | None = None) -> Name:
        """Whose turn it is, among the ``healthy`` where that is told.

        Without weight nobody has one beside others that have some. Where none of the healthy has any weight they take
        turns in equal parts, and where none is healthy, all do.
        """
        weights = self._everyone if healthy is None else self._among(healthy)
        credit = self._credit
        for name, weight in weights.items():
            credit[name] += weight
        chosen = max(weights, key=credit.__getitem__)
        credit[chosen] -= sum(weights.values())
        return chosen

    def _among(self, healthy: Collection[Name]) -> Mapping[Name, int]:
        return self._eligible({name: weight for name, weight in self._whole.items() if name in healthy} or self._whole)

    @staticmethod
    def _eligible(weights: Mapping[Name, int]) -> Mapping[Name, int]:
        return {name: weight for name, weight in weights.items() if weight} or dict.fromkeys(weights, 1)
