"""The controllers of a cluster, pass by pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from ipa_seldon.specs.seldon_operator import deployment_name
from tests.cluster.controllers import HASH, Kubelet, Operator
from tests.cluster.emulator import Emulator
from tests.cluster.nodes import Answer, deferred, failing, granted, in_progress, infeasible
from tests.cluster.objects import SELDON
from tests.cluster.pod_runner import InstantPods
from tests.cluster.resources import Document
from tests.waiting import wait_for

STAGES = ("detect", "recognise")
PASSES = 12
"""Enough for whatever is to happen here to have happened."""


def component(stage: str, cpu: str = "1", **more: Any) -> Document:
    """The pods of one stage."""
    quantities = {"cpu": cpu, "memory": "1Gi"}
    server = {"name": stage, "image": "triton", "resources": {"requests": quantities, "limits": quantities}}
    return {"spec": {"containers": [server, {"name": "ipa-sidecar", "image": "sidecar"}]}, **more}


def graph(*components: Document, **more: Any) -> Document:
    """A SeldonDeployment of a chain."""
    unit: Document = {"name": STAGES[1], "implementation": "TRITON_SERVER", "modelUri": "pvc://models"}
    predictor = {
        "name": "default",
        "graph": {"name": STAGES[0], "implementation": "TRITON_SERVER", "modelUri": "pvc://models", "children": [unit]},
        "componentSpecs": list(components or map(component, STAGES)),
    }
    head = {"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment", "metadata": {"name": "text"}}
    return {**head, "spec": {"predictors": [predictor], **more}}


class Cluster:
    """A server with its controllers, turned by hand."""

    def __init__(self, emulator: Emulator, kubeconfig: Path, pods: InstantPods) -> None:
        config.load_kube_config(str(kubeconfig))
        self.emulator = emulator
        self.pods = pods
        self.operator = Operator(kubeconfig)
        self.kubelet = Kubelet(kubeconfig, runner=pods)
        self.custom: Any = client.CustomObjectsApi()
        self.apps: Any = client.AppsV1Api()
        self.core: Any = client.CoreV1Api()
        self.custom.create_namespaced_custom_object(*SELDON, graph())

    def turn(self, passes: int = PASSES) -> None:
        """Passes of both."""
        for _ in range(passes):
            self.operator.step()
            self.kubelet.step()

    def deployment(self, index: int) -> Document:
        """The Deployment of a stage."""
        spec = component(STAGES[index])
        return self.emulator.object("deployments", deployment_name("text", "default", index, spec))

    def pods_of(self, index: int) -> list[Document]:
        """The pods of a stage."""
        app = self.deployment(index)["metadata"]["name"]
        return [pod for pod in self.emulator.objects("pods") if pod["metadata"]["labels"]["app"] == app]

    def ready(self, index: int) -> int:
        """How many of them are."""
        return sum(
            pod["status"]["containerStatuses"][0]["ready"] for pod in self.pods_of(index) if pod["status"].get("podIP")
        )

    def scale(self, index: int, replicas: int) -> None:
        """As an adapter does it."""
        name = self.deployment(index)["metadata"]["name"]
        self.apps.patch_namespaced_deployment_scale(name, "default", {"spec": {"replicas": replicas}})

    def patch(self, **spec: Any) -> None:
        """Change the SeldonDeployment."""
        self.custom.patch_namespaced_custom_object(*SELDON, "text", {"spec": spec})


@pytest.fixture
def cluster(emulator: Emulator, kubeconfig: Path) -> Cluster:
    """One with a pipeline of two stages, before the first pass."""
    return Cluster(emulator, kubeconfig, InstantPods(fails=_broken))


def _broken(pod: Document) -> bool:
    return bool(pod["spec"]["containers"][0]["image"] == "broken")


def test_a_graph_becomes_a_deployment_per_component(cluster: Cluster) -> None:
    """Named and labelled as Seldon's operator does it, owned by the graph, one replica where none is stated."""
    cluster.turn()
    owner = cluster.emulator.object("seldondeployments", "text")["metadata"]["uid"]
    assert len(cluster.emulator.objects("deployments")) == 2
    for index, stage in enumerate(STAGES):
        found = cluster.deployment(index)
        name = found["metadata"]["name"]
        labels = {"seldon-deployment-id": "text", "app": name, f"seldon-app-svc-{stage}": f"text-default-{stage}"}
        assert found["metadata"]["labels"] == found["spec"]["template"]["metadata"]["labels"] == labels
        assert found["metadata"]["ownerReferences"][0]["uid"] == owner
        assert found["spec"]["replicas"] == 1
        assert found["spec"]["template"]["spec"] == component(stage)["spec"]


