"""Service times from Triton's statistics, and what they do to a request's longest wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ipa_seldon.asgi import listen, serving
from ipa_seldon.gateway.app import create_app
from ipa_seldon.gateway.graph import Graph
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


@asynccontextmanager
async def watched(seconds: dict[str, float]) -> AsyncIterator[ServiceTimes]:
    """Service times of stages that take ``seconds``; a stage without is one without statistics."""
    asked: set[str] = set()
    all_asked = asyncio.Event()

    async def answer(request: Request) -> Response:
        stage = request.path_params["stage"]
        asked.add(stage)
        if asked == set(DIAMOND.stages):
            all_asked.set()
        if stage not in seconds:
            return JSONResponse({"error": "unknown"}, 404)
        return JSONResponse({"model_stats": [statistics("1", 5, seconds[stage])]})

    app = Starlette(routes=[Route("/v2/models/{stage}/stats", answer)])
    async with serving(app, listen("127.0.0.1", 0), 1.0) as url:
        triton = Triton(url)
        times = ServiceTimes(DIAMOND, triton)
        watching = asyncio.create_task(times.watch())
        await asyncio.wait_for(all_asked.wait(), 10)
        while any(times.stage(stage) == 0 for stage in seconds):
            await asyncio.sleep(0.005)
        watching.cancel()
        yield times
        await triton.close()


async def test_rest_is_the_longest_way_on() -> None:
    """What remains after a stage's queue: the stage itself and the longest way through what runs on its outputs."""
    async with watched({"a": 0.05, "b": 0.1, "c": 0.125, "d": 0.15}) as times:
        assert times.rest("a") == pytest.approx(HELD_BACK * (0.05 + 0.1 + 0.15))
        assert times.rest("c") == pytest.approx(HELD_BACK * 0.125)
        assert times.stage("a") == pytest.approx(HELD_BACK * 0.05)


async def test_unknown_times_are_nothing_and_great_ones_bounded() -> None:
    """A stage without statistics holds nothing back; one slower than the SLO leaves half of it and is still tried."""
    async with watched({"d": 30.0}) as times:
        assert times.rest("c") == 0
        assert times.rest("d") == times.rest("a") == DIAMOND.slo / 2


def test_slots_are_replicas_times_batch() -> None:
    """How many requests a model computes at once, from the configuration Triton reports; never none."""
    assert read_slots({"instance_group": [{"count": 2}, {"count": 1}], "max_batch_size": 4}) == 12
    assert read_slots({"instance_group": [{"count": 2}], "max_batch_size": 0}) == 2
    assert read_slots({}) == 1
