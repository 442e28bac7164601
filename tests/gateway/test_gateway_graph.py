"""Graph shapes, protocol and failures of the gateway, against a small server that speaks Triton's part of the protocol.

What a real Triton does is tested in test_gateway_triton.py.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
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

CHAIN = Graph("chain", ("a", "b", "c"), (("a", "b"), ("b", "c")), slo=5.0)
FORK = Graph("fork", ("a", "b", "c"), (("a", "b"), ("a", "c")), slo=5.0)
DIAMOND = Graph("diamond", ("a", "b", "c", "d"), (("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")), slo=5.0)


@dataclass
class Stages:
    """Appends each stage's name to the data of tensor ``x``. ``bodies`` and ``headers``: what each stage was sent, in
    order. ``answers`` replaces a stage's answer; a stage with a ``gate`` answers when the event is set. All have the
    ``configuration``.
    """

    answers: dict[str, Response] = field(default_factory=dict)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    bodies: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    configuration: dict[str, Any] | None = None
    puids: list[str] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def infer(self, request: Request) -> Response:
        """One stage's answer."""
        stage, body = request.path_params["stage"], await request.json()
        async with self.arrived:
            self.bodies.append((stage, body))
            self.puids.append(request.headers["Seldon-Puid"])
            self.arrived.notify_all()
        if stage in self.gates:
            await self.gates[stage].wait()
        if stage in self.answers:
            return self.answers[stage]
        outputs = [{**tensor, "data": [*tensor["data"], stage]} for tensor in body["inputs"]]
        return JSONResponse({"model_name": stage, "model_version": "2", "outputs": outputs})

    async def configured(self, request: Request) -> Response:
        """The configuration of a stage."""
        del request
        return JSONResponse(self.configuration, 404 if self.configuration is None else 200)

    async def wait_for(self, count: int) -> None:
        """Until ``count`` requests have arrived."""
        async with self.arrived:
            await asyncio.wait_for(self.arrived.wait_for(lambda: len(self.bodies) >= count), 10)

    def sent(self, stage: str) -> list[dict[str, Any]]:
        """The bodies one stage was sent."""
        return [body for name, body in self.bodies if name == stage]

    def app(self) -> Starlette:
        """The server."""
        stage = "/v2/models/{stage}"
        return Starlette(
            routes=[Route(f"{stage}/infer", self.infer, methods=["POST"]), Route(f"{stage}/config", self.configured)]
        )


@asynccontextmanager
async def gateway_over(graph: Graph, stages: Stages) -> AsyncIterator[str]:
    """The URL of a gateway over ``stages``."""
    async with (
        serving(stages.app(), listen("127.0.0.1", 0), 5.0) as triton,
        serving(create_app(graph, triton), listen("127.0.0.1", 0), 5.0) as url,
    ):
        yield url


def request_body(**more: Any) -> dict[str, Any]:
    """A request whose one tensor records the way it goes."""
    return {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "BYTES", "data": ["start"]}], **more}


