"""Runs a request through the graph, stage by stage, as long as it can still make its SLO."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ipa_seldon.gateway.graph import Graph
from ipa_seldon.gateway.metrics import GatewayMetrics
from ipa_seldon.gateway.protocol import Message, RefusedError, error_of, read_response, stage_request
from ipa_seldon.gateway.service_times import ServiceTimes
from ipa_seldon.gateway.triton import Triton

GRACE = 0.1
"""Seconds a stage may answer past the deadline: an answer on its way is late rather than lost."""


@dataclass(frozen=True)
class Call:
    """One request on its way. ``deadline`` on the monotonic clock; ``versions`` and ``bodies`` grow with the stages
    that have answered.
    """

    puid: str
    request: Message
    deadline: float
    versions: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)


class Executor:
    """Walks ``graph`` over ``triton``; keeps nothing between requests.

    A request may wait in a stage's queue as long as the service times still to come fit into its budget after that:
    requests that are served late help nobody, and under overload a queue of them would make every answer late.
    """

    def __init__(self, graph: Graph, triton: Triton, metrics: GatewayMetrics, times: ServiceTimes) -> None:
        self._graph = graph
        self._triton = triton
        self._metrics = metrics
        self._times = times

    async def run(self, call: Call) -> bytes:
        """The answer of the whole graph; RefusedError where a stage cannot give one."""
        await self._run_all(self._graph.roots, call, None)
        return call.bodies[self._graph.answering]

    async def run_stage(self, call: Call, stage: str, version: int | None = None) -> bytes:
        """The answer of one stage, of the given version or of the one that Triton serves."""
        async with self._turn(stage, call, self._times.stage(stage)) as wait:
            await self._infer(stage, call, stage_request(call.request, wait), version)
        return call.bodies[stage]

    async def _run_all(self, stages: tuple[str, ...], call: Call, response: Message | None) -> None:
        """Run ``stages`` side by side; like the executor, wait for all, then report the first failure in order."""
        if len(stages) == 1:
            await self._walk(stages[0], call, response)
            return
        ends = await asyncio.gather(*(self._walk(s, call, response) for s in stages), return_exceptions=True)
        for end in ends:
            if end is not None:
                raise end

    async def _walk(self, stage: str, call: Call, response: Message | None) -> None:
        last = stage == self._graph.answering
        async with self._turn(stage, call, self._times.rest(stage)) as wait:
            answer = await self._infer(stage, call, stage_request(call.request, wait, response, last))
        if followers := self._graph.followers[stage]:
            await self._run_all(followers, call, answer)

    async def _infer(self, stage: str, call: Call, body: bytes, version: int | None = None) -> Message:
        path = f"/v2/models/{stage}/infer" if version is None else f"/v2/models/{stage}/versions/{version}/infer"
        started = time.monotonic()
        try:
            status, answer = await self._triton.infer(path, body, call.puid, call.deadline - started + GRACE)
        except TimeoutError:
            raise self._drop(stage) from None
        finally:
            self._metrics.stage_answered(stage, time.monotonic() - started)
        if status != 200:
            reason = error_of(answer)
            # The words of Triton's queue policy for a request that waited longer than its timeout.
            expired = "timeout expired" in reason
            raise self._drop(stage) if expired else RefusedError(status, f"stage {stage!r}: {reason}")
        response = read_response(stage, answer)
        call.versions[stage] = str(response.get("model_version", ""))
        call.bodies[stage] = answer
        return response

    @asynccontextmanager
    async def _turn(self, stage: str, call: Call, service: float) -> AsyncIterator[float]:
        """The call's turn at ``stage``, when ``service`` seconds of work remain after the queue; dropped when it comes
        too late. Yields the seconds the call may still wait, in Triton's own queue.
        """
        latest = call.deadline - service
        queue = self._times.queues[stage]
        try:
            await queue.enter(call.deadline, latest - time.monotonic())
        except TimeoutError:
            raise self._drop(stage) from None
        try:
            if (left := latest - time.monotonic()) <= 0:
                raise self._drop(stage)
            yield left
        finally:
            queue.leave()

    def _drop(self, stage: str) -> RefusedError:
        self._metrics.dropped(stage)
        return RefusedError(504, f"stage {stage!r}: dropped, the request can no longer make its SLO", stage)
