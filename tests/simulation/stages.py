"""Pipelines whose times can be computed by hand: a batch takes the same time whatever its size, and always."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Allocation
from ipa_seldon.simulation.physics import Physics
from ipa_seldon.simulation.pipeline import Requests, SimulatedPipeline


def variant(name: str, seconds: float, accuracy: float = 0.5, load_time: float = 0.0) -> Variant:
    """A variant on 1 to 4 cores whose batches take ``seconds``."""
    return Variant(name, accuracy, 1, (1, 2, 3, 4), lambda *_: seconds, lambda _, batch: batch / seconds, load_time)


def by_capacity(name: str, seconds: float, accuracy: float = 0.5, load_time: float = 0.0) -> Variant:
    """A variant of which only a capacity is known: a core takes ``seconds`` per request."""

    def unknown(cores: int, batch: int) -> float:
        raise KeyError(f"no measurement on {cores} cores, batch {batch}")

    return Variant(name, accuracy, 1, (), unknown, unknown, load_time, lambda cores: 0.8 * cores / seconds, 1 / seconds)


def one(name: str, replicas: int = 1, cores: int = 1, batch: int = 1) -> tuple[Allocation]:
    """What a stage runs."""
    return (Allocation(name, replicas, cores, batch),)


def pipeline(stages: Sequence[Stage], edges: Sequence[tuple[str, str]] = (), slo: float = 1000.0) -> Pipeline:
    """A pipeline of ``stages``."""
    return Pipeline("by-hand", tuple(stages), tuple(edges), slo)


def simulated(
    made: Pipeline, arrivals: Sequence[float], physics: Physics | None = None, budgets: Sequence[float] | None = None
) -> SimulatedPipeline:
    """``made`` before requests that have the SLO, or ``budgets`` of their own."""
    moments = np.array(arrivals, dtype=float)
    allowed = np.full(len(moments), made.slo) if budgets is None else np.array(budgets)
    return SimulatedPipeline(made, Requests(moments, allowed), physics or Physics(), seed=0)
