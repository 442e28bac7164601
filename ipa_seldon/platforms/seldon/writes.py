"""Replicas and cores, written so that nobody else's change is lost."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from ipa_seldon.cluster.api import DEPLOYMENTS, PODS, ApiError, Cluster
from ipa_seldon.platforms.seldon.documents import View
from ipa_seldon.specs.seldon_operator import containers

Document = Mapping[str, Any]


def write_replicas(cluster: Cluster, deployment: Document, replicas: int) -> None:
    """Scale a Deployment, unless it has changed since it was read: ApiError 409."""
    metadata = deployment["metadata"]
    body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": {"replicas": replicas}}
    cluster.patch(DEPLOYMENTS, metadata["name"], body, "scale")


def resize(cluster: Cluster, view: View, cores: Mapping[str, int]) -> dict[str, int]:
    """Give pods their ``cores`` in place; returns those stages and cores for which the cluster cannot (Kubernetes
    before 1.33).
    """
    left: dict[str, int] = {}
    for stage, pods in view.pods.items():
        for name in (pod["metadata"]["name"] for pod in pods):
            if name in cores and stage not in left and not _resized(cluster, name, stage, cores[name]):
                left[stage] = cores[name]
    return left


def _resized(cluster: Cluster, pod: str, container: str, cores: int) -> bool:
    """Whether the pod could be resized, or is gone."""
    quantity = {"cpu": str(cores)}
    resources = {"requests": quantity, "limits": quantity}
    body = {"spec": {"containers": [{"name": container, "resources": resources}]}}
    try:
        cluster.patch_strategic(PODS, pod, body, "resize")
    except ApiError as error:
        if error.code not in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
            raise
        return cluster.get(PODS, pod) is None
    return True


def with_cores(graph: Document, cores: Mapping[str, int]) -> dict[str, Any]:
    """The SeldonDeployment whose pods of these stages start with so many cores."""
    changed = copy.deepcopy(dict(graph))
    for predictor in changed["spec"]["predictors"]:
        for component in predictor.get("componentSpecs") or ():
            for container in containers(component):
                if container["name"] in cores:
                    resources = container.setdefault("resources", {})
                    for kind in ("requests", "limits"):
                        resources.setdefault(kind, {})["cpu"] = str(cores[container["name"]])
    return changed