async def post(
    url: str, body: Any, path: str = "/v2/models/infer", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    """Status, JSON and headers of one answer; ``body`` is sent as it is when it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with (
        aiohttp.ClientSession() as client,
        client.post(url + path, data=content, headers={"Content-Type": "application/json", **(headers or {})}) as got,
    ):
        return got.status, await got.json(), got.headers


async def metrics(url: str) -> list[str]:
    """The lines of /metrics."""
    async with aiohttp.ClientSession() as client, client.get(url + "/metrics") as got:
        assert got.headers["Content-Type"].startswith("text/plain; version=")
        return (await got.text()).splitlines()


async def test_chain_feeds_outputs_to_the_next_stage() -> None:
    """Every stage gets the outputs of the one before as inputs, under its own name; the last one's answer returns."""
    stages = Stages()
    async with gateway_over(CHAIN, stages) as url:
        status, answer, headers = await post(url, request_body())
    assert status == 200
    assert answer["model_name"] == "c"
    assert answer["outputs"][0]["data"] == ["start", "a", "b", "c"]
    assert headers["Ipa-Versions"] == "a=2;b=2;c=2"
    assert [stage for stage, _ in stages.bodies] == ["a", "b", "c"]
    assert set(stages.sent("b")[0]) == {"inputs", "parameters"}
    assert set(stages.sent("b")[0]["inputs"][0]) == {"name", "shape", "datatype", "data"}
    # Who speaks JSON is served in JSON throughout.
    assert headers["Content-Type"] == "application/json"
    assert all(set(body["parameters"]) == {"timeout", "priority"} for _, body in stages.bodies)


async def test_children_run_side_by_side_and_the_first_answers() -> None:
    """Several children are under way at the same time, each on the parent's outputs; the first child's answer wins."""
    stages = Stages(gates={"b": asyncio.Event(), "c": asyncio.Event()})
    async with gateway_over(FORK, stages) as url:
        answering = asyncio.create_task(post(url, request_body()))
        await stages.wait_for(3)
        stages.gates["c"].set()
        stages.gates["b"].set()
        status, answer, headers = await answering
    assert status == 200
    assert answer["outputs"][0]["data"] == ["start", "a", "b"]
    assert stages.sent("c")[0]["inputs"][0]["data"] == ["start", "a"]
    assert headers["Ipa-Versions"] == "a=2;b=2;c=2"


async def test_failing_child_fails_the_request() -> None:
    """The failure of a child that does not answer the client still fails the request, as in Seldon's executor."""
    stages = Stages(answers={"c": JSONResponse({"error": "no such tensor"}, 400)})
    async with gateway_over(FORK, stages) as url:
        status, answer, _ = await post(url, request_body())
    assert status == 400
    assert answer == {"error": "stage 'c': no such tensor"}


async def test_shared_stage_runs_once_on_its_first_parent() -> None:
    """A stage with two parents runs once per request, on the outputs of the parent named first."""
    stages = Stages()
    async with gateway_over(DIAMOND, stages) as url:
        status, answer, _ = await post(url, request_body())
    assert status == 200
    assert answer["outputs"][0]["data"] == ["start", "a", "b", "d"]
    assert sorted(stage for stage, _ in stages.bodies) == ["a", "b", "c", "d"]


async def test_id_and_parameters_reach_every_stage_and_outputs_only_the_last() -> None:
    """The caller's id and parameters go along; the outputs it asks for are asked of the answering stage alone."""
    stages = Stages()
    wanted = [{"name": "x"}]
    async with gateway_over(CHAIN, stages) as url:
        await post(url, request_body(id="7", parameters={"priority": 2}, outputs=wanted))
    for _, body in stages.bodies:
        assert body["id"] == "7"
        assert body["parameters"]["priority"] == 2
    assert [body.get("outputs") for _, body in stages.bodies] == [None, None, wanted]


async def test_budget_shrinks_from_stage_to_stage() -> None:
    """Each stage is sent the remaining budget in microseconds, never more than the one before; a shorter one stands."""
    stages = Stages()
    async with gateway_over(CHAIN, stages) as url:
        await post(url, request_body(), headers={"Ipa-Remaining-Slo": "2.5"})
        await post(url, request_body())
        await post(url, request_body(parameters={"timeout": 1000}))
    sent = [body["parameters"]["timeout"] for _, body in stages.bodies]
    assert all(isinstance(timeout, int) for timeout in sent)
    assert 2_500_000 > sent[0] > sent[1] > sent[2] > 0
    assert 5_000_000 > sent[3] > 2_500_000
    assert sent[6:] == [1000, 1000, 1000]


async def test_used_up_budget_is_dropped_at_the_next_stage() -> None:
    """A stage that answers past the deadline makes the request end with 504 at the next one, counted as its drop."""
    stages = Stages(gates={"a": asyncio.Event()})
    async with gateway_over(CHAIN, stages) as url:
        answering = asyncio.create_task(post(url, request_body(), headers={"Ipa-Remaining-Slo": "0.05"}))
        await stages.wait_for(1)
        await asyncio.sleep(0.06)  # past the deadline, inside the grace
        stages.gates["a"].set()
        status, answer, headers = await answering
        lines = await metrics(url)
    assert status == 504
    assert "can no longer make its SLO" in answer["error"]
    assert headers["Seldon-Puid"]
    assert stages.sent("b") == []
    drops = [line for line in lines if line.startswith("ipa_gateway_drops_total") and line.endswith(" 1.0")]
    assert len(drops) == 1
    assert 'ipa_gateway_requests_total{code="504",outcome="dropped",pipeline="chain"} 1.0' in lines


async def test_stage_that_hangs_is_left_after_the_budget() -> None:
    """A stage that never answers does not hold the client much longer than its budget: 504 at that stage."""
    stages = Stages(gates={"b": asyncio.Event()})
    async with gateway_over(CHAIN, stages) as url:
        status, _, _ = await asyncio.wait_for(post(url, request_body(), headers={"Ipa-Remaining-Slo": "0.2"}), 10)
        lines = await metrics(url)
        stages.gates["b"].set()
    assert status == 504
    assert 'ipa_gateway_drops_total{pipeline="chain",stage="b"} 1.0' in lines


async def test_budget_of_nothing_is_dropped_at_the_first_stage() -> None:
    """A request that arrives too late reaches no stage, and still counts as an arrival."""
    stages = Stages()
    async with gateway_over(CHAIN, stages) as url:
        status, _, _ = await post(url, request_body(), headers={"Ipa-Remaining-Slo": "-0.1"})
        lines = await metrics(url)
    assert status == 504
    assert stages.bodies == []
    assert 'ipa_gateway_drops_total{pipeline="chain",stage="a"} 1.0' in lines


async def test_puid_is_kept_or_made() -> None:
    """A Seldon-Puid travels to every stage and back; a request without one gets a fresh one."""
    stages = Stages()
    async with gateway_over(CHAIN, stages) as url:
        _, _, mine = await post(url, request_body(), headers={"Seldon-Puid": "mine"})
        _, _, first = await post(url, request_body())
        _, _, second = await post(url, request_body())
    assert mine["Seldon-Puid"] == "mine"
    assert stages.puids[:3] == ["mine"] * 3
    assert stages.puids[3:6] == [first["Seldon-Puid"]] * 3
    assert first["Seldon-Puid"] != second["Seldon-Puid"]


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (b"{", {}, "JSON"),
        (b"\xff\xfe\x00", {}, "JSON"),
        (b"[1]", {}, "JSON object"),
        (b'{"inputs": 1}', {}, "inputs"),
        (b'{"inputs": [], "parameters": null}', {}, "parameters"),
        (b'{"inputs": []}', {"Ipa-Remaining-Slo": "soon"}, "Ipa-Remaining-Slo"),
        (b'{"inputs": []}', {"Ipa-Remaining-Slo": "nan"}, "Ipa-Remaining-Slo"),
        (b'{"inputs": []}', {"Ipa-Send-Time": "noon"}, "Ipa-Send-Time"),
    ],
)
async def test_bad_requests_are_refused(body: bytes, headers: dict[str, str], words: str) -> None:
    """What cannot be served is a 400 in the v2 error format that says why, and reaches no stage."""
    stages = Stages()
    async with gateway_over(CHAIN, stages) as url:
        status, answer, _ = await post(url, body, headers=headers)
    assert status == 400
    assert words in answer["error"]
    assert stages.bodies == []


