"""What a node answers when a pod asks for other resources, and what it reports of its pods."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from tests.cluster.resources import Document

Answer = Callable[[Document], Document | None]
"""A pod whose resources are to change -> the condition that it gets instead; None: they are granted."""


def granted(_: Document) -> Document | None:
    """At once."""
    return None


def _answering(kind: str, reason: str, message: str) -> Answer:
    stated = {"reason": reason, "message": message} if reason else {}
    return lambda _: {"type": kind, "status": "True", **stated}


def deferred(message: str) -> Answer:
    """Not now: other pods have the node's cores."""
    return _answering("PodResizePending", "Deferred", message)


def infeasible(message: str) -> Answer:
    """Never: the node is too small."""
    return _answering("PodResizePending", "Infeasible", message)


def in_progress() -> Answer:
    """Granted, and not done yet."""
    return _answering("PodResizeInProgress", "", "")


def failing(message: str) -> Answer:
    """Granted, but it cannot be done; a node goes on trying."""
    return _answering("PodResizeInProgress", "Error", message)


def dated(pod: Document, condition: Document, now: float) -> Document:
    """``condition`` as the node writes it: which version of the pod it is about, and since when it holds."""
    since = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}"
    for before in pod.get("status", {}).get("conditions", ()):
        if before["type"] == condition["type"]:
            since = before["lastTransitionTime"]
    return {**condition, "lastTransitionTime": since, "observedGeneration": pod["metadata"]["generation"]}


def resources_of(pod: Document) -> list[Document]:
    """What a pod asks for, by container."""
    return [container.get("resources", {}) for container in pod["spec"]["containers"]]


def gpus_in(resources: list[Document]) -> int:
    """How many GPUs the containers of a pod take."""
    return sum(int((stated.get("limits") or {}).get("nvidia.com/gpu", 0)) for stated in resources)


def pod_status(pod: Document, resources: list[Document], ip: str, ready: bool) -> Document:
    """As the kubelet reports it; ``resources`` are what each container really has."""
    statuses = [
        {
            "name": container["name"],
            "image": container.get("image", ""),
            "imageID": "",
            "ready": ready,
            "started": ready,
            "restartCount": 0,
            "state": {"running": {}},
            "resources": has,
        }
        for container, has in zip(pod["spec"]["containers"], resources, strict=True)
    ]
    conditions = [{"type": kind, "status": str(ready)} for kind in ("Ready", "ContainersReady")]
    return {"phase": "Running", "podIP": ip, "conditions": conditions, "containerStatuses": statuses}
