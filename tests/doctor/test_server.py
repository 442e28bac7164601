"""What is found of the cluster itself, over HTTP."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from ipa_seldon.adapter.permissions import PERMISSIONS
from ipa_seldon.cluster.api import DEFINITIONS
from ipa_seldon.cluster.connection import connect
from ipa_seldon.doctor.findings import GRANT, Status
from ipa_seldon.doctor.server import permissions
from tests.cluster.test_rbac import shipped
from tests.doctor.conftest import VideoWorld, examined
from tests.prometheus.servers import HOST, answering

DEFINITION = "seldondeployments.machinelearning.seldon.io"


def kubeconfig(directory: Path, url: str) -> Path:
    """A kubeconfig for whatever is at ``url``."""
    content = {
        "clusters": [{"name": "it", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": {"token": "none"}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
        "current-context": "it",
    }
    (directory / "other").write_text(yaml.safe_dump(content))
    return directory / "other"


def test_the_version_and_where(world: VideoWorld) -> None:
    """Which server and namespace were looked at."""
    message = world.examined()["cluster"].message
    assert message == f"Kubernetes 1.33 ({world.emulator.url}, namespace 'default')"
    assert "namespace 'other'" in world.examined("--namespace", "other")["cluster"].message


def test_pods_that_cannot_be_resized_are_a_warning(world: VideoWorld) -> None:
    """Kubernetes before 1.33: it works, by replacing pods."""
    world.emulator.resize_supported = False
    found = world.examined()
    assert found["cluster"].status is Status.WARN
    assert found["cluster"].message.startswith("Kubernetes 1.32 does not resize pods in place")
    assert found.code == 0


def test_versions_of_vendors_are_understood(tmp_path: Path) -> None:
    """They write 33+."""
    with answering(200, json.dumps({"major": "1", "minor": "33+"}).encode()) as asked:
        assert examined(kubeconfig(tmp_path, asked.url))["cluster"].status is Status.OK


def test_a_version_that_may_not_be_read(tmp_path: Path) -> None:
    """A warning; what else there is to check is checked, and says what is missing by itself."""
    with answering(403, b'{"message": "not for you"}') as asked:
        found = examined(kubeconfig(tmp_path, asked.url))
    assert found["cluster"].status is Status.WARN
    assert found["pipeline"].message == "list configmaps: 403: not for you"
    assert GRANT in found["pipeline"].remedy


def test_nobody_answers(tmp_path: Path) -> None:
    """One finding with the system's reason; nothing else is asked of the cluster."""
    with closing(socket.socket()) as held:
        held.bind((HOST, 0))
        found = examined(kubeconfig(tmp_path, f"http://{HOST}:{held.getsockname()[1]}"))
    assert "Connection refused" in found["cluster"].message
    assert found.failed() == ["cluster"]
    assert "seldon" not in found
    assert "pipeline" not in found


def test_credentials_that_are_refused(tmp_path: Path) -> None:
    """One finding, too, which tells of credentials."""
    with answering(401, b'{"message": "Unauthorized"}') as asked:
        found = examined(kubeconfig(tmp_path, asked.url))
    assert found["cluster"].message.endswith("401: Unauthorized")
    assert "credentials" in found["cluster"].remedy
    assert "seldon" not in found


def test_something_else_answers(tmp_path: Path) -> None:
    """A web server, or another API."""
    for body in (b"<html>", b"{}", b"[]", b'{"major": "x", "minor": ""}'):
        with answering(200, body) as asked:
            found = examined(kubeconfig(tmp_path, asked.url))
        assert found.failed() == ["cluster"], body
        assert "seldon" not in found


def test_no_seldon_core(world: VideoWorld) -> None:
    """Without the definition, what to install."""
    world.delete(DEFINITIONS, DEFINITION)
    found = world.examined()["seldon"]
    assert (found.status, found.message) == (Status.FAIL, f"no CustomResourceDefinition {DEFINITION}")
    assert "Seldon Core 1.17.1" in found.remedy


def test_another_version_of_seldon_core(world: VideoWorld) -> None:
    """The definition is there, and does not serve what is used."""
    versions = [{"name": "v1", "served": False}, {"name": "v1alpha2", "served": True}]
    world.cluster.patch(DEFINITIONS, DEFINITION, {"spec": {"versions": versions}})
    found = world.examined()["seldon"]
    assert (found.status, found.message) == (Status.FAIL, f"{DEFINITION} serves v1alpha2; accepted: v1")


def test_a_definition_that_may_not_be_read(world: VideoWorld) -> None:
    """As in the adapter's own pod: a warning, whether its objects may be listed or not; a failure where the cluster
    does not know them.
    """
    world.emulator.fail(resource="customresourcedefinitions", code=403)
    found = world.examined()
    assert found["seldon"].status is Status.WARN
    assert found.code == 0
    assert found["seldon"].message.endswith("; its objects can be listed")
    for code, status in ((403, Status.WARN), (404, Status.FAIL)):
        world.emulator.fail(resource="customresourcedefinitions", code=403)
        world.emulator.fail(verb="list", resource="seldondeployments", code=code)
        assert world.examined()["seldon"].status is status


def test_each_permission_is_missed(world: VideoWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one that is denied is named, alone, with what grants it."""
    monkeypatch.setenv("KUBECONFIG", str(world.kubeconfig))
    cluster = connect()
    for permission in PERMISSIONS:
        resource = "/".join(filter(None, (permission.group, permission.resource)))
        world.emulator.denied.clear()
        world.emulator.denied.add((permission.verb, resource))
        found = permissions(cluster)
        assert (found.status, found.remedy) == (Status.FAIL, GRANT)
        assert found.message == f"not allowed in namespace 'default': {permission}"


def test_the_role_grants_what_is_checked() -> None:
    """Just that, neither more nor less."""
    checked = {(permission.group, permission.resource, permission.verb) for permission in PERMISSIONS}
    assert checked == shipped("ipa-seldon-adapter")
    assert len(set(PERMISSIONS)) == len(PERMISSIONS)
