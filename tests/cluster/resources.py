"""What the emulated API serves, and its refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """One kind of object; ``group`` is empty for the core. An empty ``kind`` takes whatever objects state."""

    group: str
    version: str
    plural: str
    kind: str = ""
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As objects state it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def custom(self) -> bool:
        """Whether a CustomResourceDefinition serves it: no strategic merge, no blind PUT."""
        return "." in self.group and not self.group.endswith(".k8s.io")

    @property
    def subresources(self) -> frozenset[str]:
        """What can be named behind an object's name."""
        return _SUBRESOURCES.get(self.plural, frozenset())

    def missing(self, name: str) -> ApiError:
        """The error of an object that is not there."""
        return ApiError(404, f'{".".join(filter(None, (self.plural, self.group)))} "{name}" not found')


_SUBRESOURCES = {
    "deployments": frozenset({"status", "scale"}),
    "pods": frozenset({"status", "resize", "proxy"}),
    "seldondeployments": frozenset({"status"}),
}
ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", False)
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)
SERVED = (
    ACCESS_REVIEWS,
    NAMESPACES,
    DEFINITIONS,
    Resource("", "v1", "configmaps", "ConfigMap"),
    Resource("", "v1", "pods", "Pod"),
    Resource("", "v1", "events", "Event"),
    Resource("apps", "v1", "deployments", "Deployment"),
    Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    Resource("coordination.k8s.io", "v1", "leases", "Lease"),
    Resource("machinelearning.seldon.io", "v1", "seldondeployments", "SeldonDeployment"),
)
SELDON_DEFINITION: Document = {
    "metadata": {"name": "seldondeployments.machinelearning.seldon.io"},
    "spec": {
        "group": "machinelearning.seldon.io",
        "names": {"kind": "SeldonDeployment", "plural": "seldondeployments", "shortNames": ["sdep"]},
        "scope": "Namespaced",
        "versions": [{"name": "v1", "served": True, "storage": True}],
    },
}


_REASONS = {
    400: "BadRequest",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


class ApiError(Exception):
    """An answer other than 2xx."""

    def __init__(self, code: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason or _REASONS.get(code, "Unknown")

    def document(self) -> Document:
        """The Status that tells it."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.code,
        }


NO_SUCH_RESOURCE = "the server could not find the requested resource"
