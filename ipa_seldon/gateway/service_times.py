"""What Triton says of its models: how long they take once a request has left their queue, how many they take on, and
whether they are ready again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ipa_seldon.gateway.dispatcher import Dispatcher
from ipa_seldon.gateway.graph import Graph
from ipa_seldon.gateway.models import Model
from ipa_seldon.gateway.protocol import RefusedError
from ipa_seldon.gateway.triton import Triton
from ipa_seldon.queueing import HELD_BACK
from ipa_seldon.specs.triton import queue_slo

PERIOD = 1.0
COMPUTE = ("compute_input", "compute_infer", "compute_output")
NANOSECONDS = 1e9

Totals = Mapping[str, tuple[int, int]]
"""Version -> requests answered and the nanoseconds they took to compute, since the version was loaded."""


class ServiceTimes:
    """Mean compute time per request of every model over the last second in which it answered any, and its slots.

    The wait is left out of the times on purpose: an estimate that grew with the queue would drop ever more, and never
    recover.
    """

    def __init__(self, graph: Graph, triton: Triton, dispatcher: Dispatcher) -> None:
        self._graph = graph
        self._triton = triton
        self._dispatcher = dispatcher
        self._totals: dict[str, Totals] = {}

    def held(self, model: Model, after: float = 0.0) -> float:
        """Seconds to hold from leaving the model's queue on, when ``after`` it more are to be held; nothing for a model
        that was not measured yet. Never more than half the SLO, so that even a stage that became too slow for the SLO
        keeps being tried.
        """
        return min(HELD_BACK * model.seconds + after, self._graph.slo / 2)

    def after(self, stage: str) -> float:
        """Seconds to hold for the longest way on from a stage, by the slowest of the models that share each stage."""
        ways_on = (
            self.held(model, self.after(follower))
            for follower in self._graph.followers[stage]
            for model in self._dispatcher.serving(follower)
        )
        return max(ways_on, default=0.0)

    async def watch(self) -> None:
        """Keep measuring until cancelled."""
        while True:
            await self.measure(self._dispatcher.models())
            await asyncio.sleep(PERIOD)

    async def measure(self, models: Iterable[Model]) -> None:
        """Look at ``models`` once."""
        await asyncio.gather(*(self._measure(model) for model in models))

    async def _measure(self, model: Model) -> None:
        try:
            status, body, _ = await self._triton.get(f"{model.path()}/stats")
            totals = read_totals(json.loads(body)) if status == 200 else {}
            status, body, _ = await self._triton.get(f"{model.path()}/config")
            if status == 200:
                configuration = json.loads(body)
                model.resize(read_slots(configuration))
                model.by_deadline = queue_slo(configuration) is not None
            if model.due():
                model.healthy = (await self._triton.get(f"{model.path()}/ready")).status == 200
        except (RefusedError, TimeoutError, ValueError, KeyError, TypeError):
            return  # no server for now, or one without statistics: the last estimate stands
        seconds = mean_time(self._totals.get(model.name, {}), totals)
        self._totals[model.name] = totals
        if seconds is not None:
            model.seconds = seconds


def read_totals(statistics: Mapping[str, Any]) -> Totals:
    """From what Triton's statistics extension answers for one model."""
    return {
        model["version"]: (
            int(model["inference_stats"]["success"]["count"]),
            sum(int(model["inference_stats"][part]["ns"]) for part in COMPUTE),
        )
        for model in statistics["model_stats"]
    }


def read_slots(configuration: Mapping[str, Any]) -> int:
    """Requests that a model computes at the same time: replicas times batch, from its configuration."""
    replicas = sum(int(group.get("count", 1)) for group in configuration.get("instance_group", ()))
    return max(replicas, 1) * max(int(configuration.get("max_batch_size", 0)), 1)


def mean_time(before: Totals, after: Totals) -> float | None:
    """Seconds per request between two readings, over all versions; None when nothing was answered between them."""
    requests = nanoseconds = 0
    for version, (count, spent) in after.items():
        old_count, old_spent = before.get(version, (0, 0))
        if count < old_count:  # the version was loaded again and counts anew
            old_count, old_spent = 0, 0
        requests += count - old_count
        nanoseconds += spent - old_spent
    return nanoseconds / NANOSECONDS / requests if requests else None
