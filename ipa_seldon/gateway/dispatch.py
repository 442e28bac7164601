"""Which version of a stage a request goes to: shares of the requests, kept as evenly as can be. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping

from ipa_seldon.gateway.graph import Graph
from ipa_seldon.gateway.protocol import RefusedError

WHOLE = "*"
"""In place of a version: the model of the stage's own name, with whatever version it serves."""

Table = Mapping[str, Mapping[str, float]]
"""Stage -> version -> weight; a stage that is not in it has only WHOLE."""


class RoundRobin:
    """Smooth weighted round robin, as nginx has it: of any ``sum(weights)`` turns in a row from the start every version
    gets exactly its weight, spread as evenly as the weights allow. ``weights`` are 0 or more and not to scale.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = dict(weights)
        self._credit = dict.fromkeys(weights, 0.0)

    def turn(self, healthy: Collection[str]) -> str:
        """Whose turn it is among the ``healthy``; a version of weight 0 has none, unless there is no other."""
        weights = self._eligible(healthy)
        for version, weight in weights.items():
            self._credit[version] += weight
        chosen = max(weights, key=self._credit.__getitem__)
        self._credit[chosen] -= sum(weights.values())
        return chosen

    def _eligible(self, healthy: Collection[str]) -> Mapping[str, float]:
        """Those that take turns, and their weights: the healthy ones; if none of them has a weight, in equal parts; if
        none is healthy, all.
        """
        able = {version: weight for version, weight in self.weights.items() if version in healthy} or self.weights
        return {version: weight for version, weight in able.items() if weight} or dict.fromkeys(able, 1.0)


def read_table(body: bytes, graph: Graph) -> Table:
    """A table as a client sends it; RefusedError with 400 says what is wrong with it."""
    try:
        document = json.loads(body)
    except ValueError as error:
        raise RefusedError(400, f"dispatch: not JSON: {error}") from error
    if not isinstance(document, dict):
        raise RefusedError(400, 'dispatch: accepted: a JSON object, {"stage": {"version": weight}}')
    for stage, weights in document.items():
        if stage not in graph.stages:
            raise RefusedError(400, f"dispatch: stage {stage!r}: accepted: {', '.join(graph.stages)}")
        if not isinstance(weights, dict):
            raise RefusedError(400, f'dispatch: stage {stage!r}: {weights!r}: accepted: {{"version": weight}}')
        known = (WHOLE, *graph.variants.get(stage, ()))
        for version, weight in weights.items():
            if version not in known:
                raise RefusedError(400, f"dispatch: stage {stage!r}: version {version!r}: accepted: {', '.join(known)}")
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
                place = f"dispatch: stage {stage!r}: version {version!r}"
                raise RefusedError(400, f"{place}: {weight!r}: accepted: a finite number from 0")
    return {stage: weights for stage, weights in document.items() if weights}
