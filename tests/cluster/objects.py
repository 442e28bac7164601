"""Small objects for tests, and what a refusal says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes.client import ApiException

from tests.cluster.resources import Document

SELDON = ("machinelearning.seldon.io", "v1", "default", "seldondeployments")
RESOURCES = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> Document:
    """A ConfigMap."""
    return {"metadata": {"name": name, "labels": labels or {}}, "data": data}


def pod(name: str) -> Document:
    """A pod of two containers."""
    containers = [{"name": key, "image": "busybox", "resources": RESOURCES} for key in ("server", "sidecar")]
    return {"metadata": {"name": name}, "spec": {"containers": containers}}


def deployment(name: str) -> Document:
    """A Deployment that does not say how many replicas."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "server", "image": "busybox"}]}}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": labels}, "template": template}}


def graph(name: str) -> Document:
    """A SeldonDeployment."""
    head = {"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment", "metadata": {"name": name}}
    return {**head, "spec": {"predictors": [{"name": "default", "graph": {"name": "node"}}]}}


def refused(call: Callable[[], Any]) -> tuple[int, str]:
    """The code and the reason of a refusal."""
    with pytest.raises(ApiException) as caught:
        call()
    error: Any = caught.value
    return error.status, json.loads(error.body)["reason"]
