"""Service times from Triton's statistics, and what they do to a request's longest wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ipa_seldon.asgi import listen, serving
from ipa_seldon.gateway.app import create_app
from ipa_seldon.gateway.dispatch import Table
from ipa_seldon.gateway.dispatcher import Dispatcher
from ipa_seldon.gateway.graph import Graph
from ipa_seldon.gateway.models import Model
from ipa_seldon.gateway.service_times import ServiceTimes, mean_time, read_slots, read_totals
from ipa_seldon.gateway.triton import Triton
from ipa_seldon.queueing import HELD_BACK

DIAMOND = Graph("diamond", ("a", "b", "c", "d"), (("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")), slo=2.0)


def statistics(version: str, count: int, seconds: float) -> dict[str, Any]:
    """What Triton tells about a version that took ``seconds`` for each of ``count`` requests."""
    spent = {"count": count, "ns": int(count * seconds * 1e9 / 2)}
    none = {"count": count, "ns": 0}
    parts = {"compute_input": none, "compute_infer": spent, "compute_output": spent}
    queue = {"count": count, "ns": 10**12}
    return {"version": version, "inference_stats": {"success": none | {"ns": 10**12}, "queue": queue, **parts}}


def test_mean_time_is_that_of_the_requests_in_between() -> None:
    """Only what was answered between two readings counts, over all versions, and not its time in the queue."""
    before = read_totals({"model_stats": [statistics("1", 100, 0.5)]})
    after = read_totals({"model_stats": [statistics("1", 100, 0.5), statistics("2", 10, 0.02)]})
    assert mean_time({}, before) == pytest.approx(0.5)
    assert mean_time(before, after) == pytest.approx(0.02)
    assert mean_time(after, after) is None


def test_reloaded_version_counts_anew() -> None:
    """A version whose counters went back was loaded again; its new counters are the whole difference."""
    before = read_totals({"model_stats": [statistics("1", 100, 0.5)]})
    after = read_totals({"model_stats": [statistics("1", 4, 0.1)]})
    assert mean_time(before, after) == pytest.approx(0.1)


async def test_request_that_cannot_be_served_in_time_is_dropped_before_it_waits() -> None:
    """A budget smaller than the measured service time ends with 504 without bothering the stage; a larger one waits
    only as long as leaves time for the service.
    """
    timeouts: list[int] = []

    async def infer(request: Request) -> Response:
        body = await request.json()
        timeouts.append(body["parameters"]["timeout"])
        return JSONResponse({"model_name": "a", "model_version": "1", "outputs": []})

    async def stats(request: Request) -> Response:
        del request
        return JSONResponse({"model_stats": [statistics("1", 5, 0.8)]})

    async def status(budget: float) -> int:
        headers = {"Ipa-Remaining-Slo": str(budget)}
        async with client.post(url + "/v2/models/infer", json={"inputs": []}, headers=headers) as got:
            return got.status

    graph = Graph("one", ("a",), (), slo=10.0)
    routes = [Route("/v2/models/a/infer", infer, methods=["POST"]), Route("/v2/models/a/stats", stats)]
    async with (
        serving(Starlette(routes=routes), listen("127.0.0.1", 0), 1.0) as triton,
        serving(create_app(graph, triton), listen("127.0.0.1", 0), 1.0) as url,
        aiohttp.ClientSession() as client,
    ):
        while await status(0.5) != 504:  # until the service time was measured
            await asyncio.sleep(0.01)
        timeouts.clear()
        assert await status(0.5) == 504
        assert timeouts == []
        assert await status(2.0) == 200
    assert timeouts[0] <= 800_000


@dataclass(frozen=True)
class Watched:
    """A diamond's service times, as they were measured."""

    times: ServiceTimes
    dispatcher: Dispatcher

    def model(self, stage: str) -> Model:
        """The first model of a stage."""
        return self.dispatcher.serving(stage)[0]

    def rest(self, stage: str) -> float:
        """What is held from leaving that model's queue to the end."""
        return self.times.held(self.model(stage), self.times.after(stage))


@asynccontextmanager
async def watched(seconds: dict[str, float], table: Table | None = None) -> AsyncIterator[Watched]:
    """Service times of models that take ``seconds``; a model without is one without statistics."""

    async def answer(request: Request) -> Response:
        model = request.path_params["model"]
        if model not in seconds:
            return JSONResponse({"error": "unknown"}, 404)
        return JSONResponse({"model_stats": [statistics("1", 5, seconds[model])]})

    app = Starlette(routes=[Route("/v2/models/{model}/stats", answer)])
    async with serving(app, listen("127.0.0.1", 0), 1.0) as url:
        triton, dispatcher = Triton(url), Dispatcher(DIAMOND)
        dispatcher.replace(table or {})
        times = ServiceTimes(DIAMOND, triton, dispatcher)
        await times.measure(dispatcher.models())
        yield Watched(times, dispatcher)
        await triton.close()


async def test_rest_is_the_longest_way_on() -> None:
    """What remains after a stage's queue: the stage itself and the longest way through what runs on its outputs."""
    async with watched({"a": 0.05, "b": 0.1, "c": 0.125, "d": 0.15}) as diamond:
        assert diamond.rest("a") == pytest.approx(HELD_BACK * (0.05 + 0.1 + 0.15))
        assert diamond.rest("c") == pytest.approx(HELD_BACK * 0.125)
        assert diamond.times.held(diamond.model("a")) == pytest.approx(HELD_BACK * 0.05)


async def test_unknown_times_are_nothing_and_great_ones_bounded() -> None:
    """A stage without statistics holds nothing back; one slower than the SLO leaves half of it and is still tried."""
    async with watched({"d": 30.0}) as diamond:
        assert diamond.rest("c") == 0
        assert diamond.rest("d") == diamond.rest("a") == DIAMOND.slo / 2


async def test_the_slowest_of_a_set_is_what_follows() -> None:
    """A variant's own turn is by its own time; a set that follows is held by the slowest that takes part."""
    table = {"b": {"1": 1.0, "2": 3.0, "3": 0.0}}
    async with watched({"a": 0.05, "b.1": 0.1, "b.2": 0.2, "b.3": 0.4}, table) as diamond:
        own = {
            model.version: diamond.times.held(model) for model in diamond.dispatcher.models() if model.name[0] == "b"
        }
        assert own == {v: pytest.approx(HELD_BACK * s) for v, s in (("1", 0.1), ("2", 0.2), ("3", 0.4))}
        assert diamond.rest("a") == pytest.approx(HELD_BACK * (0.05 + 0.2))


def test_slots_are_replicas_times_batch() -> None:
    """How many requests a model computes at once, from the configuration Triton reports; never none."""
    assert read_slots({"instance_group": [{"count": 2}, {"count": 1}], "max_batch_size": 4}) == 12
    assert read_slots({"instance_group": [{"count": 2}], "max_batch_size": 0}) == 2
    assert read_slots({}) == 1
