"""Runs a request through the graph, stage by stage, as long as it can still make its SLO."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ipa_seldon.deadlines import priority, timeout
from ipa_seldon.gateway.dispatcher import Dispatcher
from ipa_seldon.gateway.graph import Graph
from ipa_seldon.gateway.messages import Body, Message
from ipa_seldon.gateway.metrics import GatewayMetrics
from ipa_seldon.gateway.models import Model
from ipa_seldon.gateway.protocol import (
    FaultError,
    RefusedError,
    error_of,
    handed_on,
    read_response,
    refusal,
    stamped,
)
from ipa_seldon.gateway.service_times import ServiceTimes
from ipa_seldon.gateway.triton import Triton

GRACE = 0.1
"""Seconds a stage may answer past the deadline: an answer on its way is late rather than lost."""


@dataclass(frozen=True)
class Call:
    """One request on its way. ``deadline`` and ``rank``, by which it queues, on the monotonic clock; ``versions`` and
    ``bodies`` grow with the stages that have answered.
    """

    puid: str
    request: Message
    deadline: float
    rank: float
    versions: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, Body] = field(default_factory=dict)


@dataclass(frozen=True)
class _Task:
    """What a stage is asked by a call, ``after`` which stages that take so many seconds follow. ``version`` where the
    client chose it.
    """

    stage: str
    call: Call
    request: Message
    after: float = 0.0
    version: str | None = None


class Executor:
    """Walks ``graph`` over ``triton``; keeps nothing between requests.

    A request may wait in a model's queue as long as the service times still to come fit into its budget after that:
    requests that are served late help nobody, and under overload a queue of them would make every answer late.
    """

    def __init__(
        self, graph: Graph, triton: Triton, metrics: GatewayMetrics, dispatcher: Dispatcher, times: ServiceTimes
    ) -> None:
        self._graph = graph
        self._triton = triton
        self._metrics = metrics
        self._dispatcher = dispatcher
        self._times = times

    async def run(self, call: Call) -> Body:
        """The answer of the whole graph; RefusedError where a stage cannot give one."""
        await self._run_all(self._graph.roots, call, None)
        return call.bodies[self._graph.answering]

    async def run_stage(self, call: Call, stage: str, version: int | None = None) -> Body:
        """The answer of one stage, of the given version or of one that its requests go to."""
        chosen = None if version is None else str(version)
        await self._serve(_Task(stage, call, call.request, version=chosen))
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
        request = handed_on(call.request, response, last=stage == self._graph.answering)
        answer = await self._serve(_Task(stage, call, request, self._times.after(stage)))
        if followers := self._graph.followers[stage]:
            await self._run_all(followers, call, answer)

    async def _serve(self, task: _Task) -> Message:
        """The stage's answer. Where a server is at fault the request goes to another version, as long as there is a
        healthy one and time: to infer again does no harm.
        """
        if task.version is not None:
            return await self._ask(task, self._dispatcher.named(task.stage, task.version))
        while True:
            try:
                return await self._try(task)
            except FaultError:
                if not self._dispatcher.has_healthy(task.stage):
                    raise

    async def _try(self, task: _Task) -> Message:
        """The answer of the model to which the request is dispatched."""
        now, deadline = time.monotonic(), task.call.deadline
        model = self._dispatcher.choose(
            task.stage, task.call.rank, lambda model: deadline - now - self._times.held(model, task.after)
        )
        return await self._ask(task, model)

    def _failed(self, stage: str, model: Model, reason: str) -> None:
        """Send no more requests to the model for now, and those that wait for it to others, if there are any."""
        model.failed()
        if self._dispatcher.has_healthy(stage):
            model.queue.expel(reason)

    async def _ask(self, task: _Task, model: Model) -> Message:
        """The model's answer, once it is the call's turn."""
        async with self._turn(task, model) as wait:
            try:
                return await self._infer(task, model, stamped(task.request, self._stamp(task.call, model, wait)).body())
            except FaultError as fault:
                if task.version is None:  # else it may be that which is unknown
                    self._failed(task.stage, model, fault.reason)
                raise

    def _stamp(self, call: Call, model: Model, wait: float) -> dict[str, int]:
        """Parameters for Triton's own queue, where the call may still ``wait`` so many seconds."""
        stamp = {"timeout": timeout(wait)}
        if self._graph.by_deadline and model.by_deadline:
            stamp["priority"] = priority(call.deadline - time.monotonic(), self._graph.slo)
        return stamp

    async def _infer(self, task: _Task, model: Model, body: Body) -> Message:
        stage, call, started = task.stage, task.call, time.monotonic()
        path = f"{model.path(task.version)}/infer"
        model.asked(started)
        try:
            status, content, length = await self._triton.infer(path, body, call.puid, call.deadline - started + GRACE)
        except TimeoutError:
            # One that is merely slow answers somebody in that time.
            if model.silence(time.monotonic()) >= self._graph.slo:
                self._failed(stage, model, f"stage {stage!r}: model {model.name!r} does not answer")
            raise self._drop(stage) from None
        finally:
            self._metrics.stage_answered(stage, time.monotonic() - started)
        if status != 200:
            reason = error_of(content)
            # The words of Triton's queue policy for a request that waited longer than its timeout.
            raise self._drop(stage) if "timeout expired" in reason else refusal(stage, status, reason)
        call.bodies[stage], response = read_response(stage, content, length)
        model.answered()
        version = str(response.fields.get("model_version", ""))
        self._metrics.version_answered(stage, version)
        call.versions[stage] = version
        return response

    @asynccontextmanager
    async def _turn(self, task: _Task, model: Model) -> AsyncIterator[float]:
        """The call's turn at the model; dropped when it comes too late for the work that remains after the queue.
        Yields the seconds the call may still wait, in Triton's own queue.
        """
        call = task.call
        latest = call.deadline - self._times.held(model, task.after)
        try:
            place = await model.queue.enter(call.deadline, latest - time.monotonic(), call.rank)
        except TimeoutError:
            raise self._drop(task.stage) from None
        try:
            if (left := latest - time.monotonic()) <= 0:
                raise self._drop(task.stage)
            yield left
        finally:
            model.queue.leave(place)

    def _drop(self, stage: str) -> RefusedError:
        self._metrics.dropped(stage)
        return RefusedError(504, f"stage {stage!r}: dropped, the request can no longer make its SLO", stage)
