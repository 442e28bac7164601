"""What the API makes of a written object, or why it refuses it. Pure: objects in, a new object out."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime
from typing import Any

from tests.cluster.resources import ApiError, Document, Resource

_OWNED = ("name", "namespace", "uid", "creationTimestamp", "generation", "resourceVersion")
"""Of metadata: set at creation or by the store, whatever a later write says."""
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_LONGEST_PREFIX = 58
_RESIZABLE = ("cpu", "memory")


def created(resource: Resource, namespace: str, body: Document) -> Document:
    """The object that a POST makes, without a resourceVersion; ApiError 400 or 422 says what is wrong with it."""
    body = _readable(resource, body)
    metadata = body["metadata"]
    if metadata.get("namespace", namespace) != namespace:
        raise ApiError(400, "the namespace of the provided object does not match the namespace sent on the request")
    if prefix := metadata.get("generateName"):
        suffix = "".join(random.choices(_SUFFIX, k=5))
        metadata.setdefault("name", prefix[:_LONGEST_PREFIX] + suffix)
    if not metadata.get("name"):
        raise ApiError(422, f"{resource.kind} is invalid: metadata.name: Required value: name or generateName")
    if namespace:
        metadata["namespace"] = namespace
    metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    if "spec" in body:
        metadata["generation"] = 1
    if "status" in resource.subresources:
        body["status"] = {"phase": "Pending"} if resource.plural == "pods" else {}
    return body


def updated(resource: Resource, old: Document, body: Document, subresource: str = "") -> Document:
    """What a PUT or the result of a PATCH makes of ``old``: ``old`` itself where nothing changes.

    ApiError 409 where ``body`` states another resourceVersion or uid, 400 or 422 where it says what cannot be.
    """
    body = _readable(resource, body)
    check_preconditions(resource, old, body["metadata"])
    if subresource:
        part = "status" if subresource == "status" else "spec"
        new = {**old, part: body.get(part, {})}
    else:
        kept = {key: old["metadata"][key] for key in _OWNED if key in old["metadata"]}
        new = {**body, "metadata": {**body["metadata"], **kept}}
        if "status" in resource.subresources:
            new["status"] = old["status"]
    if resource.plural == "pods" and _fixed(new, subresource) != _fixed(old, subresource):
        allowed = "cpu and memory of containers" if subresource else "images of containers"
        raise ApiError(422, f'Pod "{old["metadata"]["name"]}" is invalid: spec: Forbidden: may change: {allowed}')
    if new == old:
        return old
    if new.get("spec") != old.get("spec"):
        new["metadata"] = {**new["metadata"], "generation": old["metadata"].get("generation", 0) + 1}
    return new


def check_preconditions(resource: Resource, old: Document, stated: Document) -> None:
    """ApiError 409 where what a request states about the object it means is not so."""
    current = old["metadata"]
    if stated.get("name", current["name"]) != current["name"]:
        raise ApiError(400, f"the name of the object ({stated['name']}) does not match the name on the URL")
    for key in ("resourceVersion", "uid"):
        if stated.get(key, current[key]) != current[key]:
            raise ApiError(
                409,
                f'Operation cannot be fulfilled on {resource.plural} "{current["name"]}": the object has been modified '
                f"or replaced ({key} is {current[key]}); please apply your changes to the latest version and try again",
            )


def check_blind_put(resource: Resource, body: Document) -> None:
    """ApiError 422 for a PUT that states no resourceVersion, where Kubernetes wants one."""
    if (resource.custom or resource.plural == "leases") and not body.get("metadata", {}).get("resourceVersion"):
        raise ApiError(422, "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update")


def scale_of(deployment: Document) -> Document:
    """The autoscaling/v1 Scale of a Deployment; numbers that are 0 are left out, as Kubernetes does."""
    metadata, replicas = deployment["metadata"], deployment["spec"]["replicas"]
    labels = deployment["spec"].get("selector", {}).get("matchLabels", {})
    chosen = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    shown = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in shown if key in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": {"replicas": deployment["status"].get("replicas", 0), "selector": chosen},
    }


def scaled(resource: Resource, old: Document, scale: Document) -> Document:
    """The Deployment ``old`` with the replicas of a Scale; ApiError 409 or 422."""
    check_preconditions(resource, old, without_nulls(scale.get("metadata") or {}))
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if not isinstance(replicas, int) or replicas < 0:
        raise ApiError(422, f"spec.replicas: Invalid value: {replicas!r}: must be greater than or equal to 0")
    return updated(resource, old, {**old, "spec": {**old["spec"], "replicas": replicas}})


def without_nulls(value: Any) -> Any:
    """A deep copy without the keys that are null."""
    if isinstance(value, dict):
        return {key: without_nulls(entry) for key, entry in value.items() if entry is not None}
    return [without_nulls(entry) for entry in value] if isinstance(value, list) else value


def _readable(resource: Resource, body: Document) -> Document:
    """A copy with apiVersion, kind and what Kubernetes fills in; ApiError 400 where it is of another kind."""
    body = {"apiVersion": resource.api_version, "kind": resource.kind, **without_nulls(body)}
    body.setdefault("metadata", {})
    stated = (body["apiVersion"], body["kind"])
    if stated != (resource.api_version, resource.kind or body["kind"]):
        raise ApiError(400, f"{' '.join(stated)} does not match the expected {resource.api_version} {resource.kind}")
    if resource.plural == "deployments":
        body["spec"] = {"replicas": 1, **body.get("spec", {})}
    return body


def _fixed(pod: Document, subresource: str) -> Document:
    """The part of a pod's spec that a write through ``subresource`` must leave alone."""
    spec = pod.get("spec", {})
    changeable = _without_resources if subresource == "resize" else _without_image
    containers = [changeable(container) for container in spec.get("containers", ())]
    return {**spec, "containers": containers}


def _without_resources(container: Document) -> Document:
    kept = {
        key: {name: quantity for name, quantity in quantities.items() if name not in _RESIZABLE}
        for key, quantities in container.get("resources", {}).items()
    }
    return {**container, "resources": kept}


def _without_image(container: Document) -> Document:
    return {key: value for key, value in container.items() if key != "image"}
