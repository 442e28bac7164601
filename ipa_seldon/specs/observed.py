"""What Kubernetes documents say runs: a SeldonDeployment's Deployments and pods, read as states of stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ipa_seldon.specs.desired import ENTRY, SIDECAR
from ipa_seldon.specs.seldon_operator import Document, containers, deployment_name

PAUSED = "ipa.seldon.io/paused"
"""An annotation of the SeldonDeployment: while it is there, nothing is changed. Its value says why."""


@dataclass(frozen=True)
class Refusal:
    """Why a graph is not changed now: ``reason`` in one CamelCase word, ``message`` in a sentence."""

    reason: str
    message: str


def stage_deployments(graph: Document, predictor: str, stages: Sequence[str]) -> dict[str, str]:
    """Stage -> the name of its Deployment; stages without a componentSpec of their own are left out."""
    return {stage: name for candidate, stage, name in _placed(graph, stages) if candidate == predictor}


def set_deployments(graph: Document, stage: str) -> dict[str, str]:
    """Predictor -> the name of the Deployment that runs ``stage`` in it."""
    return {predictor: name for predictor, _, name in _placed(graph, [stage])}


def _placed(graph: Document, stages: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Predictor, stage, and the name of the Deployment that has the stage's container."""
    for predictor in graph["spec"]["predictors"]:
        for index, component in enumerate(predictor.get("componentSpecs") or ()):
            for container in containers(component):
                if container["name"] in stages:
                    name = deployment_name(graph["metadata"]["name"], predictor["name"], index, component)
                    yield predictor["name"], container["name"], name


def refusal(
    graph: Document, predictor: str | None, deployments: Mapping[str, Document | None], rolls: bool = False
) -> Refusal | None:
    """Why these documents forbid a change, None where they do not; ``deployments`` by stage. ``predictor`` None: all of
    them are ours to change. ``rolls``: pods that are being replaced, or are not there yet, are our doing.
    """
    annotations = graph["metadata"].get("annotations") or {}
    if PAUSED in annotations:
        why = annotations[PAUSED]
        said = f": {why}" if why not in ("", "true") else ""
        return Refusal("Paused", f"annotation {PAUSED}{said}; remove it to go on")
    owned = _scaled_by_operator(graph, predictor)
    if owned:
        return Refusal("ReplicasInSpec", f"{owned}: Seldon's operator would undo every scale; remove it to go on")
    absent = [stage for stage, deployment in deployments.items() if deployment is None]
    if absent and not rolls:
        return Refusal("NotDeployed", f"no Deployment yet for {', '.join(absent)}")
    for stage, deployment in deployments.items():
        if deployment is not None and replicas_of(deployment) == 0:
            return Refusal("ScaledToZero", f"{stage} has no replicas; scale its Deployment up to go on")
        status = (deployment or {}).get("status") or {}
        if not rolls and status.get("replicas", 0) > status.get("updatedReplicas", 0):
            return Refusal("Rolling", f"the pods of {stage} are being replaced")
    return None


def _scaled_by_operator(graph: Document, predictor: str | None) -> str:
    """The first field by which the operator decides on replicas itself."""
    spec = graph["spec"]
    if spec.get("replicas") is not None:
        return "spec.replicas"
    for index, candidate in enumerate(spec["predictors"]):
        if predictor not in (None, candidate["name"]):
            continue
        where = f"spec.predictors[{index}]"
        if candidate.get("replicas") is not None:
            return f"{where}.replicas"
        for number, component in enumerate(candidate.get("componentSpecs") or ()):
            for key in ("replicas", "hpaSpec", "kedaSpec"):
                if component.get(key) is not None:
                    return f"{where}.componentSpecs[{number}].{key}"
    return ""


def foreign_autoscaler(
    autoscalers: Sequence[Document], scaled_objects: Sequence[Document], names: Sequence[str]
) -> str:
    """The first autoscaler in words that scales one of the Deployments ``names``; empty: none does."""
    for kind, found in (("HorizontalPodAutoscaler", autoscalers), ("ScaledObject", scaled_objects)):
        for document in found:
            target = document["spec"]["scaleTargetRef"]
            if target.get("kind", "Deployment") == "Deployment" and target["name"] in names:
                return f"{kind} {document['metadata']['name']} scales {target['name']}"
    return ""


def replicas_of(deployment: Document) -> int:
    """What a Deployment asks for."""
    return int(deployment["spec"].get("replicas", 1))


def living(pods: Sequence[dict[str, Any]], deployment: str) -> list[dict[str, Any]]:
    """The pods of a Deployment that are not on their way out."""
    return [
        pod
        for pod in pods
        if pod["metadata"].get("labels", {}).get("app") == deployment and not pod["metadata"].get("deletionTimestamp")
    ]


def is_ready(pod: Document) -> bool:
    """Whether Kubernetes sends a pod requests."""
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def asked_cores(pod: Document, container: str) -> int:
    """The whole cores that a pod, or the template of one, asks for; 0 where it asks for none."""
    return next((_cores(found) or 0 for found in pod["spec"]["containers"] if found["name"] == container), 0)


def entry_of(pod: Document, key: str) -> str:
    """The entry of the plan document that a pod, or one of a template, of the stage or variant ``key`` reads."""
    for container in pod["spec"]["containers"]:
        arguments = container.get("args") or ()
        if container["name"] == SIDECAR and ENTRY in arguments:
            return str(arguments[arguments.index(ENTRY) + 1])
    return key


def granted_cores(pod: Document, container: str) -> int | None:
    """The whole cores that a container has, as its node says. None where it says nothing: the container has not started
    yet, or the node cannot resize it (Kubernetes before 1.33) and it has what was asked for.
    """
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return next((_cores(status) for status in statuses if status["name"] == container), None)


def _cores(holder: Mapping[str, Any]) -> int | None:
    quantity = ((holder.get("resources") or {}).get("limits") or {}).get("cpu")
    return None if quantity is None else int(_cpu(str(quantity)))


def _cpu(quantity: str) -> float:
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


@dataclass(frozen=True)
class Trouble:
    """What keeps a pod from the cores that it asks for: ``reason`` in one word, ``message`` in a sentence. ``since`` is
    when that began, as its node wrote it (RFC 3339; empty: not said). ``final``: waiting does not help.
    """

    reason: str
    message: str
    since: str = ""
    final: bool = False

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.reason, self.message)))


def resize_trouble(pod: Document) -> Trouble | None:
    """What a pod's node says of the cores that the pod asks for now: Deferred (not now), Infeasible (never on this
    node), Error (granted, but it could not be done; it goes on trying). None: nothing, or that all goes well.
    """
    conditions = pod.get("status", {}).get("conditions") or ()
    for kind in ("PodResizePending", "PodResizeInProgress"):  # both may be there; the first is of the newer wish
        for found in conditions:
            if found["type"] == kind and found["status"] == "True" and found.get("reason") and _current(pod, found):
                # Without a generation (Kubernetes 1.33) it may be the answer to what was asked for before.
                final = found["reason"] == "Infeasible" and "observedGeneration" in found
                since = str(found.get("lastTransitionTime") or "")
                return Trouble(str(found["reason"]), str(found.get("message") or ""), since, final)
    return None


def _current(pod: Document, condition: Mapping[str, Any]) -> bool:
    """Whether a condition is about the pod as it is asked for now, as far as it says."""
    generation = pod["metadata"].get("generation", 0)
    return bool(condition.get("observedGeneration", generation) >= generation)
