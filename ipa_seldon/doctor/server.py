"""What an adapter needs of the cluster, whatever pipelines there are."""

from __future__ import annotations

import re
from http import HTTPStatus

from ipa_seldon.adapter.permissions import PERMISSIONS, Permission
from ipa_seldon.cluster.api import ACCESS_REVIEWS, DEFINITIONS, SELDON_DEPLOYMENTS, ApiError, Cluster
from ipa_seldon.cluster.connection import connect
from ipa_seldon.doctor.findings import GRANT, Finding, Status, attempt, fail, failed, ok, warn
from ipa_seldon.errors import ConfigError

RESIZES = (1, 33)
"""The first Kubernetes that resizes pods in place by default."""
DEFINITION = f"{SELDON_DEPLOYMENTS.plural}.{SELDON_DEPLOYMENTS.group}"
_INSTALL = "install Seldon Core 1.17.1: its Helm chart seldon-core-operator"


def reach(namespace: str | None) -> tuple[Cluster | None, Finding]:
    """The cluster, None where there is none that answers, and what was found of it; ``namespace`` as of connect."""
    try:
        cluster = connect(namespace)
    except ConfigError as error:
        return None, fail("cluster", str(error), "name a kubeconfig: export KUBECONFIG=~/.kube/config")
    except Exception as error:
        return None, failed("cluster", error)
    finding = attempt("cluster", lambda: version(cluster))
    return (None if finding.status is Status.FAIL else cluster), finding


def version(cluster: Cluster) -> Finding:
    """Whether the API server answers, and resizes pods."""
    where = f"{cluster.host}, namespace {cluster.namespace!r}"
    try:
        found = cluster.version()
        release = tuple(int(re.sub(r"\D.*", "", str(found[part]))) for part in ("major", "minor"))
    except ApiError as error:
        if error.code != HTTPStatus.FORBIDDEN:
            raise
        return warn("cluster", f"the API server keeps its version to itself ({where})", "kubectl version tells it")
    except (LookupError, TypeError, ValueError):
        return fail("cluster", f"no Kubernetes API server answers ({where})", "correct the server in KUBECONFIG")
    name = f"Kubernetes {'.'.join(map(str, release))}"
    if release < RESIZES:
        return warn(
            "cluster",
            f"{name} does not resize pods in place: where a plan changes cores, pods are replaced ({where})",
            "upgrade to Kubernetes 1.33 or later",
        )
    return ok("cluster", f"{name} ({where})")


def definition(cluster: Cluster) -> Finding:
    """Whether the cluster knows SeldonDeployments in the version that is used here."""
    wanted = SELDON_DEPLOYMENTS.version
    try:
        found = cluster.get(DEFINITIONS, DEFINITION)
    except ApiError as error:
        if error.code != HTTPStatus.FORBIDDEN:
            raise
        return _listed(cluster)
    if found is None:
        return fail("seldon", f"no CustomResourceDefinition {DEFINITION}", _INSTALL)
    served = [version["name"] for version in found["spec"]["versions"] if version["served"]]
    if wanted not in served:
        return fail("seldon", f"{DEFINITION} serves {', '.join(served) or 'nothing'}; accepted: {wanted}", _INSTALL)
    return ok("seldon", f"{DEFINITION} serves {wanted}")


def _listed(cluster: Cluster) -> Finding:
    """What can be told without a right to read definitions; an adapter may not even list what they define."""
    words = "its objects can be listed"
    try:
        if not cluster.serves(SELDON_DEPLOYMENTS):
            return fail("seldon", f"{DEFINITION}: version {SELDON_DEPLOYMENTS.version} is not served", _INSTALL)
    except ApiError as error:
        if error.code != HTTPStatus.FORBIDDEN:
            raise
        words = "nor may its objects be listed"
    remedy = "enough for an adapter; to see the definition too, run this as an administrator"
    return warn("seldon", f"{DEFINITION}: this account may not read the definition; {words}", remedy)


def permissions(cluster: Cluster) -> Finding:
    """Whether the account that this runs as may do what an adapter does."""
    missing = [permission for permission in PERMISSIONS if not _allowed(cluster, permission)]
    if missing:
        names = ", ".join(map(str, missing))
        return fail("permissions", f"not allowed in namespace {cluster.namespace!r}: {names}", GRANT)
    return ok("permissions", f"all {len(PERMISSIONS)} granted to the account that this runs as")


def _allowed(cluster: Cluster, permission: Permission) -> bool:
    resource, _, subresource = permission.resource.partition("/")
    attributes = {
        "namespace": cluster.namespace,
        "verb": permission.verb,
        "group": permission.group,
        "resource": resource,
        "subresource": subresource,
    }
    head = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    answer = cluster.create(ACCESS_REVIEWS, {**head, "spec": {"resourceAttributes": attributes}})
    return bool(answer["status"]["allowed"])
