"""The order of requests with deadlines on a real Triton that serves one at a time, each in the same time."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ipa_seldon.deadlines import LEVELS, request_parameters
from ipa_seldon.gateway.process import GatewayProcess, Order
from ipa_seldon.plan import Allocation
from ipa_seldon.platforms.triton_models import TritonModels
from ipa_seldon.platforms.triton_server import TritonServer
from ipa_seldon.specs.triton import model_configuration

pytestmark = pytest.mark.triton
COUNT = 200
SECONDS = 0.015
SLO, PATIENT = 4.0, 600.0
MODEL = f"""
import os, time
import numpy as np
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args):
        self.turns = 0

    def execute(self, requests):
        answers = []
        for request in requests:
            gate = triton.get_input_tensor_by_name(request, "gate").as_numpy()[0][0].decode()
            if gate:
                open(gate + ".held", "w").close()
            while gate and os.path.exists(gate):
                time.sleep(0.005)
            time.sleep(0 if gate else {SECONDS})
            self.turns += 1
            answers.append(triton.InferenceResponse([triton.Tensor("turn", np.array([[self.turns]], np.int32))]))
        return answers
"""
"""``turn`` counts what is served. A request whose ``gate`` is the path of a file takes until that is gone, and makes
another to say so.
"""
BASE: dict[str, Any] = {
    "name": "serial",
    "backend": "python",
    "max_batch_size": 1,
    "input": [{"name": "gate", "data_type": "TYPE_STRING", "dims": [1]}],
    "output": [{"name": "turn", "data_type": "TYPE_INT32", "dims": [1]}],
}
PIPELINE = {
    "apiVersion": "ipa.seldon.io/v1alpha1",
    "kind": "Pipeline",
    "metadata": {"name": "serial"},
    "spec": {
        "slo": {"latency": SLO},
        "algorithm": "sponge",
        "graph": {"name": "serial"},
        "stages": {"serial": {"variants": {"only": {"accuracy": 0.5, "version": 1}}}},
    },
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """With nothing loaded yet."""
    repository = tmp_path_factory.mktemp("serial") / "models"
    (repository / "serial" / "1").mkdir(parents=True)
    (repository / "serial" / "1" / "model.py").write_text(MODEL)
    with TritonServer(repository) as running:
        yield running


def load(server: TritonServer, slo: float | None) -> None:
    """As a plan is loaded, whose requests Triton orders by deadline where it is given an SLO."""
    with TritonModels(server.grpc_url) as models:
        models.load("serial", model_configuration(BASE, 1, Allocation("only", 1, 1, 1), slo=slo))


def body(gate: str = "", parameters: Mapping[str, int] | None = None) -> dict[str, Any]:
    """A request."""
    tensor = {"name": "gate", "shape": [1, 1], "datatype": "BYTES", "data": [gate]}
    return {"inputs": [tensor], "parameters": parameters or {}}


@asynccontextmanager
async def waking(client: aiohttp.ClientSession, url: str) -> AsyncIterator[None]:
    """Keep Triton awake by requests that expire at once: where its queue has priorities, and nobody comes, Triton 2.51
    sleeps for up to half a second between two requests. It does not answer all that expire.
    """

    async def knock() -> None:
        async with client.post(url, json=body("", {"priority": LEVELS, "timeout": 1})) as got:
            await got.read()

    async def knocks() -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(knock())
                await asyncio.sleep(SECONDS)

    knocking = asyncio.create_task(knocks())
    try:
        yield
    finally:
        knocking.cancel()
        await asyncio.wait([knocking])


async def test_triton_serves_by_what_is_left(server: TritonServer, tmp_path: Path) -> None:
    """Of 200 requests with random slack that are queued at once, straight to Triton, none is served before one that has
    a level less time left. Behind a request that takes until all are queued; with more time than all of them take, so
    that none is rejected.
    """
    load(server, PATIENT)
    url = f"{server.http_url}/v2/models/serial/infer"
    rng = random.Random(7)
    slacks = [rng.uniform(0.2, 1.0) * PATIENT for _ in range(COUNT)]
    gate = tmp_path / "gate"
    gate.touch()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:

        async def turn(request: dict[str, Any]) -> int:
            async with client.post(url, json=request) as got:
                assert got.status == 200, await got.text()
                return int((await got.json())["outputs"][0]["data"][0])

        async def queued() -> int:
            async with client.get(server.metrics_url) as got:
                lines = (await got.text()).splitlines()
            (line,) = [line for line in lines if line.startswith('nv_inference_pending_request_count{model="serial"')]
            return int(float(line.rpartition(" ")[2]))

        first = asyncio.create_task(turn(body(str(gate))))
        while not gate.with_name("gate.held").exists():
            await asyncio.sleep(0.02)
        waiting = [asyncio.create_task(turn(body("", request_parameters(slack, PATIENT)))) for slack in slacks]
        while await queued() < COUNT:
            await asyncio.sleep(0.02)
        gate.unlink()
        async with waking(client, url):
            turns = await asyncio.gather(*waiting)
        await first
    served = [slack for _, slack in sorted(zip(turns, slacks, strict=True))]
    inversions = [max(served[:k]) - slack for k, slack in enumerate(served) if k]
    assert max(inversions) <= PATIENT / LEVELS
    assert served != slacks


async def saved(url: str, slacks: Sequence[float]) -> int:
    """How many requests with these slacks, which arrive at once in this order, are answered in time."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:

        async def one(slack: float) -> bool:
            begun = time.monotonic()
            headers = {"Ipa-Remaining-Slo": f"{slack:.6f}"}
            async with client.post(f"{url}/v2/models/infer", json=body(), headers=headers) as got:
                await got.read()
                assert got.status in (200, 504)
                return got.status == 200 and time.monotonic() - begun <= slack

        return sum(await asyncio.gather(*(one(slack) for slack in slacks)))


@pytest.mark.alone
async def test_by_deadline_the_most_requests_are_saved(server: TritonServer, tmp_path: Path) -> None:
    """200 requests with random slack at once, on a real gateway and Triton: by deadline at least as many are answered
    in time as in the order of arrival, in that order reversed, or in a random one; than by arrival, strictly more.
    """
    load(server, None)
    rng = random.Random(7)
    slacks = [rng.uniform(1.0, SLO) for _ in range(COUNT)]
    orders: dict[str, tuple[Order, list[float]]] = {
        "edf": ("edf", slacks),
        "fifo": ("fifo", slacks),
        "lifo": ("fifo", slacks[::-1]),
        "random": ("fifo", rng.sample(slacks, COUNT)),
    }
    (tmp_path / "pipeline.yaml").write_text(json.dumps(PIPELINE))
    found = {}
    for name, (order, arriving) in orders.items():
        with GatewayProcess(tmp_path / "pipeline.yaml", server.http_url, order=order) as gateway:
            found[name] = await saved(gateway.url, arriving)
    assert found["edf"] == max(found.values()), found
    assert found["edf"] > found["fifo"], found
