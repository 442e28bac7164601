"""A gateway that shares a stage's requests among a set of variants, over a small server that speaks Triton's protocol.

What a real Triton does with sets is tested in tests/platforms/test_local_sets.py.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
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
from ipa_seldon.gateway.metrics import OF_GATEWAY
from tests.expositions import assert_catalogued
from tests.gateway.test_gateway_graph import metrics, post, request_body

SET = Graph("set", ("a",), (), slo=5.0, variants={"a": {"1": "light", "2": "middle", "3": "heavy"}})
UNKNOWN = JSONResponse({"error": "Request for unknown model: 'a.1' is not found"}, 404)
DEAD = JSONResponse({"error": "Stub process 'a.1_0_0' is not healthy."}, 500)
AWAY = JSONResponse({"error": "unavailable"}, 503)


@dataclass
class Models:
    """Models named ``a.<version>``. ``answers`` replaces a model's answer, ``gates`` holds one back; ``slots`` and
    ``seconds`` are what they are said to compute at once, and to take. ``asked`` counts the requests they got.
    """

    answers: dict[str, Response] = field(default_factory=dict)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    slots: int = 100
    seconds: float = 0.0
    asked: Counter[str] = field(default_factory=Counter)
    ready: set[str] = field(default_factory=lambda: {"a.1", "a.2", "a.3"})

    async def infer(self, request: Request) -> Response:
        """One answer."""
        model = request.path_params["model"]
        self.asked[model] += 1
        body = await request.json()
        if model in self.gates:
            await self.gates[model].wait()
        outputs = body["inputs"]
        answer = {"model_name": model, "model_version": model.rpartition(".")[2], "outputs": outputs}
        return self.answers.get(model) or JSONResponse(answer)

    async def tell(self, request: Request) -> Response:
        """A model's statistics, configuration, readiness or metadata."""
        model, part = request.path_params["model"], request.path_params.get("part", "")
        nothing, spent = {"count": 1, "ns": 0}, {"count": 1, "ns": int(self.seconds * 1e9)}
        times = {"success": nothing, "compute_input": nothing, "compute_infer": spent, "compute_output": nothing}
        told: Mapping[str, Any] = {
            "stats": {"model_stats": [{"version": "1", "inference_stats": times}]},
            "config": {"max_batch_size": self.slots, "instance_group": [{"count": 1}]},
            "ready": {},
            "": {"name": model},
        }
        return JSONResponse(told[part], 200 if part != "ready" or model in self.ready else 400)

    def app(self) -> Starlette:
        """The server."""
        model = "/v2/models/{model}"
        return Starlette(
            routes=[
                Route(f"{model}/infer", self.infer, methods=["POST"]),
                Route(f"{model}/{{part}}", self.tell),
                Route(model, self.tell),
            ]
        )


@asynccontextmanager
async def gateway_over(models: Models, weights: Mapping[str, float], slo: float = SET.slo) -> AsyncIterator[str]:
    """The URL of a gateway that shares requests by ``weights``, under an SLO in seconds."""
    async with (
        serving(models.app(), listen("127.0.0.1", 0), 5.0) as triton,
        serving(create_app(replace(SET, slo=slo), triton), listen("127.0.0.1", 0), 5.0) as url,
    ):
        assert (await dispatch(url, weights))[0] == 200
        yield url


async def dispatch(url: str, weights: Mapping[str, float] | None = None) -> tuple[int, dict[str, Any]]:
    """Put a table of stage a; by default get the one that there is. The status and what is told of the stage."""
    content = None if weights is None else json.dumps({"a": weights})
    async with (
        aiohttp.ClientSession() as client,
        client.request("GET" if weights is None else "PUT", url + "/dispatch", data=content) as got,
    ):
        answer = await got.json()
        return got.status, answer.get("a", answer)


async def answered(url: str, count: int) -> Counter[str]:
    """How many of ``count`` requests, one after the other, each variant answered; all must be answered."""
    variants: Counter[str] = Counter()
    for _ in range(count):
        status, answer, headers = await post(url, request_body())
        assert status == 200, answer
        variants[headers["Ipa-Variants"].removeprefix("a=")] += 1
    return variants


async def test_variants_get_their_shares_and_are_named() -> None:
    """Each variant answers exactly its share, under its name in the headers and its version in the metrics, which are
    as catalogued.
    """
    models = Models()
    async with gateway_over(models, {"1": 0.2, "2": 0.5, "3": 0.3}) as url:
        assert await answered(url, 50) == {"light": 10, "middle": 25, "heavy": 15}
        _, _, headers = await post(url, request_body())
        lines = await metrics(url)
    assert headers["Ipa-Versions"] == "a=2"
    assert_catalogued("\n".join([*lines, ""]), OF_GATEWAY)
    assert models.asked == {"a.1": 10, "a.2": 26, "a.3": 15}
    assert 'ipa_gateway_stage_requests_total{pipeline="set",stage="a",version="3"} 15.0' in lines


