"""What an adapter does in its namespace, in the words of RBAC: what ``manifests/adapter/base/role.yaml`` grants."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Permission:
    """To do ``verb`` to a ``resource`` ("pods", "pods/resize") of an API ``group`` (empty: the core's)."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{self.group and f' ({self.group})'}"


PERMISSIONS = tuple(
    Permission(group, resource, verb)
    for group, resource, verbs in (
        ("machinelearning.seldon.io", "seldondeployments", ("get", "patch")),
        ("apps", "deployments", ("list",)),
        ("apps", "deployments/scale", ("patch",)),
        ("", "pods", ("get", "list")),
        ("", "pods/proxy", ("get",)),
        ("", "pods/resize", ("patch",)),
        ("", "configmaps", ("get", "list", "create", "patch")),
        ("", "events", ("create",)),
        ("coordination.k8s.io", "leases", ("get", "create", "update")),
        ("autoscaling", "horizontalpodautoscalers", ("list",)),
        ("keda.sh", "scaledobjects", ("list",)),
    )
    for verb in verbs
)