def test_a_pipeline_becomes_available(cluster: Cluster) -> None:
    """Creating while pods are not ready; then pods with addresses of their own, and numbers in every status."""
    cluster.pods.hold()
    cluster.turn()
    assert cluster.emulator.object("seldondeployments", "text")["status"]["state"] == "Creating"
    assert [cluster.ready(index) for index in (0, 1)] == [0, 0]
    cluster.pods.release()
    cluster.turn()
    found = cluster.emulator.object("seldondeployments", "text")["status"]
    names = [cluster.deployment(index)["metadata"]["name"] for index in (0, 1)]
    numbers = {"replicas": 1, "availableReplicas": 1}
    assert found == {"state": "Available", "deploymentStatus": dict.fromkeys(names, numbers)}
    status = cluster.deployment(0)["status"]
    assert {key: status[key] for key in status if key != "conditions"} == {
        "observedGeneration": 1,
        **dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1),
    }
    (first,), (second,) = cluster.pods_of(0), cluster.pods_of(1)
    assert first["status"]["podIP"].startswith("127.")
    assert first["status"]["podIP"] != second["status"]["podIP"]
    assert first["status"]["phase"] == "Running"


def test_a_settled_cluster_is_not_written_to(cluster: Cluster) -> None:
    """Passes over what is as wanted change nothing."""
    cluster.turn()
    before = cluster.emulator.objects("pods") + cluster.emulator.objects("deployments")
    cluster.turn()
    assert cluster.emulator.objects("pods") + cluster.emulator.objects("deployments") == before


def test_a_scale_is_followed_and_kept(cluster: Cluster) -> None:
    """Up and down, pods come and go and the operator leaves the scale alone; the official client reads them."""
    cluster.turn()
    for replicas in (3, 1):
        cluster.scale(0, replicas)
        cluster.turn()
        assert (len(cluster.pods_of(0)), cluster.ready(0)) == (replicas, replicas)
        pods = cluster.core.list_namespaced_pod("default", label_selector="seldon-app-svc-detect").items
        assert sorted(pod.metadata.name for pod in pods) == sorted(p["metadata"]["name"] for p in cluster.pods_of(0))
        assert len(cluster.pods.running) == replicas + 1


@pytest.mark.parametrize(
    ("components", "spec", "replicas"),
    [({}, {"replicas": 2}, 2), ({"replicas": 3}, {"replicas": 2}, 3)],
)
def test_stated_replicas_undo_a_scale(cluster: Cluster, components: Document, spec: Document, replicas: int) -> None:
    """The component's count, then the graph's."""
    cluster.patch(**graph(component(STAGES[0], **components), component(STAGES[1]), **spec)["spec"])
    cluster.turn()
    assert cluster.deployment(0)["spec"]["replicas"] == replicas
    cluster.scale(0, 5)
    cluster.turn(1)
    assert cluster.deployment(0)["spec"]["replicas"] == replicas


def test_a_changed_template_replaces_pods_one_by_one(cluster: Cluster) -> None:
    """There is one pod more than wanted at most, and as many ready ones as wanted at all times; others stay."""
    cluster.turn()
    cluster.scale(0, 3)
    cluster.turn()
    others, old = cluster.pods_of(1), {pod["metadata"]["name"] for pod in cluster.pods_of(0)}
    cluster.patch(**graph(component(STAGES[0], cpu="2"), component(STAGES[1]))["spec"])
    for _ in range(2 * PASSES):
        cluster.turn(1)
        assert len(cluster.pods_of(0)) <= 4
        assert cluster.ready(0) >= 3
    assert {pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] for pod in cluster.pods_of(0)} == {"2"}
    assert len({pod["metadata"]["annotations"][HASH] for pod in cluster.pods_of(0)}) == 1
    assert not old & {pod["metadata"]["name"] for pod in cluster.pods_of(0)}
    assert cluster.pods_of(1) == others


def test_a_template_whose_pods_fail_takes_no_pod_away(cluster: Cluster) -> None:
    """The roll stops at the first new pod, the graph is not available, and going back ends it."""
    cluster.turn()
    broken = component(STAGES[0])
    broken["spec"]["containers"][0]["image"] = "broken"
    cluster.patch(**graph(broken, component(STAGES[1]))["spec"])
    cluster.turn()
    assert (len(cluster.pods_of(0)), cluster.ready(0)) == (2, 1)
    assert cluster.emulator.object("seldondeployments", "text")["status"]["state"] == "Creating"
    cluster.patch(**graph()["spec"])
    cluster.turn()
    assert (len(cluster.pods_of(0)), cluster.ready(0)) == (1, 1)
    assert cluster.emulator.object("seldondeployments", "text")["status"]["state"] == "Available"


