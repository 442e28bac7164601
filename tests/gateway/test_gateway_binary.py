"""Binary tensors through the gateway, over a small server that takes and gives them: they are passed on as they are.

What is refused is tested in test_messages.py, what a real Triton makes of them in test_binary_triton.py.
"""

from __future__ import annotations

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
from ipa_seldon.gateway.intake import LARGEST
from ipa_seldon.gateway.messages import HEADER_LENGTH, Body, Message
from tests.gateway.test_gateway_graph import CHAIN, FORK
from tests.gateway.test_gateway_sets import SET, dispatch

PIXELS = bytes(range(256)) * 3
"""768 bytes of every value, so that whatever takes them for text does not give them back."""


@dataclass
class Echo:
    """Answers the tensors that it is asked, all in binary where that is asked for. ``asked``: model, JSON and raw bytes
    of each request, in order; ``encodings``: in which of them the answers might have been compressed. ``answers``
    replaces a model's answer.
    """

    answers: dict[str, Response] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any], bytes]] = field(default_factory=list)
    encodings: set[str] = field(default_factory=set)

    async def infer(self, request: Request) -> Response:
        """One answer."""
        model, content = request.path_params["model"], await request.body()
        size = int(request.headers.get(HEADER_LENGTH, len(content)))
        fields, raw = json.loads(content[:size]), content[size:]
        self.asked.append((model, fields, raw))
        self.encodings.add(request.headers["Accept-Encoding"])
        if model in self.answers:
            return self.answers[model]
        answer = {"model_name": model, "model_version": "1", "outputs": fields["inputs"]}
        body = Message(answer, raw if raw or fields["parameters"].get("binary_data_output") else None).body()
        return Response(body.content, headers=body.headers)

    def app(self) -> Starlette:
        """The server."""
        return Starlette(routes=[Route("/v2/models/{model}/infer", self.infer, methods=["POST"])])

    def sent(self, model: str) -> tuple[dict[str, Any], bytes]:
        """The one request to a model."""
        [(fields, raw)] = [(fields, raw) for name, fields, raw in self.asked if name == model]
        return fields, raw


@asynccontextmanager
async def gateway_over(graph: Graph, echo: Echo) -> AsyncIterator[str]:
    """The URL of a gateway over ``echo``."""
    async with (
        serving(echo.app(), listen("127.0.0.1", 0), 5.0) as triton,
        serving(create_app(graph, triton), listen("127.0.0.1", 0), 5.0) as url,
    ):
        yield url


async def post(url: str, body: Body) -> tuple[int, dict[str, Any], bytes, Mapping[str, str]]:
    """Status, JSON, raw bytes and headers of the answer."""
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{url}/v2/models/infer", data=body.content, headers=body.headers) as got,
    ):
        content = await got.read()
        size = int(got.headers.get(HEADER_LENGTH, len(content)))
        return got.status, json.loads(content[:size]), content[size:], got.headers


def tensor(**fields: Any) -> dict[str, Any]:
    """A picture in binary, with other ``fields``; those that are None are left out."""
    size = {"binary_data_size": len(PIXELS)}
    made = {"name": "x", "shape": [1, 3, 16, 16], "datatype": "UINT8", "parameters": size} | fields
    return {key: value for key, value in made.items() if value is not None}


async def test_binary_tensors_are_passed_on_from_stage_to_stage() -> None:
    """The bytes reach every stage untouched, with id, deadline and the client's parameters in the JSON. Stages in
    between are asked for binary answers, the last one for what the client asks, and its bytes are the answer's.
    """
    echo = Echo()
    wanted = [{"name": "x", "parameters": {"binary_data": True}}]
    request = {"id": "7", "inputs": [tensor()], "outputs": wanted, "parameters": {"priority": 3}}
    async with gateway_over(CHAIN, echo) as url:
        status, answer, raw, headers = await post(url, Message(request, PIXELS).body())
    assert status == 200
    assert (answer["model_name"], answer["outputs"], raw) == ("c", [tensor()], PIXELS)
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Ipa-Versions"] == "a=1;b=1;c=1"
    assert echo.encodings == {"identity"}
    assert [model for model, _, _ in echo.asked] == ["a", "b", "c"]
    for model in "abc":
        fields, bytes_sent = echo.sent(model)
        assert (fields["id"], fields["inputs"], bytes_sent) == ("7", [tensor()], PIXELS)
        assert fields["parameters"]["priority"] == 3
        assert 0 < fields["parameters"]["timeout"] <= 5_000_000
        assert fields["parameters"].get("binary_data_output", False) is (model != "c")
        assert fields.get("outputs") == (wanted if model == "c" else None)


