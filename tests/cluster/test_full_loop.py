"""The whole way of a plan, without a cluster: the adapter's platform, a Kubernetes API, an operator and a kubelet, and
for each pod a real Triton with a real sidecar, while clients send.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from ipa_seldon.cluster.api import CONFIG_MAPS, PODS, SELDON_DEPLOYMENTS, Cluster
from ipa_seldon.plan import Plan
from ipa_seldon.platforms.seldon.options import SeldonOptions
from ipa_seldon.platforms.seldon.platform import SeldonPlatform
from ipa_seldon.platforms.triton_models import TritonModels
from ipa_seldon.specs.seldon import plan_config_map, seldon_deployment
from ipa_seldon.specs.triton import allocation_of
from tests.cluster.local import LocalCluster, local_cluster
from tests.cluster.nodes import deferred, granted
from tests.cluster.processes import Pod
from tests.cluster.world import SETTINGS, ScriptedLoad, door, toy_pipeline, toy_plan
from tests.platforms.load import CLIENTS, Load
from tests.remnants import abandoned_memory, await_nothing_abandoned
from tests.waiting import wait_for

pytestmark = pytest.mark.triton
STAGES = ("double", "increment")
LIGHT, HEAVY = 11, 21
"""What a request's trace says when ``double`` is that variant, and ``increment`` light."""
STEP = 0.3
"""Seconds between two steps of the adapter."""


@dataclass
class Loop:
    """The toy pipeline on a cluster of processes."""

    local: LocalCluster
    cluster: Cluster

    def adapter(self) -> SeldonPlatform:
        """One that has just started."""
        return SeldonPlatform(self.cluster, toy_pipeline(), SeldonOptions("toy"), ScriptedLoad())

    def begin(self, platform: SeldonPlatform, plan: Plan) -> None:
        """Commit to a plan."""

        def deployed() -> bool:
            platform.advance(time.time())
            return platform.refusal is None

        wait_for(deployed, period=STEP)
        platform.apply(plan)

    def finish(self, platform: SeldonPlatform) -> None:
        """Step until the plan runs."""

        def arrived() -> bool:
            platform.advance(time.time())
            return not platform.waiting and platform.refusal is None

        wait_for(arrived, 60, STEP)

    def bring_about(self, plan: Plan) -> None:
        """All of it, by an adapter that has just started."""
        platform = self.adapter()
        self.begin(platform, plan)
        self.finish(platform)

    def pods(self, stage: str) -> dict[str, Pod]:
        """The pods of a stage that there are, by name."""
        return {name: pod for name, pod in self.local.pods.pods.items() if f"-{stage}-" in name}

    def processes(self, stage: str) -> dict[str, tuple[int | None, int | None]]:
        """Of each pod of a stage: Triton's and the sidecar's process id."""
        return {name: (pod.triton.pid, pod.sidecar.pid) for name, pod in self.pods(stage).items()}

    def tritons(self, stage: str) -> list[tuple[str, int, int, int]]:
        """What the Triton of each pod of a stage says that it runs: variant, instances, cores, batch."""
        found = []
        for pod in self.pods(stage).values():
            with TritonModels(pod.triton.grpc_url) as models:
                assert len(models.ready_versions()[stage]) == 1
                allocation = allocation_of(models.configuration(stage), {1: "light", 2: "heavy"})
            found.append((allocation.variant, allocation.replicas, allocation.cores, allocation.batch))
        return found


def deploy(cluster: Cluster) -> None:
    """Apply what ``render`` writes."""
    pipeline, plan = toy_pipeline(), toy_plan(("light", 1))
    cluster.create(CONFIG_MAPS, plan_config_map(pipeline, plan))
    cluster.create(SELDON_DEPLOYMENTS, seldon_deployment(pipeline, plan, SETTINGS))


def answered(load: Load) -> set[int]:
    """The traces of requests that are sent from now on: those under way may yet be answered by what ran before."""
    load.await_answers(CLIENTS + 20)
    return set(load.traces[-20:])


def children() -> set[str]:
    """Living ones of this process, theirs included."""
    family = psutil.Process().children(recursive=True)
    return {f"{child.pid} {child.name()}" for child in family if child.status() != psutil.STATUS_ZOMBIE}


