"""What Triton says of its stages: how long they take once a request has left their queue, and how many they take on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from ipa_seldon.gateway.graph import Graph
from ipa_seldon.gateway.protocol import RefusedError
from ipa_seldon.gateway.queues import StageQueue
from ipa_seldon.gateway.triton import Triton
from ipa_seldon.queueing import HELD_BACK, LET_IN

PERIOD = 1.0
COMPUTE = ("compute_input", "compute_infer", "compute_output")
NANOSECONDS = 1e9

Totals = Mapping[str, tuple[int, int]]
"""Version -> requests answered and the nanoseconds they took to compute, since the version was loaded."""


class ServiceTimes:
    """Mean compute time per request of every stage over the last second in which it answered any, and its queue.

    The wait is left out of the times on purpose: an estimate that grew with the queue would drop ever more, and never
    recover. ``queues`` let in what the stage's replicas and batches take on, as Triton is configured just then.
    """

    def __init__(self, graph: Graph, triton: Triton) -> None:
        self._graph = graph
        self._triton = triton
        self._totals: dict[str, Totals] = {}
        self._seconds: dict[str, float] = {}
        self.queues = {stage: StageQueue(LET_IN) for stage in graph.stages}

    def stage(self, stage: str) -> float:
        """Seconds to hold for the stage itself; 0 until it was measured. Never more than half the SLO, so that even a
        stage that became too slow for the SLO keeps being tried.
        """
        return min(HELD_BACK * self._seconds.get(stage, 0.0), self._graph.slo / 2)

    def rest(self, stage: str) -> float:
        """Seconds to hold from leaving the stage's queue to the end of the longest way on, at most half the SLO."""
        ways_on = (self.rest(follower) for follower in self._graph.followers[stage])
        return min(self.stage(stage) + max(ways_on, default=0.0), self._graph.slo / 2)

    async def watch(self) -> None:
        """Keep measuring until cancelled."""
        while True:
            await asyncio.gather(*(self._measure(stage) for stage in self._graph.stages))
            await asyncio.sleep(PERIOD)

    async def _measure(self, stage: str) -> None:
        try:
            status, body = await self._triton.get(f"/v2/models/{stage}/stats")
            totals = read_totals(json.loads(body)) if status == 200 else {}
            status, body = await self._triton.get(f"/v2/models/{stage}/config")
            if status == 200:
                self.queues[stage].capacity = LET_IN * read_slots(json.loads(body))
        except (RefusedError, TimeoutError, ValueError, KeyError, TypeError):
            return  # no server for now, or one without statistics: the last estimate stands
        seconds = mean_time(self._totals.get(stage, {}), totals)
        self._totals[stage] = totals
        if seconds is not None:
            self._seconds[stage] = seconds


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
