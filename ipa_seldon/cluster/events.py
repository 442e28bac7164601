"""Kubernetes Events about one object: what `kubectl describe` shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from ipa_seldon.cluster.api import EVENTS, MANAGER, Cluster

LONGEST_MESSAGE = 1024
"""Characters that Kubernetes accepts."""


def post_event(
    cluster: Cluster, about: Mapping[str, Any], severity: Literal["Normal", "Warning"], reason: str, message: str
) -> None:
    """An Event about the object ``about``; ``reason`` in one CamelCase word."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = about["metadata"]
    involved = {
        "apiVersion": about["apiVersion"],
        "kind": about["kind"],
        "name": metadata["name"],
        "namespace": cluster.namespace,
        "uid": metadata.get("uid", ""),
        "resourceVersion": metadata.get("resourceVersion", ""),
    }
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{uuid4().hex[:16]}", "namespace": cluster.namespace},
        "involvedObject": involved,
        "type": severity,
        "reason": reason,
        "message": message[:LONGEST_MESSAGE],
        "source": {"component": MANAGER},
        "reportingComponent": MANAGER,
        "reportingInstance": MANAGER,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    cluster.create(EVENTS, event)