def test_a_resized_pod_stays(cluster: Cluster) -> None:
    """The runner is told once, the status has the new resources, and no pod is replaced."""
    cluster.turn()
    (pod,) = cluster.pods_of(0)
    name, quantities = pod["metadata"]["name"], {"cpu": "2"}
    resources = {"requests": quantities, "limits": quantities}
    body = {"spec": {"containers": [{"name": "detect", "resources": resources}]}}
    cluster.core.patch_namespaced_pod_resize(name, "default", body)
    cluster.turn()
    (pod,) = cluster.pods_of(0)
    assert pod["metadata"]["name"] == name
    assert pod["status"]["containerStatuses"][0]["resources"]["limits"] == {"cpu": "2", "memory": "1Gi"}
    assert cluster.pods.resizes == [name]


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (deferred("full"), "PodResizePending", "Deferred"),
        (infeasible("small"), "PodResizePending", "Infeasible"),
        (in_progress(), "PodResizeInProgress", None),
        (failing("busy"), "PodResizeInProgress", "Error"),
    ],
)
def test_a_resize_that_is_not_granted(cluster: Cluster, answer: Answer, kind: str, reason: str | None) -> None:
    """The status keeps what the pod has, and says why, about which version of it and since when; once it is granted,
    nothing is said any more.
    """
    cluster.turn()
    (pod,) = cluster.pods_of(0)
    name, quantities = pod["metadata"]["name"], {"cpu": "2"}
    body = {"spec": {"containers": [{"name": "detect", "resources": {"requests": quantities, "limits": quantities}}]}}
    cluster.kubelet.answer = answer
    cluster.core.patch_namespaced_pod_resize(name, "default", body)
    cluster.turn(1)
    (first,) = cluster.pods_of(0)
    cluster.turn()
    (pod,) = cluster.pods_of(0)
    assert pod == first
    assert pod["status"]["containerStatuses"][0]["resources"]["limits"]["cpu"] == "1"
    (said,) = (found for found in pod["status"]["conditions"] if found["type"] == kind)
    assert (said.get("reason"), said["observedGeneration"]) == (reason, pod["metadata"]["generation"])
    assert said["lastTransitionTime"].endswith("Z")
    assert cluster.pods.resizes == []
    cluster.kubelet.answer = granted
    cluster.turn()
    (pod,) = cluster.pods_of(0)
    assert pod["status"]["containerStatuses"][0]["resources"]["limits"]["cpu"] == "2"
    assert kind not in {found["type"] for found in pod["status"]["conditions"]}
    assert cluster.pods.resizes == [name]


def test_what_is_no_longer_wanted_goes(cluster: Cluster) -> None:
    """A component that is dropped takes its Deployment along, a graph that is deleted everything, a pod is replaced."""
    cluster.turn()
    (lost,) = (pod["metadata"]["name"] for pod in cluster.pods_of(0))
    cluster.core.delete_namespaced_pod(lost, "default")
    cluster.turn()
    assert cluster.ready(0) == 1
    assert lost not in cluster.pods.running
    cluster.patch(**graph(component(STAGES[0]))["spec"])
    cluster.turn()
    assert len(cluster.emulator.objects("deployments")) == len(cluster.pods.running) == 1
    cluster.custom.delete_namespaced_custom_object(*SELDON, "text")
    cluster.turn()
    assert not cluster.emulator.objects("deployments") + cluster.emulator.objects("pods")
    assert not cluster.pods.running


def test_both_run_by_themselves(cluster: Cluster) -> None:
    """In threads, beside writes of others; their calls are not recorded, and faults do not strike them."""
    cluster.emulator.clear_calls()
    cluster.emulator.fail(code=500)
    with cluster.operator.run(0.01), cluster.kubelet.run(0.01):
        wait_for(lambda: len(cluster.emulator.objects("deployments")) == 2, 10)
        assert cluster.emulator.calls == []
        with pytest.raises(client.ApiException):
            cluster.scale(0, 4)
        cluster.scale(0, 4)
        wait_for(lambda: cluster.ready(0) == 4, 10)
        wait_for(lambda: cluster.emulator.object("seldondeployments", "text")["status"]["state"] == "Available", 10)
    assert [call.code for call in cluster.emulator.calls] == [500, 200]
