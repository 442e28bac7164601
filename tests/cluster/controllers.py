"""What a cluster with Seldon Core does to what is written to its API, through that API alone.

``Operator`` and ``Kubelet`` are level-triggered: each pass reads what there is and takes every step that is due, so a
pass that fails half-way (a conflict, say) is made up for by the next one.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from ipa_seldon.specs.seldon_operator import containers, deployment_name, node_service_name, nodes
from tests.cluster.documents import Documents
from tests.cluster.nodes import Answer, dated, gpus_in, granted, pod_status, resources_of
from tests.cluster.pod_runner import InstantPods, PodRunner
from tests.cluster.resources import Document

HASH = "pod-template-hash"
"""The annotation of a pod that tells which template it was made from."""


class Operator:
    """Seldon's operator as far as pipelines on Triton go: a Deployment per component, and the status. No Services, no
    executor, no autoscalers, and no webhook.
    """

    def __init__(self, kubeconfig: Path, namespace: str = "default") -> None:
        self._documents = Documents(kubeconfig, namespace, "seldon-operator")

    def run(self, period: float = 0.05) -> AbstractContextManager[None]:
        """Passes every ``period`` seconds, in a thread."""
        return _repeated(self.step, period)

    def step(self) -> None:
        """One pass; ApiException where the API refuses something."""
        graphs = self._documents.list("seldondeployments")
        present = {
            d["metadata"]["name"]: d for d in self._documents.list("deployments") if _owner(d, "SeldonDeployment")
        }
        wanted = {graph["metadata"]["name"]: _deployments(graph) for graph in graphs}
        for name in present.keys() - {d["metadata"]["name"] for made in wanted.values() for d in made}:
            self._documents.delete("deployments", name)
        for graph in graphs:
            made = [self._made(d, present.get(d["metadata"]["name"])) for d in wanted[graph["metadata"]["name"]]]
            status = _graph_status(made)
            if graph.get("status") != status:
                self._documents.replace("seldondeployments", {**graph, "status": status}, "status")

    def _made(self, wanted: Document, present: Document | None) -> Document:
        """Create a Deployment, or change it where it is not as wanted; its replicas only where they are stated."""
        if present is None:
            return self._documents.create("deployments", wanted)
        metadata = {**present["metadata"], **wanted["metadata"]}
        new = {**present, "metadata": metadata, "spec": {"replicas": present["spec"]["replicas"], **wanted["spec"]}}
        return present if new == present else self._documents.replace("deployments", new)


def _deployments(graph: Document) -> list[Document]:
    """One for each component of each predictor."""
    return [
        _deployment(graph, predictor, index)
        for predictor in graph["spec"]["predictors"]
        for index in range(len(predictor.get("componentSpecs") or ()))
    ]


def _deployment(graph: Document, predictor: Document, index: int) -> Document:
    component, sdep = predictor["componentSpecs"][index], graph["metadata"]["name"]
    name = deployment_name(sdep, predictor["name"], index, component)
    mine = {container["name"] for container in containers(component)}
    units = [unit["name"] for unit in nodes(predictor["graph"]) if unit["name"] in mine]
    chosen = {"seldon-deployment-id": sdep, "app": name}
    services = {f"seldon-app-svc-{unit}": node_service_name(sdep, predictor["name"], unit) for unit in units}
    labels = {**component.get("metadata", {}).get("labels", {}), **chosen, **services}
    annotations = {**graph["spec"].get("annotations", {}), **predictor.get("annotations", {})}
    stated = (holder.get("replicas") for holder in (component, predictor, graph["spec"]))
    replicas = next((count for count in stated if count is not None), None)
    return {
        "metadata": {"name": name, "labels": labels, "ownerReferences": [_reference(graph, "SeldonDeployment")]},
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "selector": {"matchLabels": chosen},
            # Where a cluster has controllers of its own, they leave its pods to the Kubelet here.
            "paused": True,
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": component["spec"]},
        },
    }


def _graph_status(deployments: list[Document]) -> Document:
    statuses = {d["metadata"]["name"]: d.get("status", {}) for d in deployments}
    available = all(s.get("replicas") and not s.get("unavailableReplicas") for s in statuses.values())
    shown = {
        name: {key: status[key] for key in ("replicas", "availableReplicas") if key in status}
        for name, status in statuses.items()
    }
    return {"state": "Available" if available else "Creating", "deploymentStatus": shown}


class Kubelet:
    """The controllers of Deployments and a node in one: as many pods as each Deployment asks for, run by ``runner``.

    There are no ReplicaSets: a Deployment owns its pods, and an annotation says which template each is from. ``answer``
    is what becomes of a pod's wish for other resources, by default that it is granted; ``clock`` gives epoch seconds. A
    pod that asks for GPUs does not start before there are as many free, of the node's ``gpus``.
    """

    def __init__(
        self,
        kubeconfig: Path,
        namespace: str = "default",
        runner: PodRunner | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._documents = Documents(kubeconfig, namespace, "kubelet")
        self._runner = runner or InstantPods()
        self._clock = clock
        self.answer: Answer = granted
        self.gpus = 0
        self._resources: dict[str, list[Document]] = {}
        """What the containers of each pod that runs have, by the pod's name."""

    def run(self, period: float = 0.05) -> AbstractContextManager[None]:
        """Passes every ``period`` seconds, in a thread."""
        return _repeated(self.step, period)

    def step(self) -> None:
        """One pass: a pod that it creates is started by the next one. ApiException where the API refuses something."""
        deployments = self._documents.list("deployments")
        pods = [pod for pod in self._documents.list("pods") if _owner(pod, "Deployment")]
        owners = {deployment["metadata"]["uid"] for deployment in deployments}
        for orphan in (pod for pod in pods if _owner(pod, "Deployment") not in owners):
            self._documents.delete("pods", orphan["metadata"]["name"])
        for name in self._resources.keys() - {pod["metadata"]["name"] for pod in pods}:
            self._runner.stop(name)
            del self._resources[name]
        pods = [self._ran(pod) for pod in pods if _owner(pod, "Deployment") in owners]
        for deployment in deployments:
            uid = deployment["metadata"]["uid"]
            self._converge(deployment, [pod for pod in pods if _owner(pod, "Deployment") == uid])

    def _ran(self, pod: Document) -> Document:
        """Start or resize a pod where that is due, and report it; the pod as it then is."""
        name, asked, held = pod["metadata"]["name"], resources_of(pod), None
        if name not in self._resources:
            taken = sum(map(gpus_in, self._resources.values()))
            if gpus_in(asked) and gpus_in(asked) + taken > self.gpus:
                return pod
            self._runner.start(pod)
            self._resources[name] = asked
        elif self._resources[name] != asked:
            held = self.answer(pod)
            if held is None:
                self._resources[name] = asked
                self._runner.resized(pod)
        reported = pod_status(pod, self._resources[name], self._runner.ip(pod), self._runner.ready(pod))
        if held is not None:
            reported["conditions"].append(dated(pod, held, self._clock()))
        status = {**pod.get("status", {}), **reported}
        return (
            pod if status == pod.get("status") else self._documents.replace("pods", {**pod, "status": status}, "status")
        )

    def _converge(self, deployment: Document, pods: list[Document]) -> None:
        """Take the steps towards the wanted pods that are due, and report them."""
        digest, want = _hash(deployment), deployment["spec"]["replicas"]
        current = [pod for pod in pods if _made_from(pod) == digest]
        old = [pod for pod in pods if pod not in current]
        # While a template is rolled out, one more pod than wanted at most, and never fewer ready ones.
        if not old:
            surplus, missing = max(0, len(current) - want), max(0, want - len(current))
        elif len(pods) > want + 1:  # fewer are wanted since it began
            surplus, missing = len(pods) - want - 1, 0
        elif all(map(_ready, current)):
            surplus, missing = (1, 0) if len(pods) > want else (0, 1)
        else:
            surplus, missing = 0, 0
        for pod in [*sorted(old, key=_ready), *sorted(current, key=_ready)][:surplus]:
            self._documents.delete("pods", pod["metadata"]["name"])
            pods.remove(pod)
        pods += [self._documents.create("pods", _pod(deployment, digest)) for _ in range(missing)]
        status = _deployment_status(deployment, pods, digest)
        if status != deployment.get("status"):
            self._documents.replace("deployments", {**deployment, "status": status}, "status")


