"""What is found of a pipeline's pods."""

from __future__ import annotations

from typing import Any

from ipa_seldon.cluster.api import DEPLOYMENTS
from ipa_seldon.doctor.findings import Status
from tests.doctor.conftest import VideoWorld


def test_the_number_of_pods(world: VideoWorld) -> None:
    """Of all stages."""
    assert world.examined()["pods"].message == "video: 2 ready, and their sidecars report what is planned"


def test_pods_that_are_not_there(world: VideoWorld) -> None:
    """Fewer than the Deployment asks for."""
    world.cluster.patch(DEPLOYMENTS, world.name("crop"), {"spec": {"replicas": 3}}, "scale")
    found = world.examined()["pods"]
    assert (found.status, found.message) == (Status.FAIL, "video: crop: 1 of 3 pods are there")
    assert found.remedy.endswith(f"describe replicaset -l app={world.name('crop')}")


def test_pods_that_are_not_ready(world: VideoWorld) -> None:
    """Which containers, and what each waits for; of a pod without a node, why it has none."""
    name = world.pod("crop")

    waiting = {"name": "crop", "ready": False, "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    statuses = [waiting, {"name": "ipa-sidecar", "ready": False, "state": {"running": {}}}]
    world.report(name, conditions=[{"type": "Ready", "status": "False"}], containerStatuses=statuses)
    found = world.examined()["pods"]
    words = f"video: {name} is not ready: crop (ImagePullBackOff), ipa-sidecar"
    assert (found.status, found.message) == (Status.FAIL, words)
    assert f"kubectl -n default describe pod {name}" in found.remedy
    message = "0/1 nodes are available: insufficient cpu"
    unscheduled = {"type": "PodScheduled", "status": "False", "message": message}
    world.report(name, conditions=[unscheduled], containerStatuses=None)
    found = world.examined()["pods"]
    assert found.message == f"video: {name} is not ready: 0/1 nodes are available: insufficient cpu"


def test_pods_that_do_not_get_their_cores(world: VideoWorld) -> None:
    """A warning with the node's reason: they serve on with those they have."""
    name = world.pod("crop")
    pending = {"type": "PodResizePending", "status": "True", "reason": "Infeasible", "message": "node has 4 cores"}
    world.report(name, conditions=[{"type": "Ready", "status": "True"}, pending])
    found = world.examined()
    assert found["pods"].status is Status.WARN
    assert found["pods"].message == f"video: {name} does not get its new cores: Infeasible: node has 4 cores"
    assert found.code == 0


def test_a_sidecar_that_does_not_answer(world: VideoWorld) -> None:
    """The pod is ready all the same, as long as nobody asks."""
    name = world.pod("classification")
    world.pods.hang_up(name)
    found = world.examined()["pods"]
    assert found.status is Status.FAIL
    assert f"the sidecar of {name} does not answer: " in found.message
    assert found.remedy == f"kubectl -n default logs {name} -c ipa-sidecar"


def test_sidecars_that_may_not_be_asked(world: VideoWorld) -> None:
    """It is a permission that is missing, not a sidecar."""
    world.emulator.fail(times=2, resource="pods/proxy", code=403)
    found = world.examined()["pods"]
    assert found.status is Status.FAIL
    assert "403" in found.message
    assert found.remedy.endswith("kubectl apply -k manifests/adapter/base")


def test_something_else_on_the_sidecars_port(world: VideoWorld) -> None:
    """Documents that are no report of ours."""
    name = world.pod("crop")
    others: list[Any] = [[], {"running": {}}, {"running": {"variant": "x"}, "wanted": None, "error": ""}]
    for report in others:
        world.pods.reports[name] = report
        found = world.examined()["pods"]
        assert (found.status, found.message) == (
            Status.FAIL,
            f"video: port 8090 of {name} is no sidecar of this version",
        )


def test_a_pod_that_serves_something_else(world: VideoWorld) -> None:
    """What it serves, what it was to serve, and the sidecar's reason."""
    name, plan = world.pod("crop"), world.plan("crop")
    running = {**plan, "variant": "yolov5n", "version": 1}
    world.pods.reports[name] = {"wanted": plan, "running": running, "error": "model 'crop': no such version"}
    found = world.examined()["pods"]
    assert found.status is Status.FAIL
    assert f"{name} serves yolov5n (1 cores, batch {plan['batch']}) instead of yolov5s" in found.message
    assert found.message.endswith(": model 'crop': no such version")
    world.pods.reports[name] = {"wanted": plan, "running": None, "error": "loading"}
    assert f"{name} serves nothing instead of yolov5s" in world.examined()["pods"].message


def test_a_pod_that_has_not_read_the_plan(world: VideoWorld) -> None:
    """It passes, hence a warning."""
    name, plan = world.pod("crop"), world.plan("crop")
    before = {**plan, "batch": plan["batch"] + 1}
    world.pods.reports[name] = {"wanted": before, "running": before, "error": ""}
    found = world.examined()
    assert found["pods"].status is Status.WARN
    assert found["pods"].message == f"video: {name} has not read the newest plan yet"
    assert found.code == 0


def test_the_worst_comes_first(world: VideoWorld) -> None:
    """Of many troubles three are told, failures before warnings."""
    plan = world.plan("crop")
    stale = {"wanted": None, "running": {**plan, "variant": "yolov5n"}, "error": ""}
    world.cluster.patch(DEPLOYMENTS, world.name("crop"), {"spec": {"replicas": 5}}, "scale")
    world.run_cluster()
    for pod in world.emulator.objects("pods"):
        world.pods.reports[pod["metadata"]["name"]] = stale
    broken = world.pod("classification")
    world.pods.hang_up(broken)
    found = world.examined()["pods"]
    assert found.status is Status.FAIL
    assert found.message.startswith(f"video: the sidecar of {broken} does not answer")
    assert found.message.endswith("; and 3 more")
    assert found.message.count("has not read the newest plan") == 2
