"""What the gateway adds to calling Triton directly, both measured in one run, call by call in turn; and what pictures
cost it in JSON and in binary.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import numpy as np
import psutil
import pytest

from ipa_seldon.demo.requests import requests
from ipa_seldon.gateway.messages import Body, Message
from ipa_seldon.platforms.triton_server import TritonServer
from tests.conftest import TOY, write_toy_repository
from tests.factories import TOY_PIPELINE

pytestmark = pytest.mark.triton

BAR = 2.0
"""Milliseconds the gateway may add at the median on the project's 2-core reference machine; printed, not asserted."""
ROUNDS, WARM_UP = 400, 40
SNIPPET = 55_000
"""Characters of a base64 PNG of the text pipeline, here carried as a parameter of the request."""
STAGES = ("double", "increment")
FRAMES = 10
ECHO = """
name: "look" backend: "python" max_batch_size: 1
input [ { name: "frame" data_type: TYPE_UINT8 dims: [ 3, -1, -1 ] } ]
output [ { name: "frame" data_type: TYPE_UINT8 dims: [ 3, -1, -1 ] } ]
"""
LOOK_PIPELINE = """
apiVersion: ipa.seldon.io/v1alpha1
kind: Pipeline
metadata: {name: look}
spec:
  slo: {latency: 30}
  graph: {name: look}
  stages:
    look: {variants: {only: {accuracy: 1, version: 1}}}
"""


@dataclass(frozen=True)
class Servers:
    """URLs of a Triton and of a gateway in front of it, each in a process of its own."""

    triton: str
    gateway: str


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Both servers over the toy repository."""
    directory = tmp_path_factory.mktemp("gateway")
    (directory / "pipeline.yaml").write_text(TOY_PIPELINE)
    with (
        TritonServer(write_toy_repository(directory / "models"), models=STAGES) as server,
        gateway_process(directory / "pipeline.yaml", server.http_url) as gateway,
    ):
        yield Servers(server.http_url, gateway[0])


@contextmanager
def gateway_process(pipeline: Path, triton: str) -> Iterator[tuple[str, psutil.Process]]:
    """The gateway command: its URL, and its process."""
    arguments = ["gateway", "-f", str(pipeline), "--triton", triton, "--port", "0"]
    command = [sys.executable, "-c", "from ipa_seldon.cli import main; main()", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"], psutil.Process(process.pid)
        finally:
            process.terminate()


@pytest.mark.parametrize("size", [0, SNIPPET], ids=["small", "snippet"])
@pytest.mark.parametrize("stages", [1, 2], ids=["one-stage", "two-stage"])
def bench_overhead(servers: Servers, stages: int, size: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Through the gateway against the same stages called directly, one after the other."""
    direct = [f"{servers.triton}/v2/models/{stage}/infer" for stage in STAGES[:stages]]
    through = [f"{servers.gateway}/v2/models/{'infer' if stages == 2 else 'double/infer'}"]
    times = asyncio.run(in_turn((direct, through), request_of(size)))
    plain, routed = (1000 * median(taken[WARM_UP:]) for taken in times)
    with capsys.disabled():
        sys.stdout.write(
            f"\ngateway, {stages} stage(s), {size // 1000} kB: direct {plain:.2f} ms, through {routed:.2f} ms, "
            f"added {routed - plain:.2f} ms (bar {BAR:.2f} ms)\n"
        )


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, psutil.Process]]:
    """A gateway over a model that answers a picture with itself."""
    directory = tmp_path_factory.mktemp("look")
    (directory / "pipeline.yaml").write_text(LOOK_PIPELINE)
    (directory / "models" / "look" / "1").mkdir(parents=True)
    shutil.copy(TOY.parent / "echo" / "model.py", directory / "models" / "look" / "1")
    (directory / "models" / "look" / "config.pbtxt").write_text(ECHO)
    with (
        TritonServer(directory / "models", models=("look",)) as server,
        gateway_process(directory / "pipeline.yaml", server.http_url) as gateway,
    ):
        yield gateway


@pytest.mark.parametrize("form", ["JSON", "binary"])
def bench_frames(look: tuple[str, psutil.Process], form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Pictures of 1.2 MB there and back, one at a time."""
    url, process = look
    request = requests("frame", 1)(0)
    if form == "JSON":
        (tensor,) = request.fields["inputs"]
        values = np.frombuffer(request.raw or b"", np.uint8).tolist()
        request = Message({"inputs": [{**tensor, "data": values, "parameters": {}}]})
    spent, begun = sum(process.cpu_times()[:2]), time.perf_counter()
    asyncio.run(send(f"{url}/v2/models/infer", request.body(), FRAMES))
    passed, used = time.perf_counter() - begun, sum(process.cpu_times()[:2]) - spent
    with capsys.disabled():
        sys.stdout.write(
            f"\ngateway, frames as {form}: {FRAMES / passed:.1f} requests/s, "
            f"{1000 * used / FRAMES:.1f} ms of CPU each in the gateway\n"
        )


async def send(url: str, body: Body, count: int) -> None:
    """One request after the other."""
    async with aiohttp.ClientSession() as client:
        for _ in range(count):
            async with client.post(url, data=body.stream(), headers=body.headers) as got:
                assert got.status == 200, await got.text()
                await got.read()


def request_of(size: int) -> bytes:
    """A request of the toy pipeline with ``size`` characters more."""
    inputs: list[dict[str, Any]] = [
        {"name": name, "shape": [1, 1], "datatype": "INT32", "data": [4]} for name in ("number", "trace")
    ]
    return json.dumps({"inputs": inputs, "parameters": {"ballast": "A" * size}}).encode()


async def in_turn(ways: Sequence[Sequence[str]], body: bytes) -> list[list[float]]:
    """Seconds of each round of each way; a way is a list of URLs called one after the other."""
    taken: list[list[float]] = [[] for _ in ways]
    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as client:
        for _ in range(WARM_UP + ROUNDS):
            for way, seconds in zip(ways, taken, strict=True):
                begun = time.perf_counter()
                for url in way:
                    async with client.post(url, data=body) as got:
                        assert got.status == 200, await got.text()
                        await got.read()
                seconds.append(time.perf_counter() - begun)
    return taken