def _pod(deployment: Document, digest: str) -> Document:
    template = deployment["spec"]["template"]
    metadata = template["metadata"]
    return {
        "metadata": {
            "generateName": f"{deployment['metadata']['name']}-",
            "labels": metadata["labels"],
            "annotations": {**metadata.get("annotations", {}), HASH: digest},
            "ownerReferences": [_reference(deployment, "Deployment")],
        },
        # As ``paused``: no scheduler puts it on a node.
        "spec": {**template["spec"], "schedulerName": "none"},
    }


def _deployment_status(deployment: Document, pods: list[Document], digest: str) -> Document:
    """Numbers that are 0 are left out, as Kubernetes does."""
    ready, want = sum(map(_ready, pods)), deployment["spec"]["replicas"]
    updated = sum(_made_from(pod) == digest for pod in pods)
    numbers = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": len(pods),
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(want, len(pods)) - ready,
    }
    complete = updated == len(pods) == ready == want
    conditions = [
        {"type": "Available", "status": str(ready >= want)},
        {
            "type": "Progressing",
            "status": "True",
            "reason": "NewReplicaSetAvailable" if complete else "ReplicaSetUpdated",
        },
    ]
    return {**{key: number for key, number in numbers.items() if number}, "conditions": conditions}


def _ready(pod: Document) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _hash(deployment: Document) -> str:
    text = json.dumps(deployment["spec"]["template"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _made_from(pod: Document) -> str | None:
    """The hash of the template that a pod is from."""
    found: str | None = pod["metadata"].get("annotations", {}).get(HASH)
    return found


def _reference(owner: Document, kind: str) -> Document:
    version = {"Deployment": "apps/v1", "SeldonDeployment": "machinelearning.seldon.io/v1"}[kind]
    metadata = owner["metadata"]
    return {"apiVersion": version, "kind": kind, "name": metadata["name"], "uid": metadata["uid"], "controller": True}


def _owner(document: Document, kind: str) -> str | None:
    """The uid of the owner of a kind."""
    owners = document["metadata"].get("ownerReferences", ())
    return next((owner["uid"] for owner in owners if owner["kind"] == kind), None)


@contextmanager
def _repeated(step: Callable[[], None], period: float) -> Iterator[None]:
    """Call ``step`` in a thread, ``period`` seconds apart, until the context ends; refusals are tried again."""
    stopping = threading.Event()

    def loop() -> None:
        while not stopping.is_set():
            with suppress(ApiException, HTTPError):
                step()
            stopping.wait(period)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
