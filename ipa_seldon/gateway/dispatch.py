"""By which weights the requests of each stage are shared, as a client states it. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from ipa_seldon.gateway.graph import Graph
from ipa_seldon.gateway.protocol import RefusedError

WHOLE = "*"
"""In place of a version: the model of the stage's own name, with whatever version it serves."""

Table = Mapping[str, Mapping[str, float]]
"""Stage -> version -> weight; a stage that is not in it has only WHOLE."""


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