@pytest.mark.parametrize("path", ["/v2/models/nosuch/infer", "/v2/models/nosuch/versions/1/infer", "/v2/nothing"])
async def test_unknown_models_and_routes_are_404(path: str) -> None:
    """A model that is no stage, or no route at all: 404 in the v2 error format."""
    async with gateway_over(CHAIN, Stages()) as url:
        status, answer, _ = await post(url, request_body(), path)
    assert status == 404
    assert set(answer) == {"error"}


async def test_answer_that_is_no_response_is_502() -> None:
    """A server that answers 200 with something else is reported as a bad gateway."""
    stages = Stages(answers={"a": Response("<html>")})
    async with gateway_over(CHAIN, stages) as url:
        status, answer, _ = await post(url, request_body())
    assert status == 502
    assert "stage 'a'" in answer["error"]


async def test_absent_server_is_503() -> None:
    """Where nobody listens: 503 and the v2 error format, live, but not ready."""
    with listen("127.0.0.1", 0) as closed:
        port = closed.getsockname()[1]
    app = create_app(CHAIN, f"http://127.0.0.1:{port}")
    async with serving(app, listen("127.0.0.1", 0), 1.0) as url, aiohttp.ClientSession() as client:
        status, answer, _ = await post(url, request_body())
        assert status == 503
        assert "does not answer" in answer["error"]
        async with client.get(url + "/v2/health/live") as live, client.get(url + "/v2/health/ready") as ready:
            assert live.status == 200
            assert ready.status == 503
            assert await ready.json() == {"error": "not ready: a, b, c"}


async def test_requests_under_way_are_finished_at_the_end() -> None:
    """Stopping the gateway waits for the request that is being answered."""
    stages = Stages(gates={"c": asyncio.Event()})
    async with serving(stages.app(), listen("127.0.0.1", 0), 5.0) as triton:
        async with serving(create_app(CHAIN, triton), listen("127.0.0.1", 0), 5.0) as url:
            answering = asyncio.create_task(post(url, request_body()))
            await stages.wait_for(3)
            asyncio.get_running_loop().call_later(0.1, stages.gates["c"].set)
        status, _, _ = await answering
    assert status == 200


async def test_variants_are_named_where_known() -> None:
    """A graph that knows the versions' names reports them in Ipa-Variants."""
    named = Graph("chain", ("a", "b"), (("a", "b"),), 5.0, {"a": {"2": "large"}, "b": {"1": "small"}})
    async with gateway_over(named, Stages()) as url:
        _, _, headers = await post(url, request_body())
    assert headers["Ipa-Versions"] == "a=2;b=2"
    assert headers["Ipa-Variants"] == "a=large"