@pytest.fixture(scope="module")
def loop(toy_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """One for all tests, each of which begins with a plan of its own. Nothing is left of it."""
    before, memory = children(), abandoned_memory()
    directory = tmp_path_factory.mktemp("cluster")
    with local_cluster(toy_repository, directory / "kubeconfig", directory) as local:
        cluster = door(local.kubeconfig)
        deploy(cluster)
        yield Loop(local, cluster)
    assert children() <= before
    await_nothing_abandoned(memory)


def test_plans_come_about_without_a_lost_request(loop: Loop) -> None:
    """More replicas, a heavier variant, batch and cores, then one light replica again: no request fails, the versions
    that answer are the planned ones, pods that stay are the same processes, and each Triton says that it runs its plan.
    """
    loop.bring_about(toy_plan(("light", 1)))
    first, others = loop.processes("double"), loop.processes("increment")
    with Load(loop.local.router.url) as load:
        assert answered(load) == {LIGHT}
        loop.bring_about(toy_plan(("light", 2)))
        both = loop.processes("double")
        assert len(both) == 2
        assert first.items() <= both.items()
        assert set(load.traces) == {LIGHT}
        loop.bring_about(toy_plan(("heavy", 2)))
        assert answered(load) == {HEAVY}
        loop.bring_about(toy_plan(("heavy", 2, 2, 4)))
        assert loop.tritons("double") == [("heavy", 1, 2, 4)] * 2
        assert answered(load) == {HEAVY}
        assert loop.processes("double") == both
        loop.bring_about(toy_plan(("light", 1)))
        assert answered(load) == {LIGHT}
        wait_for(lambda: all(pod.ended for pod in loop.local.pods.stopped))
        assert answered(load) == {LIGHT}
    assert load.failures == []
    assert set(load.traces) == {LIGHT, HEAVY}
    assert loop.processes("double").items() < both.items()
    assert loop.processes("increment") == others
    assert [loop.tritons(stage) for stage in STAGES] == [[("light", 1, 1, 1)]] * 2
    assert {pod["metadata"]["name"] for pod in loop.cluster.list(PODS)} == set(loop.local.pods.pods)


def test_an_adapter_that_is_replaced_midway_loses_nothing(loop: Loop) -> None:
    """The first commits and takes the first step, another one finds that and takes all others; no request fails."""
    loop.bring_about(toy_plan(("light", 1)))
    with Load(loop.local.router.url) as load:
        first = loop.adapter()
        loop.begin(first, toy_plan(("heavy", 2)))
        assert first.waiting
        second = loop.adapter()
        loop.finish(second)
        assert answered(load) == {HEAVY}
    assert load.failures == []
    assert loop.tritons("double") == [("heavy", 1, 1, 1)] * 2


def test_threads_follow_the_cores_that_a_node_grants(loop: Loop) -> None:
    """A new replica begins with the core of the template, and its Triton with one thread, however many are planned; the
    second comes when its node grants the second core. The other replica has both all the while; no request fails.
    """
    loop.bring_about(toy_plan(("light", 1, 2)))
    kubelet, platform = loop.local.kubelet, loop.adapter()
    with Load(loop.local.router.url) as load:
        kubelet.answer = deferred("the node is full")
        try:
            loop.begin(platform, toy_plan(("light", 2, 2)))
            wait_for(lambda: len(loop.pods("double")) == 2)  # else it is resized before it starts

            def waits() -> bool:
                platform.advance(time.time())
                return "Deferred" in platform.waiting.get("double", "") and loop.local.router.ready("double") == 2

            wait_for(waits, 60, STEP)
            assert sorted(loop.tritons("double")) == [("light", 1, 1, 1), ("light", 1, 2, 1)]
        finally:
            kubelet.answer = granted
        loop.finish(platform)
        assert loop.tritons("double") == [("light", 1, 2, 1)] * 2
    assert load.failures == []


def test_a_triton_that_is_killed_comes_back_with_its_plan(loop: Loop) -> None:
    """Its pod is out of the service until it serves the plan again, not what the repository states; what fails are
    requests sent to it before that was seen, and the other replica serves all the rest.
    """
    loop.bring_about(toy_plan(("heavy", 2)))
    before, router = loop.processes("double"), loop.local.router
    victim = next(iter(before))
    with Load(router.url, stubborn=True) as load:
        pid, _ = before[victim]
        assert pid is not None
        os.killpg(pid, signal.SIGKILL)
        wait_for(lambda: router.ready("double") == 1)
        load.await_answers(CLIENTS)
        failures, answers = list(load.failures), len(load.traces)
        assert all("double" in failure and "does not answer" in failure for failure in failures)
        wait_for(lambda: router.ready("double") == 2)
        assert len(load.traces) > answers
        assert answered(load) == {HEAVY}
    assert load.failures == failures
    assert set(load.traces) == {HEAVY}
    after = loop.processes("double")
    assert after[victim][0] != before[victim][0]
    assert after[victim][1] == before[victim][1]
    assert loop.tritons("double") == [("heavy", 1, 1, 1)] * 2