@pytest.mark.parametrize(
    "wish",
    [{"parameters": {"binary_data_output": True}}, {"outputs": [{"name": "x", "parameters": {"binary_data": 1}}]}],
)
async def test_who_asks_for_binary_gets_it_in_between_too(wish: dict[str, Any]) -> None:
    """A request in JSON that asks for binary outputs, either way, is binary from its first answer on."""
    echo = Echo(answers={"a": binary_answer([tensor()], PIXELS)})
    request = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [0.5]}], **wish}
    async with gateway_over(CHAIN, echo) as url:
        status, _, raw, _ = await post(url, Message(request).body())
    assert (status, raw) == (200, PIXELS)
    assert echo.sent("a")[0]["parameters"]["binary_data_output"] is True
    assert [echo.sent(stage)[1] for stage in "abc"] == [b"", PIXELS, PIXELS]


def binary_answer(outputs: list[Any], raw: bytes, length: str | None = None) -> Response:
    """A stage's answer; ``length`` in place of that of its JSON."""
    body = Message({"model_name": "a", "outputs": outputs}, raw).body()
    return Response(body.content, headers=body.headers | ({} if length is None else {HEADER_LENGTH: length}))


async def test_tensors_may_be_of_either_kind_in_one_request() -> None:
    """Of binary tensors and tensors in JSON, in any order, each stays what it is."""
    inputs = [tensor(name="p"), {"name": "q", "shape": [1], "datatype": "INT8", "data": [4]}, tensor(name="r")]
    other = PIXELS[::-1]
    async with gateway_over(FORK, echo := Echo()) as url:
        status, answer, raw, _ = await post(url, Message({"inputs": inputs}, PIXELS + other).body())
    assert (status, answer["outputs"], raw) == (200, inputs, PIXELS + other)
    assert [echo.sent(stage)[1] for stage in "abc"] == [PIXELS + other] * 3


async def test_a_binary_request_is_whole_when_it_is_tried_again() -> None:
    """It goes by shares among variants, and one that was with a server which is gone is sent to another as it was."""
    echo = Echo(answers={"a.1": JSONResponse({"error": "unavailable"}, 503)})
    async with gateway_over(SET, echo) as url:
        await dispatch(url, {"1": 0.5, "3": 0.5})
        for _ in range(2):
            status, _, raw, _ = await post(url, Message({"inputs": [tensor()]}, PIXELS).body())
            assert (status, raw) == (200, PIXELS)
    assert [model for model, _, _ in echo.asked] == ["a.1", "a.3", "a.3"]
    assert {raw for _, _, raw in echo.asked} == {PIXELS}


async def test_a_tensor_without_elements_has_no_bytes() -> None:
    """Triton leaves the header out where all binary tensors of an answer are empty: none is taken for another."""
    nothing = tensor(shape=[0, 3], parameters={"binary_data_size": 0})
    echo = Echo(answers={"a": JSONResponse({"outputs": [nothing]})})
    async with gateway_over(CHAIN, echo) as url:
        status, answer, raw, _ = await post(url, Message({"inputs": [nothing]}, b"").body())
    assert (status, answer["outputs"], raw) == (200, [nothing], b"")


@pytest.mark.parametrize(
    "answer",
    [
        binary_answer([tensor()], PIXELS, length="100000"),
        binary_answer([tensor()], PIXELS[1:]),
        binary_answer([tensor(datatype="FP64")], PIXELS),
        binary_answer([tensor()], PIXELS, length="x"),
    ],
    ids=["length", "bytes", "datatype", "no length"],
)
async def test_a_stage_that_answers_so_is_a_bad_gateway(answer: Response) -> None:
    """What does not fit together in an answer is a 502 that names the stage, and not handed to the next one."""
    async with gateway_over(CHAIN, echo := Echo(answers={"a": answer})) as url:
        status, told, _, _ = await post(url, Message({"inputs": [tensor()]}, PIXELS).body())
    assert status == 502
    assert told["error"].startswith("stage 'a': the server's answer is no v2 inference response; ")
    assert [model for model, _, _ in echo.asked] == ["a"]


async def test_bodies_beyond_the_limit_are_refused() -> None:
    """With a 413, read to their end, but not kept; the next request is answered."""

    async def endless() -> AsyncIterator[bytes]:
        piece = bytes(2**20)
        for _ in range(LARGEST // len(piece) + 1):
            yield piece

    async with gateway_over(CHAIN, Echo()) as url, aiohttp.ClientSession() as client:
        async with client.post(f"{url}/v2/models/infer", data=endless()) as got:
            assert got.status == 413
            assert str(LARGEST) in (await got.json())["error"]
        body = Message({"inputs": [tensor()]}, PIXELS).body()
        async with client.post(f"{url}/v2/models/infer", data=body.content, headers=body.headers) as got:
            assert got.status == 200
