"""A pipeline whose requests have deadlines, as ``ipa-seldon run`` serves it: its instance changes size in place, with
its threads and the cores of its process, and what is queued is observed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ipa_seldon.bootstrap import LocalServing, serve_locally
from ipa_seldon.config import read_config
from ipa_seldon.loadgen import RequestOutcome
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.platforms.cpu_quota import best_quota, model_processes
from tests.conftest import write_toy_repository
from tests.platforms.load import OpenLoop
from tests.waiting import wait_for

pytestmark = pytest.mark.triton
SLO = 5.0
SHORT = 2.0
"""Seconds that requests come with where more of them come than are served: what is queued is soon gone."""
SIZES, BATCHES = (1, 2, 3), (1, 2, 4, 8)
PROCESSORS = len(os.sched_getaffinity(0))
THREADS = """

import threading

_initialize = TritonPythonModel.initialize


def initialize(self, args):
    _initialize(self, args)
    cores = int(json.loads(args["model_config"])["parameters"]["intra_op_num_threads"]["string_value"])
    for _ in range(cores):
        threading.Thread(target=threading.Event().wait, daemon=True).start()


TritonPythonModel.initialize = initialize
"""
"""Of a model that starts as many threads as it is told, as networks' runtimes do."""


def plan(cores: int, batch: int) -> Plan:
    """One pod."""
    return {"double": (Allocation("light", 1, cores, batch),)}


@contextmanager
def served(directory: Path, algorithm: str, seconds: float = 0.002) -> Iterator[LocalServing]:
    """One stage of one variant that takes so many ``seconds`` a batch, on one core first."""
    document = {
        "apiVersion": "ipa.seldon.io/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": "one"},
        "spec": {
            "slo": {"latency": SLO},
            "algorithm": algorithm,
            "graph": {"name": "double"},
            "stages": {"double": {"variants": {"light": {"accuracy": 0.5, "version": 1}}}},
            "profile": "profile.csv",
            "repository": "models",
        },
    }
    (directory / "pipeline.yaml").write_text(json.dumps(document))
    rows = [f"double,light,{cores},{batch},0.01,{100 * batch}" for cores in SIZES for batch in BATCHES]
    (directory / "profile.csv").write_text("\n".join(["stage,variant,cores,batch,latency,throughput", *rows]))
    stage = write_toy_repository(directory / "models", versions=1) / "double"
    with (stage / "1" / "model.py").open("a") as model:
        model.write(THREADS)
    configuration = stage / "config.pbtxt"
    configuration.write_text(configuration.read_text().replace('"0.002"', f'"{seconds}"'))
    with serve_locally(read_config(directory / "pipeline.yaml"), plan(1, 1)) as serving:
        yield serving


def instance(serving: LocalServing) -> int:
    """The process id of the model's only instance; those that were loaded before end by themselves."""
    server = serving.platform.server.pid
    assert server is not None
    wait_for(lambda: len(model_processes(server).get("double", ())) == 1, 30)
    (pid,) = model_processes(server)["double"]
    return pid


def granted(pid: int) -> float:
    """The cores that the threads of a process may use, by its cgroup's quota or by affinity."""
    (group,) = [
        line[3:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::")
    ] or [""]
    if f"ipa-seldon-{pid}" in group:
        quota, period = (Path("/sys/fs/cgroup") / group.strip("/") / "cpu.max").read_text().split()
        return int(quota) / int(period)
    given = {frozenset(os.sched_getaffinity(thread.id)) for thread in psutil.Process(pid).threads()}
    (processors,) = given
    return len(processors)


@pytest.mark.alone
@pytest.mark.skipif(best_quota().how == "threads only", reason="no way to give a process cores")
def test_resizes_in_place_lose_no_request(tmp_path: Path) -> None:
    """20 random sizes under an open-loop load: each is what Triton runs, with as many threads and cores for its process
    as planned; every request is answered in time.
    """
    sizes = random.Random(7)
    with served(tmp_path, "sponge") as serving:
        alone = psutil.Process(instance(serving)).num_threads() - 1
        with OpenLoop(serving.gateway.url, SLO) as load:
            for _ in range(20):
                wanted = plan(sizes.choice(SIZES), sizes.choice(BATCHES))
                (allocation,) = wanted["double"]
                serving.platform.apply(wanted)
                assert serving.platform.observe(time.time()).plan == wanted
                pid = instance(serving)
                assert psutil.Process(pid).num_threads() == alone + allocation.cores
                assert granted(pid) == min(allocation.cores, PROCESSORS)
            load.await_answers(20)
    assert load.outcomes.keys() == {RequestOutcome.COMPLETED}


@pytest.mark.skipif(best_quota().how == "threads only", reason="no way to give a process cores")
def test_a_restarted_server_gets_its_cores_again(tmp_path: Path) -> None:
    """Killed, its new processes are bounded as the old ones were."""
    with served(tmp_path, "sponge") as serving:
        pid = serving.platform.server.pid
        assert pid is not None
        assert granted(instance(serving)) == 1
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: serving.platform.restarts == 1 and serving.platform.server.pid not in (None, pid))
        wait_for(lambda: granted(instance(serving)) == 1, 30)


def test_other_algorithms_know_no_deadlines(tmp_path: Path) -> None:
    """Their processes have all processors, and nothing of a queue is observed."""
    with served(tmp_path, "ipa", seconds=0.2) as serving, OpenLoop(serving.gateway.url, SHORT):
        assert granted(instance(serving)) == PROCESSORS
        wait_for(lambda: serving.gateway.backlog().remaining_slo, 30)
        observation = serving.platform.observe(time.time())
        assert (observation.remaining_slo, observation.budgets) == ((), ())


def test_what_is_queued_is_observed(tmp_path: Path) -> None:
    """More requests than are served: what those that wait have left, and with what they came, which is more."""
    with served(tmp_path, "sponge", seconds=0.2) as serving, OpenLoop(serving.gateway.url, SHORT):
        wait_for(lambda: len(serving.platform.observe(time.time()).remaining_slo) > 20, 30)
        observation = serving.platform.observe(time.time())
        assert len(observation.budgets) > 20
        assert min(observation.remaining_slo) < min(observation.budgets) <= SHORT
