"""What the adapter says of a graph on the cluster: a condition as an annotation, and Events.

The status of a SeldonDeployment is its operator's, which writes it as a whole; annotations of its metadata are copied
to no pod.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Literal

from ipa_seldon.cluster.api import SELDON_DEPLOYMENTS, ApiError, Cluster, Document
from ipa_seldon.cluster.events import Words, post_event

CONDITION = "ipa.seldon.io/condition"
RECOMMENDED = "ipa.seldon.io/recommended"


class Voice:
    """Speaks about SeldonDeployments; what cannot be said is told to ``say`` and stops nothing."""

    def __init__(self, cluster: Cluster, say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self.say = say

    def reason(self, graph: Document) -> str:
        """The reason of the condition that a graph has; empty without one."""
        return str(_condition(graph).get("reason", ""))

    def has(self, graph: Document, reason: str, message: str) -> bool:
        """Whether a graph has the condition."""
        found = _condition(graph)
        return (found.get("reason"), found.get("message")) == (reason, message)

    def condition(self, graph: Document, adapting: bool, reason: str, message: str) -> bool:
        """Set the condition ``Adapting`` where it differs from the one there; returns whether it did."""
        wanted = {"type": "Adapting", "status": str(adapting), "reason": reason, "message": message}
        before = _condition(graph)
        if {key: before.get(key) for key in wanted} == wanted:
            return False
        changed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.annotate(graph, {CONDITION: json.dumps({**wanted, "lastTransitionTime": changed})})
        return True

    def recommend(self, graph: Document, words: str | None) -> None:
        """Say what a graph should run, by an Event where that is new, and an annotation; None takes the latter back."""
        if words is not None and (graph["metadata"].get("annotations") or {}).get(RECOMMENDED) != words:
            self.event(graph, "Normal", "Recommended", words)
        self.annotate(graph, {RECOMMENDED: words})

    def annotate(self, graph: Document, annotations: Mapping[str, str | None]) -> None:
        """Set annotations of a graph's metadata where they differ; None removes one."""
        there = graph["metadata"].get("annotations") or {}
        if all(there.get(key) == value for key, value in annotations.items()):
            return
        name = graph["metadata"]["name"]
        try:
            saved = self._cluster.patch(SELDON_DEPLOYMENTS, name, {"metadata": {"annotations": dict(annotations)}})
            graph["metadata"] = saved["metadata"]
        except ApiError as error:
            self.say(f"{name}: cannot be annotated: {error}")

    def event(
        self,
        graph: Document,
        severity: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        key: str | None = None,
    ) -> None:
        """Post an Event about a graph, and say it; of those with the same ``key`` one alone is posted."""
        name = graph["metadata"]["name"]
        self.say(f"{name}: {reason}: {message}")
        try:
            post_event(self._cluster, graph, Words(severity, reason, message), key)
        except ApiError as error:
            if error.code != HTTPStatus.CONFLICT:
                self.say(f"{name}: no Event could be posted: {error}")


def _condition(graph: Document) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((graph["metadata"].get("annotations") or {}).get(CONDITION, "{}"))
    except ValueError:  # a hand has spoilt it
        return {}
    return found
