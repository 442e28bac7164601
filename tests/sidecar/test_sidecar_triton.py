"""The sidecar's process beside a real Triton: by plan at the start, under load, after faults."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ipa_seldon.platforms.triton_models import TritonModels
from ipa_seldon.platforms.triton_server import TritonServer
from ipa_seldon.sidecar.metrics import OF_SIDECAR
from ipa_seldon.specs.desired import PodPlan
from tests.expositions import assert_catalogued
from tests.platforms.load import Load
from tests.waiting import wait_for

pytestmark = pytest.mark.triton
LIGHT = PodPlan("light", 1, 1, 1, 0.0)
HEAVY = PodPlan("heavy", 3, 2, 4, 0.002)


class Pod:
    """A Triton and the sidecar of its stage ``double``, told by the file ``plan``."""

    def __init__(self, server: TritonServer, plan: Path) -> None:
        self.server = server
        self.plan = plan
        command = [sys.executable, "-m", "ipa_seldon", "sidecar", "--stage", "double", "--plan", str(plan)]
        command += ["--triton", server.grpc_url, "--host", "127.0.0.1", "--port", "0"]
        command += ["--poll", "100ms", "--min-interval", "200ms"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["url"]

    def want(self, plan: PodPlan) -> None:
        """Swap the file as the kubelet does: at once."""
        new = self.plan.with_suffix(".new")
        new.write_text(json.dumps({"format": 1, "stages": {"double": vars(plan)}}))
        new.rename(self.plan)

    def get(self, page: str) -> tuple[int, str]:
        with closing(HTTPConnection(urlsplit(self.url).netloc, timeout=10)) as connection:
            connection.request("GET", f"/{page}")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("status")[1])
        return found

    def in_sync_with(self, plan: PodPlan) -> bool:
        found = self.status()
        return found["in_sync"] is True and found["running"] == vars(plan)

    def versions(self) -> frozenset[int]:
        """What Triton itself says it serves."""
        with TritonModels(self.server.grpc_url) as models:
            return models.ready_versions().get("double", frozenset())

    def end(self) -> tuple[int, str]:
        """Exit code and standard error after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=30)
        return self.process.returncode, err


@pytest.fixture
def pod(toy_repository: Path, tmp_path: Path) -> Iterator[Pod]:
    """A Triton that has loaded what the repository states, as in a pod; no plan there yet."""
    with TritonServer(toy_repository, models=("double", "increment")) as server:
        made = Pod(server, tmp_path / "plan.json")
        try:
            yield made
        finally:
            made.process.kill()
            made.process.communicate()


def test_a_pod_is_ready_once_its_plan_is_served(pod: Pod) -> None:
    """Without a plan alive but not ready, with the reason; then Triton serves the planned version before /readyz is
    200; SIGTERM ends the process with 0, and what it did is a line each on standard error.
    """
    wait_for(lambda: "cannot be read" in pod.get("readyz")[1])
    assert pod.get("readyz")[0] == 503
    assert pod.get("healthz")[0] == 200
    pod.want(HEAVY)
    wait_for(lambda: pod.get("readyz")[0] == 200)
    assert pod.versions() == {3}
    assert pod.in_sync_with(HEAVY)
    metrics = pod.get("metrics")[1]
    assert_catalogued(metrics, OF_SIDECAR)
    assert 'ipa_sidecar_in_sync{stage="double"} 1.0' in metrics
    assert 'ipa_sidecar_loads_total{outcome="done",stage="double"} 1.0' in metrics
    assert 'ipa_sidecar_running{batch="4",cores="2",stage="double",variant="heavy",version="3"} 1.0' in metrics
    code, err = pod.end()
    assert code == 0
    assert "Traceback" not in err
    assert len([line for line in err.splitlines() if "heavy" in line]) == 1


def test_a_switch_under_load_loses_nothing(pod: Pod) -> None:
    """Variant, then batch and cores, then the delay alone, while clients send: not one request fails, /readyz stays."""
    pod.want(LIGHT)
    wait_for(lambda: pod.in_sync_with(LIGHT))
    with Load(pod.server.http_url) as load:
        for plan in (replace(HEAVY, batch=1, delay=0.0), HEAVY, replace(HEAVY, delay=0.004), LIGHT):
            pod.want(plan)
            wait_for(lambda plan=plan: pod.in_sync_with(plan))  # type: ignore[misc]
            assert pod.get("readyz")[0] == 200
    assert load.failures == []
    assert len(load.traces) > 100


def test_a_version_that_is_not_there_leaves_the_old_one(pod: Pod) -> None:
    """Triton's refusal is told in /status and on standard error; the old variant serves and the pod stays ready."""
    pod.want(LIGHT)
    wait_for(lambda: pod.in_sync_with(LIGHT))
    pod.want(PodPlan("gone", 9, 1, 1, 0.0))
    wait_for(lambda: "cannot load model 'double'" in pod.status()["error"])
    assert pod.versions() == {1}
    assert pod.get("readyz")[0] == 200
    assert not pod.status()["in_sync"]
    pod.want(HEAVY)
    wait_for(lambda: pod.in_sync_with(HEAVY))
    assert "cannot load model 'double'" in pod.end()[1]


def test_a_triton_that_was_killed_gets_its_plan_again(pod: Pod) -> None:
    """While it is away the pod is not ready; once it is back on the repository's own variant, the planned one again."""
    pod.want(HEAVY)
    wait_for(lambda: pod.in_sync_with(HEAVY))
    assert pod.server.pid is not None
    os.killpg(pod.server.pid, signal.SIGKILL)
    wait_for(lambda: pod.get("readyz")[0] == 503)
    pod.server.start()
    wait_for(lambda: pod.in_sync_with(HEAVY))
    assert pod.versions() == {3}
    assert pod.get("readyz")[0] == 200


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    """The sidecar says which address it cannot have, with exit code 1."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        words = ["--stage", "double", "--plan", str(tmp_path / "p"), "--host", "127.0.0.1", "--port", port]
        command = [sys.executable, "-m", "ipa_seldon", "sidecar", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr == f"Error: cannot listen on 127.0.0.1:{port}: Address already in use\n"
