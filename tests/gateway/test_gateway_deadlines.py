"""Deadlines through a gateway: what stages are told of them, in which order requests go, and what is told of those that
wait. Over the small server of test_gateway_graph.py.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from ipa_seldon.deadlines import LEVELS, priority
from ipa_seldon.gateway.graph import Graph
from ipa_seldon.plan import Allocation
from ipa_seldon.specs.triton import model_configuration
from tests.gateway.test_gateway_graph import CHAIN, Stages, gateway_over, metrics, post, request_body

ONE = Graph("one", ("a",), (), slo=5.0)


def stamped(stages: Stages, name: str) -> list[Any]:
    """A request parameter, in the order in which stages were sent it; None where they were not."""
    return [body["parameters"].get(name) for _, body in stages.bodies]


def budget(left: str) -> dict[str, str]:
    """The header of a request with so much left."""
    return {"Ipa-Remaining-Slo": left}


async def get(url: str, path: str) -> dict[str, Any]:
    """The JSON at a path."""
    async with aiohttp.ClientSession() as client, client.get(url + path) as got:
        answer: dict[str, Any] = await got.json()
        return answer


async def in_gateway(url: str, count: int) -> None:
    """Until so many requests that were read have come."""
    while len((await get(url, "/queue"))["budgets"]) < count:
        await asyncio.sleep(0.005)


async def test_the_priority_is_what_is_left_at_each_stage() -> None:
    """Quantised, so that a stage that takes its time leaves the next one a lower number; the client's own stands."""
    stages = Stages(gates={"a": asyncio.Event()})
    async with gateway_over(CHAIN, stages) as url:
        answering = asyncio.create_task(post(url, request_body(), headers={"Ipa-Remaining-Slo": "2.5"}))
        await stages.wait_for(1)
        await asyncio.sleep(0.4)  # over a quantum of 5 s / 16
        stages.gates["a"].set()
        await answering
        await post(url, request_body(parameters={"priority": 3}))
    levels = stamped(stages, "priority")
    assert levels[0] == priority(2.49, CHAIN.slo) == 8
    assert levels[0] > levels[1] >= levels[2] >= 1
    assert levels[3:] == [3, 3, 3]


async def test_levels_of_a_repositorys_own_are_left_alone() -> None:
    """What they mean is not known: requests get no priority, other than where a queue goes by deadlines."""
    own = {"dynamic_batching": {"priority_levels": "4", "default_priority_level": "2"}}
    ours = model_configuration({}, 1, Allocation("any", 1, 1, 4), slo=ONE.slo)
    for configuration, priorities in ((own, {None}), (ours, {LEVELS})):
        stages = Stages(configuration=configuration)
        async with gateway_over(ONE, stages) as url:
            async with aiohttp.ClientSession() as client:
                await client.put(url + "/dispatch", json={"a": {"*": 1}})  # which looks at the model first
            await post(url, request_body())
        assert set(stamped(stages, "priority")) == priorities


async def test_the_send_time_leaves_less_of_the_slo() -> None:
    """A request's deadline counts from when it was sent, by the client's clock; what it says is left wins."""
    stages = Stages()
    sent = {"Ipa-Send-Time": f"{time.time() - 2.0:.6f}"}
    async with gateway_over(CHAIN, stages) as url:
        await post(url, request_body(), headers=sent)
        await post(url, request_body(), headers=sent | {"Ipa-Remaining-Slo": "4.5"})
    first, second = stamped(stages, "timeout")[0::3]
    assert 2_000_000 < first <= 3_000_000
    assert 4_000_000 < second <= 4_500_000


async def test_clocks_that_differ_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Requests from the future have the whole SLO; one line says so, and a metric counts them."""
    stages = Stages()
    async with gateway_over(CHAIN, stages) as url:
        for _ in range(3):
            await post(url, request_body(), headers={"Ipa-Send-Time": f"{time.time() + 60:.6f}"})
        await post(url, request_body(), headers={"Ipa-Send-Time": f"{time.time():.6f}"})
        lines = await metrics(url)
    assert all(timeout > 4_000_000 for timeout in stamped(stages, "timeout")[0::3])
    assert 'ipa_gateway_unsynchronised_requests_total{pipeline="chain"} 3.0' in lines
    (told,) = [record.getMessage() for record in caplog.records if record.name.startswith("ipa_seldon")]
    assert re.search(r"Ipa-Send-Time: a request was sent (59|60)\.\d+ s after it arrived", told)


async def test_by_arrival_deadlines_order_nothing() -> None:
    """Requests are let in as they came, without a priority; what is out of time is dropped all the same."""
    for by_deadline in (True, False):
        graph, stages = replace(ONE, by_deadline=by_deadline), Stages(gates={"a": asyncio.Event()})
        async with gateway_over(graph, stages) as url:
            answers = []
            for number, left in enumerate(("4.0", "3.9", "3.8", "3.0", "2.0", "0.1")):
                answers.append(asyncio.create_task(post(url, request_body(id=str(number)), headers=budget(left))))
                await in_gateway(url, number + 1)
            assert (await answers.pop())[0] == 504
            stages.gates["a"].set()
            await asyncio.gather(*answers)
        order = [body["id"] for _, body in stages.bodies]
        assert order == (["0", "1", "4", "3", "2"] if by_deadline else ["0", "1", "2", "3", "4"])
        assert all((level is not None) == by_deadline for level in stamped(stages, "priority"))


async def test_the_queue_tells_what_is_left() -> None:
    """Of those that wait here, and of those let in but the one that is computed; and with what the last ones came."""
    stages = Stages(gates={"a": asyncio.Event()})
    async with gateway_over(ONE, stages) as url:
        answers = []
        for number, left in enumerate(("4.0", "3.0", "2.0", "4.5")):
            answers.append(asyncio.create_task(post(url, request_body(), headers=budget(left))))
            await in_gateway(url, number + 1)
        told = await get(url, "/queue")
        assert [math.ceil(left) for left in told["remaining_slo"]] == [2, 3, 5]
        assert told["budgets"] == pytest.approx([2.0, 3.0, 4.0, 4.5], abs=0.5)
        assert all(left < came for left, came in zip(told["remaining_slo"], (2.0, 3.0, 4.5), strict=True))
        stages.gates["a"].set()
        await asyncio.gather(*answers)
        told = await get(url, "/queue")
    assert told["remaining_slo"] == []
    assert len(told["budgets"]) == 4
