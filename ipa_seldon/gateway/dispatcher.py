"""Where requests go: the Triton models that serve each stage, their queues, and their shares of the requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ipa_seldon.dispatch import RoundRobin
from ipa_seldon.gateway.dispatch import WHOLE, Table
from ipa_seldon.gateway.graph import Graph
from ipa_seldon.gateway.models import Model
from ipa_seldon.gateway.protocol import RefusedError
from ipa_seldon.specs.triton import set_model


@dataclass(frozen=True)
class _Sharing:
    """Who shares the requests of a stage, by version."""

    turns: RoundRobin[str]
    models: dict[str, Model]


class Dispatcher:
    """Dispatches the requests of every stage of ``graph``, at first to the models of the stages' own names."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[str, dict[str, Model]] = {stage: {} for stage in graph.stages}
        self._sharing: dict[str, _Sharing] = {}
        self.replace({})

    def replace(self, table: Table) -> None:
        """Requests go by ``table`` from now on; those that wait in a queue already stay there."""
        whole = {stage: {WHOLE: 1.0} for stage in self._graph.stages}
        self._sharing = {
            stage: _Sharing(RoundRobin(weights), {version: self._model(stage, version) for version in weights})
            for stage, weights in {**whole, **table}.items()
        }

    def models(self, table: Table | None = None) -> list[Model]:
        """The models of ``table``, by default of the one in force."""
        if table is None:
            return [model for sharing in self._sharing.values() for model in sharing.models.values()]
        return [self._model(stage, version) for stage, weights in table.items() for version in weights]

    def serving(self, stage: str) -> list[Model]:
        """The models that the stage's requests go to when all is well."""
        sharing = self._sharing[stage]
        return [sharing.models[version] for version, weight in sharing.turns.weights.items() if weight] or [
            *sharing.models.values()
        ]

    def has_healthy(self, stage: str) -> bool:
        """Whether any of the stage's models is healthy."""
        return any(model.healthy for model in self._sharing[stage].models.values())

    def named(self, stage: str, version: str) -> Model:
        """The model for requests that ask for a version; RefusedError with 404 where a set does not have it."""
        models = self._sharing[stage].models
        if WHOLE in models or version in models:
            return models.get(version) or models[WHOLE]
        raise RefusedError(404, f"stage {stage!r}: version {version} is not served; accepted: {', '.join(models)}")

    def choose(self, stage: str, rank: float, longest_wait: Callable[[Model], float]) -> Model:
        """The model for a request of that ``rank`` that may wait ``longest_wait(model)`` seconds.

        That whose turn it is; where the wait there is too long, the one of the shortest wait among those that share the
        load and can serve it in time. Where none can, its turn stands, and it waits there until it is dropped.
        """
        turns, models = self._sharing[stage].turns, self._sharing[stage].models
        available = {version for version, model in models.items() if model.available}
        turn = models[turns.turn(available)]
        if len(available) < 2 or turn.expected_wait(rank) <= longest_wait(turn):
            return turn
        others = [model for version, model in models.items() if version in available and turns.weights[version]]
        in_time = [model for model in others if model.expected_wait(rank) <= longest_wait(model)]
        return min(in_time, key=lambda model: model.expected_wait(rank), default=turn)

    def deadlines(self) -> list[float]:
        """Of the requests that wait for a batch of any model."""
        return [
            deadline for known in self._known.values() for model in known.values() for deadline in model.deadlines()
        ]

    def report(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Stage -> version -> weight, requests in flight (queued or under way) and health, as JSON types; of versions
        that get no requests any more as long as some are in flight.
        """
        return {
            stage: {
                model.version: {
                    "weight": self._sharing[stage].turns.weights.get(model.version, 0.0),
                    "in_flight": model.queue.size,
                    "healthy": model.healthy,
                }
                for model in known.values()
                if model.version in self._sharing[stage].models or model.queue.size
            }
            for stage, known in self._known.items()
        }

    def _model(self, stage: str, version: str) -> Model:
        """One object a model for good: its queue and its health outlast every table."""
        name = stage if version == WHOLE else set_model(stage, version)
        return self._known[stage].setdefault(version, Model(name, version))
