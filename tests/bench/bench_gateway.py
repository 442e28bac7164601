"""What the gateway adds to calling Triton directly, both measured in one run, call by call in turn."""

from __future__ import annotations

import asyncio
import json
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
import pytest

from ipa_seldon.platforms.triton_server import TritonServer
from tests.conftest import write_toy_repository
from tests.factories import TOY_PIPELINE

pytestmark = pytest.mark.triton

BAR = 2.0
"""Milliseconds the gateway may add at the median on the project's 2-core reference machine; printed, not asserted."""
ROUNDS, WARM_UP = 400, 40
SNIPPET = 55_000
"""Characters of a base64 PNG of the text pipeline, here carried as a parameter of the request."""
STAGES = ("double", "increment")


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
        yield Servers(server.http_url, gateway)


@contextmanager
def gateway_process(pipeline: Path, triton: str) -> Iterator[str]:
    """The gateway command, and its URL."""
    arguments = ["gateway", "-f", str(pipeline), "--triton", triton, "--port", "0"]
    command = [sys.executable, "-c", "from ipa_seldon.cli import main; main()", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
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
