"""Kubernetes Events about one object: what `kubectl describe` shows of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from ipa_seldon.cluster.api import EVENTS, MANAGER, Cluster

LONGEST_MESSAGE = 1024
"""Characters that Kubernetes accepts."""


@dataclass(frozen=True)
class Words:
    """What is said: ``reason`` in one CamelCase word, ``message`` in a sentence."""

    severity: Literal["Normal", "Warning"]
    reason: str
    message: str


def post_event(cluster: Cluster, about: Mapping[str, Any], words: Words, key: str | None = None) -> None:
    """An Event about the object ``about``; with a ``key`` ApiError 409 where one with that key was posted before."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = about["metadata"]
    suffix = uuid4().hex if key is None else hashlib.sha256(f"{metadata.get('uid')} {key}".encode()).hexdigest()
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
        "metadata": {"name": f"{metadata['name']}.{suffix[:16]}", "namespace": cluster.namespace},
        "involvedObject": involved,
        "type": words.severity,
        "reason": words.reason,
        "message": words.message[:LONGEST_MESSAGE],
        "source": {"component": MANAGER},
        "reportingComponent": MANAGER,
        "reportingInstance": MANAGER,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    cluster.create(EVENTS, event)