async def test_a_new_table_takes_effect_at_once_and_whole() -> None:
    """Requests that come after it go by it alone; those under way are finished where they are, and are told."""
    models = Models(gates={"a.1": asyncio.Event()})
    async with gateway_over(models, {"1": 1.0}) as url:
        waiting = [asyncio.create_task(post(url, request_body())) for _ in range(3)]
        while models.asked["a.1"] < 3:
            await asyncio.sleep(0.005)
        _, told = await dispatch(url, {"2": 0.5, "3": 0.5})
        assert told["1"] == {"weight": 0.0, "in_flight": 3, "healthy": True}
        assert await answered(url, 10) == {"middle": 5, "heavy": 5}
        models.gates["a.1"].set()
        assert [status for status, _, _ in await asyncio.gather(*waiting)] == [200] * 3
        assert (await dispatch(url))[1] == {
            version: {"weight": 0.5, "in_flight": 0, "healthy": True} for version in ("2", "3")
        }
    assert models.asked["a.1"] == 3


@pytest.mark.parametrize("fault", [UNKNOWN, DEAD, AWAY], ids=["unknown", "dead", "away"])
async def test_a_dead_variant_costs_no_request(fault: Response) -> None:
    """The request that meets it is sent to another one, and later ones go to the others by their weights; once it says
    that it is ready it has its share again.
    """
    models = Models(answers={"a.1": fault}, ready={"a.2", "a.3"})
    async with gateway_over(models, {"1": 0.5, "2": 0.2, "3": 0.3}) as url:
        assert (await answered(url, 20)).keys() == {"middle", "heavy"}
        assert models.asked["a.1"] == 1
        assert not (await dispatch(url))[1]["1"]["healthy"]
        models.answers.clear()
        models.ready.add("a.1")
        while not (await dispatch(url))[1]["1"]["healthy"]:
            await asyncio.sleep(0.01)
        assert (await answered(url, 20))["light"] == pytest.approx(10, abs=1)


async def test_a_variant_that_hangs_is_left_alone() -> None:
    """A variant that has answered nobody for an SLO loses the requests that wait for it, once; then the others have its
    share, but for single trials, since it calls itself ready.
    """
    models = Models(gates={"a.1": asyncio.Event()})
    async with gateway_over(models, {"1": 0.5, "2": 0.5}, slo=0.2) as url:
        first = await asyncio.gather(*(post(url, request_body()) for _ in range(10)))
        assert Counter(status for status, _, _ in first) == {200: 5, 504: 5}
        later = Counter([(await post(url, request_body()))[0] for _ in range(30)])
        assert later[504] <= 1
        assert models.asked["a.1"] <= 6
        models.gates["a.1"].set()


async def test_a_variant_that_is_slow_is_not_at_fault() -> None:
    """Requests that had little time left are lost to a slow start; those that have more wait where their turn was."""
    models = Models(gates={"a.1": asyncio.Event()})
    async with gateway_over(models, {"1": 0.5, "2": 0.5}) as url:
        waiting = [asyncio.create_task(post(url, request_body())) for _ in range(8)]
        while models.asked["a.1"] < 4:
            await asyncio.sleep(0.005)
        late = await asyncio.gather(
            *(post(url, request_body(), headers={"Ipa-Remaining-Slo": "0.1"}) for _ in range(2))
        )
        assert 504 in [status for status, _, _ in late]
        assert (await dispatch(url))[1]["1"]["healthy"]
        models.gates["a.1"].set()
        assert Counter(told["Ipa-Variants"] for _, _, told in await asyncio.gather(*waiting)) == {
            "a=light": 4,
            "a=middle": 4,
        }


async def test_a_request_outlives_any_number_of_faults() -> None:
    """One that two variants in a row could not serve is answered by the third."""
    models = Models(answers={"a.1": AWAY, "a.2": DEAD}, ready=set())
    async with gateway_over(models, {"1": 0.4, "2": 0.4, "3": 0.2}) as url:
        assert await answered(url, 5) == {"heavy": 5}
    assert models.asked == {"a.1": 1, "a.2": 1, "a.3": 5}


async def test_those_that_wait_for_a_dead_variant_are_sent_to_others() -> None:
    """Requests in the queue of a variant do not share its fate: once it is known to be dead others answer them."""
    models = Models(answers={"a.1": DEAD}, gates={"a.1": asyncio.Event()}, slots=1, ready=set())
    async with gateway_over(models, {"1": 1.0, "2": 0.0}) as url:
        requests = [asyncio.create_task(post(url, request_body())) for _ in range(6)]
        while models.asked["a.1"] < 2 or (await dispatch(url))[1]["1"]["in_flight"] < 6:
            await asyncio.sleep(0.005)
        models.gates["a.1"].set()
        assert [(status, told["Ipa-Variants"]) for status, _, told in await asyncio.gather(*requests)] == [
            (200, "a=middle")
        ] * 6
    assert models.asked == {"a.1": 2, "a.2": 6}


