"""The gateway over a real Triton: protocol, health, deadlines in Triton's queue, exact arrivals, its own process."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ipa_seldon.asgi import listen, serving
from ipa_seldon.errors import PlatformError
from ipa_seldon.gateway.app import create_app
from ipa_seldon.gateway.graph import Graph
from ipa_seldon.gateway.process import GatewayProcess
from ipa_seldon.platforms.triton_server import TritonServer
from tests.factories import TOY_PIPELINE

pytestmark = pytest.mark.triton

TOY = Graph(
    "toy", ("double", "increment"), (("double", "increment"),), 10.0, {"double": {"1": "fast"}, "increment": {}}
)


def number(value: int, **more: Any) -> dict[str, Any]:
    """A request of the toy pipeline."""
    tensors = (("number", value), ("trace", 0))
    inputs = [{"name": name, "shape": [1, 1], "datatype": "INT32", "data": [v]} for name, v in tensors]
    return {"inputs": inputs, **more}


def numbers_of(answer: Mapping[str, Any]) -> dict[str, int]:
    """Tensor name -> its value."""
    return {tensor["name"]: tensor["data"][0] for tensor in answer["outputs"]}


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that opens as many connections as it is asked to."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


@pytest.fixture
async def url(toy_server: TritonServer) -> AsyncIterator[str]:
    """A gateway over the shared toy server."""
    async with serving(create_app(TOY, toy_server.http_url), listen("127.0.0.1", 0), 10.0) as url:
        yield url


async def test_graph_over_triton(url: str, client: aiohttp.ClientSession) -> None:
    """The whole graph answers with the last stage's JSON, the caller's id, and who answered."""
    async with client.post(url + "/v2/models/infer", json=number(20, id="mine")) as got:
        answer = await got.json()
    assert got.status == 200
    assert answer["model_name"] == "increment"
    assert answer["id"] == "mine"
    assert numbers_of(answer) == {"number": 41, "trace": 11}
    assert got.headers["Ipa-Versions"] == "double=1;increment=1"
    assert got.headers["Ipa-Variants"] == "double=fast"


async def test_requested_outputs(url: str, client: aiohttp.ClientSession) -> None:
    """The outputs the caller asks for are those it gets, though the stages in between need all of theirs."""
    body = number(20, outputs=[{"name": "number"}])
    async with client.post(url + "/v2/models/infer", json=body) as got:
        assert numbers_of(await got.json()) == {"number": 41}


@pytest.mark.parametrize("path", ["/v2/models/double/infer", "/v2/models/double/versions/1/infer"])
async def test_single_stage(url: str, client: aiohttp.ClientSession, path: str) -> None:
    """One stage can be called alone, with or without a version, and answers as Triton would."""
    async with client.post(url + path, json=number(20)) as got:
        assert got.status == 200
        assert numbers_of(await got.json()) == {"number": 40, "trace": 1}


async def test_model_error_is_passed_on(url: str, client: aiohttp.ClientSession) -> None:
    """What a model refuses reaches the client with Triton's status and words, and the stage."""
    async with client.post(url + "/v2/models/infer", json=number(-1)) as got:
        assert got.status >= 400
        error = (await got.json())["error"]
    assert "stage 'double'" in error
    assert "number must not be negative" in error


async def test_health_and_metadata(url: str, client: aiohttp.ClientSession) -> None:
    """Server metadata, liveness, readiness and a stage's metadata come as the protocol says."""
    expected = {
        "/v2": ("name", "toy"),
        "/v2/health/live": ("live", True),
        "/v2/health/ready": ("ready", True),
        "/v2/models/double": ("name", "double"),
        "/v2/models/double/versions/1": ("versions", ["1"]),
    }
    for path, (key, value) in expected.items():
        async with client.get(url + path) as got:
            assert got.status == 200
            assert (await got.json())[key] == value
    async with client.get(url + "/v2/models/double/ready") as got:
        assert got.status == 200