async def test_a_fault_that_all_share_reaches_the_client() -> None:
    """A request is sent to each once; where no other variant is healthy the client learns what is wrong."""
    models = Models(answers={"a.1": AWAY, "a.2": AWAY}, ready=set())
    async with gateway_over(models, {"1": 0.5, "2": 0.5}) as url:
        status, answer, _ = await post(url, request_body())
        assert (status, answer) == (503, {"error": "stage 'a': unavailable"})
        assert sum(models.asked.values()) == 2
        assert (await post(url, request_body()))[0] == 503
        models.answers.clear()
        assert (await post(url, request_body()))[0] == 200, "all are tried while none is healthy"


async def test_a_bad_request_is_no_fault_of_the_variant() -> None:
    """What a model refuses is told to its client, is not sent to another one, and leaves the model healthy."""
    for status, words in ((400, "unexpected inference input 'unknown model'"), (500, "number must not be negative")):
        models = Models(answers={"a.1": JSONResponse({"error": words}, status)})
        async with gateway_over(models, {"1": 1.0, "2": 0.0}) as url:
            got, answer, _ = await post(url, request_body())
            assert (got, answer["error"]) == (status, f"stage 'a': {words}")
            assert (await dispatch(url))[1]["1"]["healthy"]
        assert models.asked == {"a.1": 1}


async def test_an_overloaded_variant_is_relieved_then_requests_are_dropped() -> None:
    """Requests that one variant cannot serve in time go to the other; once both are full, late ones are dropped: no
    request fails otherwise, and all that were let in are answered.
    """
    gates = {"a.1": asyncio.Event(), "a.2": asyncio.Event()}
    models = Models(gates=gates, slots=1, seconds=0.5)
    async with gateway_over(models, {"1": 0.9, "2": 0.1}) as url:
        # One runs and one stands ready in each; with 0.5 s a round and 2 x 0.5 s held, 1.2 s allow no round of waiting.
        requests = [
            asyncio.create_task(post(url, request_body(), headers={"Ipa-Remaining-Slo": "1.2"})) for _ in range(8)
        ]
        while models.asked.total() < 4:
            await asyncio.sleep(0.005)
        assert models.asked == {"a.1": 2, "a.2": 2}
        while sum(task.done() for task in requests) < 4:
            await asyncio.sleep(0.005)
        for gate in gates.values():
            gate.set()
        statuses = Counter(status for status, _, _ in await asyncio.gather(*requests))
    assert statuses == {200: 4, 504: 4}


async def test_a_version_of_a_set_can_be_asked_for() -> None:
    """The routes of one version, and those of the stage, lead to the models of the set."""
    models = Models(ready={"a.2"})
    async with gateway_over(models, {"1": 1.0, "2": 0.5}) as url, aiohttp.ClientSession() as client:
        _, _, headers = await post(url, request_body(), "/v2/models/a/versions/2/infer")
        assert headers["Ipa-Versions"] == "a=2"
        status, answer, _ = await post(url, request_body(), "/v2/models/a/versions/3/infer")
        assert (status, answer["error"]) == (404, "stage 'a': version 3 is not served; accepted: 1, 2")
        async with client.get(url + "/v2/models/a/versions/2") as got:
            assert await got.json() == {"name": "a.2"}
        for path, expected in (
            ("/v2/models/a/versions/2/ready", 200),
            ("/v2/models/a/versions/1/ready", 400),
            ("/v2/health/ready", 200),
        ):
            async with client.get(url + path) as got:
                assert got.status == expected, path
        models.ready.clear()
        async with client.get(url + "/v2/health/ready") as got:
            assert got.status == 503


async def test_a_wrong_table_changes_nothing() -> None:
    """One line says what is wrong, and requests go by the table before."""
    async with gateway_over(Models(), {"1": 1.0}) as url:
        status, answer = await dispatch(url, {"4": 1.0})
        assert (status, answer["error"]) == (400, "dispatch: stage 'a': version '4': accepted: *, 1, 2, 3")
        assert await answered(url, 3) == {"light": 3}


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", 400), ("::1", 400), ("::ffff:127.0.0.1", 400), ("10.0.0.7", 403), ("::ffff:10.0.0.7", 403)],
)
async def test_tables_come_from_this_machine_only(host: str, status: int) -> None:
    """A client elsewhere is refused whatever it sends; of one here the (wrong) table is looked at."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "PUT",
        "path": "/dispatch",
        "headers": [],
        "query_string": b"",
        "client": (host, 1),
    }
    await create_app(SET, "http://127.0.0.1:1")(scope, receive, send)
    assert sent[0]["status"] == status