@pytest.fixture(scope="module")
def own_server(toy_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server with ``slow``, which takes 300 ms per batch, and ``plain``, which has no dynamic batching."""
    repository = tmp_path_factory.mktemp("own") / "models"
    for stage in ("slow", "plain"):
        shutil.copytree(toy_repository / "double", repository / stage)
        file = repository / stage / "config.pbtxt"
        text = file.read_text().replace('name: "double"', f'name: "{stage}"')
        text = text.replace('"0.002"', '"0.3"' if stage == "slow" else '"0"')
        file.write_text(text if stage == "slow" else re.sub(r"dynamic_batching \{.*?\n\}", "", text, flags=re.DOTALL))
    with TritonServer(repository, models=("slow", "plain")) as server:
        yield server


def over(server: TritonServer, *stages: str) -> AbstractAsyncContextManager[str]:
    """A gateway over a chain of ``stages``."""
    graph = Graph("own", stages, tuple(pairwise(stages)), 10.0)
    return serving(create_app(graph, server.http_url), listen("127.0.0.1", 0), 10.0)


async def test_not_ready_while_a_stage_is_unloaded(own_server: TritonServer, client: aiohttp.ClientSession) -> None:
    """A stage that Triton does not serve makes the pipeline not ready, and the answer names it."""
    repository = own_server.http_url + "/v2/repository/models/plain"
    async with over(own_server, "slow", "plain") as url:
        async with client.get(url + "/v2/health/ready") as got:
            assert got.status == 200
        async with client.post(repository + "/unload") as got:
            assert got.status == 200
        async with client.get(url + "/v2/health/ready") as got:
            assert got.status == 503
            assert await got.json() == {"error": "not ready: plain"}
        async with client.get(url + "/v2/models/plain/ready") as got:
            assert got.status != 200
        async with client.post(url + "/v2/models/infer", json=number(1)) as got:
            assert got.status >= 400
            assert "stage 'plain'" in (await got.json())["error"]
        async with client.post(repository + "/load") as got:
            assert got.status == 200
        async with client.get(url + "/v2/health/ready") as got:
            assert got.status == 200


async def test_expired_requests_are_dropped_from_the_queue(
    own_server: TritonServer, client: aiohttp.ClientSession
) -> None:
    """Of more requests than Triton can answer in their budget some are answered, the rest get 504 and are counted."""

    async def one(url: str, value: int) -> int:
        body, headers = number(value), {"Ipa-Remaining-Slo": "2.0"}
        async with client.post(url + "/v2/models/infer", json=body, headers=headers) as got:
            await got.read()
            return got.status

    async with over(own_server, "slow") as url:
        statuses = await asyncio.gather(*(one(url, value) for value in range(100)))
        async with client.get(url + "/metrics") as got:
            lines = (await got.text()).splitlines()
    assert set(statuses) == {200, 504}
    assert f'ipa_gateway_drops_total{{pipeline="own",stage="slow"}} {statuses.count(504):.1f}' in lines
    assert 'ipa_gateway_in_flight_requests{pipeline="own"} 0.0' in lines


async def test_stage_without_a_queue_policy_works(own_server: TritonServer, client: aiohttp.ClientSession) -> None:
    """A model whose configuration knows no queue policy takes the gateway's requests all the same."""
    async with over(own_server, "plain") as url, client.post(url + "/v2/models/infer", json=number(4)) as got:
        assert got.status == 200
        assert numbers_of(await got.json())["number"] == 8


async def test_triton_rejects_what_waited_too_long(toy_server: TritonServer, client: aiohttp.ClientSession) -> None:
    """The timeout the gateway sends is one that Triton's own queue policy honours, in the words the gateway expects."""

    async def one(value: int) -> tuple[int, str]:
        body = number(value, parameters={"timeout": 1})
        async with client.post(toy_server.http_url + "/v2/models/double/infer", json=body) as got:
            return got.status, await got.text()

    answers = await asyncio.gather(*(one(value) for value in range(100)))
    rejected = [text for status, text in answers if status != 200]
    assert rejected
    assert all("timeout expired" in text for text in rejected)


async def test_arrivals_are_exact_under_load(url: str, client: aiohttp.ClientSession) -> None:
    """Every request is counted once, whatever becomes of it, and all of them in complete seconds."""

    async def one(k: int) -> None:
        headers = {"Ipa-Remaining-Slo": "0"} if k % 3 == 0 else {}
        body = b"{" if k % 3 == 1 else json.dumps(number(k)).encode()
        async with client.post(url + "/v2/models/infer", data=body, headers=headers) as got:
            await got.read()

    begun = int(time.time())
    for _ in range(3):
        await asyncio.gather(*(one(k) for k in range(100)))
    ended = int(time.time())
    while int(time.time()) <= ended:
        await asyncio.sleep(0.01)
    async with client.get(url + "/arrivals?seconds=60") as got:
        series = await got.json()
    assert series["end"] > ended
    assert sum(series["counts"]) == 300
    assert not any(series["counts"][: begun - series["end"]])
    async with client.get(url + "/arrivals?seconds=x") as got:
        assert got.status == 400


@contextmanager
def gateway_process(tmp_path: Path, triton: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a process of its own, and its URL."""
    (tmp_path / "pipeline.yaml").write_text(TOY_PIPELINE)
    command = "from ipa_seldon.cli import main; main()"
    arguments = ["gateway", "-f", str(tmp_path / "pipeline.yaml"), "--triton", triton, "--port", "0", *options]
    with subprocess.Popen([sys.executable, "-c", command, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())["url"]
        finally:
            process.kill()


@pytest.mark.parametrize("number_of_signal", [signal.SIGINT, signal.SIGTERM])
async def test_process_ends_cleanly_on_signals(
    tmp_path: Path, toy_server: TritonServer, client: aiohttp.ClientSession, number_of_signal: signal.Signals
) -> None:
    """``ipa-seldon gateway`` prints its URL, answers, and exits with 0 on SIGINT and SIGTERM."""
    with gateway_process(tmp_path, toy_server.http_url, "--parent-pid", str(os.getpid())) as (process, url):
        async with client.post(url + "/v2/models/infer", json=number(1)) as got:
            assert numbers_of(await got.json())["number"] == 3
            assert got.headers["Ipa-Variants"] == "double=fast;increment=fast"
        process.send_signal(number_of_signal)
        assert await asyncio.to_thread(process.wait, 20) == 0


async def test_process_tells_its_arrivals(
    tmp_path: Path, toy_server: TritonServer, client: aiohttp.ClientSession
) -> None:
    """A gateway run as a child process gives the arrivals of the last seconds; before its start they are unknown."""
    (tmp_path / "pipeline.yaml").write_text(TOY_PIPELINE)
    with GatewayProcess(tmp_path / "pipeline.yaml", toy_server.http_url) as process:
        for value in range(5):
            async with client.post(process.url + "/v2/models/infer", json=number(value)) as got:
                assert got.status == 200
        arrivals = await asyncio.to_thread(process.arrivals, time.time(), 3600)
        while sum(count for count in arrivals if not math.isnan(count)) < 5:
            await asyncio.sleep(0.02)
            arrivals = await asyncio.to_thread(process.arrivals, time.time(), 3600)
    assert len(arrivals) == 3600
    assert math.isnan(arrivals[0])
    assert sum(count for count in arrivals if not math.isnan(count)) == 5


async def test_process_takes_tables(tmp_path: Path, toy_server: TritonServer) -> None:
    """A gateway run as a child process dispatches as it is told; what it refuses is one line, and changes nothing."""
    (tmp_path / "pipeline.yaml").write_text(TOY_PIPELINE)
    with GatewayProcess(tmp_path / "pipeline.yaml", toy_server.http_url) as process:
        await asyncio.to_thread(process.dispatch, {"double": {"1": 0.5, "*": 0.5}})
        told = await asyncio.to_thread(process.dispatched)
        assert {version: entry["weight"] for version, entry in told["double"].items()} == {"1": 0.5, "*": 0.5}
        assert set(told["increment"]) == {"*"}
        with pytest.raises(PlatformError, match=r"does not dispatch: dispatch: stage 'halve': accepted: double, incr"):
            await asyncio.to_thread(process.dispatch, {"halve": {}})
        assert await asyncio.to_thread(process.dispatched) == told
    with pytest.raises(PlatformError, match="does not tell what it dispatches"):
        await asyncio.to_thread(process.dispatched)


async def test_process_does_not_outlive_its_parent(tmp_path: Path, toy_server: TritonServer) -> None:
    """A gateway whose parent is not (or no longer) the process named stops by itself."""
    with gateway_process(tmp_path, toy_server.http_url, "--parent-pid", "1") as (process, _):
        assert await asyncio.to_thread(process.wait, 20) == 0
