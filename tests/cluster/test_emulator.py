"""Objects of the emulated API, through the official client."""

from __future__ import annotations

import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client import ApiException

from tests.cluster.emulator import Emulator
from tests.cluster.objects import SELDON, config_map, deployment, graph, pod, refused
from tests.cluster.patches import json_patch
from tests.cluster.pod_runner import loopback_address
from tests.cluster.resources import ApiError, Document

MERGE = "application/merge-patch+json"


def test_objects_are_created_read_changed_and_deleted(core: Any) -> None:
    """The server sets name, uid and times; a change has a later resourceVersion, a write of the same keeps it."""
    made = core.create_namespaced_config_map("default", {"metadata": {"generateName": "plan-"}, "data": {"a": "1"}})
    assert made.metadata.name.startswith("plan-")
    assert made.metadata.uid
    assert made.metadata.creation_timestamp
    name, version = made.metadata.name, int(made.metadata.resource_version)
    made.data["a"] = "2"
    changed = core.replace_namespaced_config_map(name, "default", made)
    assert int(changed.metadata.resource_version) > version
    again = core.replace_namespaced_config_map(name, "default", changed)
    assert again.metadata.resource_version == changed.metadata.resource_version
    assert core.read_namespaced_config_map(name, "default").data == {"a": "2"}
    core.delete_namespaced_config_map(name, "default")
    assert refused(partial(core.read_namespaced_config_map, name, "default")) == (404, "NotFound")


def test_wrong_writes_are_refused_as_kubernetes_does(core: Any) -> None:
    """A second object of a name, an old resourceVersion or uid, a missing namespace, another kind."""
    old = core.create_namespaced_config_map("default", config_map("plan"))
    assert refused(partial(core.create_namespaced_config_map, "default", config_map("plan"))) == (409, "AlreadyExists")
    core.patch_namespaced_config_map("plan", "default", {"data": {"a": "1"}})
    old.data = {"a": "2"}
    assert refused(partial(core.replace_namespaced_config_map, "plan", "default", old)) == (409, "Conflict")
    stale = {"metadata": {"resourceVersion": old.metadata.resource_version}, "data": {"a": "2"}}
    assert refused(partial(core.patch_namespaced_config_map, "plan", "default", stale)) == (409, "Conflict")
    other = {"preconditions": {"uid": "another"}}
    assert refused(partial(core.delete_namespaced_config_map, "plan", "default", body=other)) == (409, "Conflict")
    assert refused(partial(core.create_namespaced_config_map, "nowhere", config_map("plan"))) == (404, "NotFound")
    secret = {"kind": "Secret", **config_map("secret")}
    assert refused(partial(core.create_namespaced_config_map, "default", secret)) == (400, "BadRequest")


def test_custom_resources_want_a_resource_version_and_no_strategic_merge(custom: Any) -> None:
    """As for every CustomResourceDefinition: a blind PUT is 422, a strategic merge or an apply 415."""
    made = custom.create_namespaced_custom_object(*SELDON, graph("text"))
    assert made["metadata"]["generation"] == 1
    blind = partial(custom.replace_namespaced_custom_object, *SELDON, "text", graph("text"))
    assert refused(blind) == (422, "Invalid")
    labels = {"metadata": {"labels": {"a": "b"}}}
    for kind in ("application/strategic-merge-patch+json", "application/apply-patch+json"):
        assert refused(partial(custom.patch_namespaced_custom_object, *SELDON, "text", labels, _content_type=kind)) == (
            415,
            "UnsupportedMediaType",
        )
    changed = custom.patch_namespaced_custom_object(*SELDON, "text", {"spec": {"protocol": "v2"}})
    assert changed["metadata"]["generation"] == 2
    labelled = custom.patch_namespaced_custom_object(*SELDON, "text", labels)
    assert labelled["metadata"]["generation"] == 2


def test_only_registered_kinds_are_served(core: Any, custom: Any, emulator: Emulator) -> None:
    """Unknown groups and unknown plurals are 404, until they are registered."""
    keda = ("keda.sh", "v1alpha1", "default", "scaledobjects")
    with pytest.raises(ApiException) as caught:
        custom.list_namespaced_custom_object(*keda)
    assert (caught.value.status, caught.value.body) == (404, "404 page not found\n")
    assert refused(partial(core.list_namespaced_service, "default")) == (404, "NotFound")
    emulator.register("keda.sh", "v1alpha1", "scaledobjects")
    scaler = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "text"}}
    custom.create_namespaced_custom_object(*keda, scaler)
    found = custom.list_namespaced_custom_object(*keda)
    assert [item["kind"] for item in found["items"]] == ["ScaledObject"]
    definition = client.CustomObjectsApi().get_cluster_custom_object(
        "apiextensions.k8s.io", "v1", "customresourcedefinitions", "seldondeployments.machinelearning.seldon.io"
    )
    assert definition
    assert client.VersionApi().get_code().minor == "33"


def test_lists_are_selected_by_labels_and_fields(core: Any) -> None:
    """Every operator of label selectors, and the fields that are supported; others are 400."""
    core.create_namespace({"metadata": {"name": "other"}})
    for name, labels in (("a", {"tier": "web", "ready": ""}), ("b", {"tier": "db"}), ("c", {})):
        core.create_namespaced_config_map("default", config_map(name, labels))
    core.create_namespaced_config_map("other", config_map("a"))

    def names(**selectors: str) -> str:
        return "".join(item.metadata.name for item in core.list_namespaced_config_map("default", **selectors).items)

    wanted = {
        "tier=web": "a",
        "tier==web": "a",
        "tier!=web": "bc",
        "tier in (web, db)": "ab",
        "tier notin (web,x),tier": "b",
        "tier,ready": "a",
        "!tier": "c",
        "": "abc",
    }
    assert {text: names(label_selector=text) for text in wanted} == wanted
    assert names(field_selector="metadata.name=b") == "b"
    assert names(field_selector="metadata.name!=b,metadata.namespace=default") == "ac"
    assert len(core.list_config_map_for_all_namespaces().items) == 4
    assert refused(lambda: names(field_selector="data.a=1")) == (400, "BadRequest")
    core.create_namespaced_pod("default", pod("p"))
    assert len(core.list_namespaced_pod("default", field_selector="status.phase=Pending").items) == 1


def test_patches_of_every_type(core: Any, apps: Any) -> None:
    """Merge replaces lists and removes nulls, strategic merge merges lists by name, JSON patch tests first."""
    core.create_namespaced_pod("default", pod("p"))
    core.create_namespaced_config_map("default", config_map("plan", a="1", b="2"))
    merged = core.patch_namespaced_config_map("plan", "default", {"data": {"a": None, "c": "3"}}, _content_type=MERGE)
    assert merged.data == {"b": "2", "c": "3"}
    image = {"spec": {"containers": [{"name": "sidecar", "image": "new"}]}}
    containers = core.patch_namespaced_pod("p", "default", image).spec.containers
    assert [(c.name, c.image) for c in containers] == [("server", "busybox"), ("sidecar", "new")]
    version = merged.metadata.resource_version
    guarded = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "add", "path": "/metadata/annotations", "value": {"a/b": "c"}},
        {"op": "replace", "path": "/data/b", "value": "4"},
        {"op": "remove", "path": "/data/c"},
    ]
    patched = core.patch_namespaced_config_map("plan", "default", guarded)
    assert (patched.data, patched.metadata.annotations) == ({"b": "4"}, {"a/b": "c"})
    assert refused(partial(core.patch_namespaced_config_map, "plan", "default", guarded)) == (422, "Invalid")


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ({"op": "add", "path": "/list/-", "value": 3}, {"list": [1, 2, 3], "a/b": 0}),
        ({"op": "add", "path": "/list/0", "value": 3}, {"list": [3, 1, 2], "a/b": 0}),
        ({"op": "remove", "path": "/list/1"}, {"list": [1], "a/b": 0}),
        ({"op": "replace", "path": "/a~1b", "value": 5}, {"list": [1, 2], "a/b": 5}),
        ({"op": "replace", "path": "/missing", "value": 5}, 422),
        ({"op": "remove", "path": "/list/7"}, 422),
        ({"op": "test", "path": "/a~1b", "value": 5}, 422),
        ({"op": "move", "path": "/a~1b", "from": "/list"}, 400),
    ],
)
def test_json_patch_operations(operation: Document, result: Document | int) -> None:
    """RFC 6902; what does not apply is 422, as Kubernetes answers."""
    document = {"list": [1, 2], "a/b": 0}
    if isinstance(result, int):
        with pytest.raises(ApiError) as caught:
            json_patch(document, [operation])
        assert caught.value.code == result
    else:
        assert json_patch(document, [operation]) == result
    assert document == {"list": [1, 2], "a/b": 0}


def test_status_and_spec_are_written_apart(custom: Any, apps: Any) -> None:
    """A write of the object leaves its status, a write of the status leaves the rest, and no generation passes."""
    custom.create_namespaced_custom_object(*SELDON, {**graph("text"), "status": {"state": "Available"}})
    body = {"status": {"state": "Creating"}, "spec": {"protocol": "v2"}}
    changed = custom.patch_namespaced_custom_object(*SELDON, "text", body)
    assert (changed["status"], changed["spec"]["protocol"]) == ({}, "v2")
    told = custom.patch_namespaced_custom_object_status(*SELDON, "text", {**body, "spec": {"protocol": "seldon"}})
    assert (told["status"], told["spec"]["protocol"]) == ({"state": "Creating"}, "v2")
    assert told["metadata"]["generation"] == 2
    apps.create_namespaced_deployment("default", deployment("d"))
    status = {"status": {"replicas": 1, "readyReplicas": 1}}
    assert apps.patch_namespaced_deployment_status("d", "default", status).status.ready_replicas == 1
    assert apps.read_namespaced_deployment("d", "default").metadata.generation == 1


def test_deployments_scale(apps: Any) -> None:
    """The Scale has the Deployment's resourceVersion, is guarded by it, and writes its replicas alone."""
    made = apps.create_namespaced_deployment("default", deployment("d"))
    scale = apps.read_namespaced_deployment_scale("d", "default")
    assert (made.spec.replicas, scale.spec.replicas, scale.status.selector) == (1, 1, "app=d")
    scale.spec.replicas = 3
    scaled = apps.replace_namespaced_deployment_scale("d", "default", scale)
    assert scaled.spec.replicas == 3
    assert int(scaled.metadata.resource_version) > int(scale.metadata.resource_version)
    assert refused(partial(apps.replace_namespaced_deployment_scale, "d", "default", scale)) == (409, "Conflict")
    patch = {"spec": {"replicas": 2}}
    assert apps.patch_namespaced_deployment_scale("d", "default", patch, _content_type=MERGE).spec.replicas == 2
    again = apps.patch_namespaced_deployment_scale("d", "default", patch)
    found = apps.read_namespaced_deployment("d", "default")
    assert found.metadata.resource_version == again.metadata.resource_version
    assert (found.spec.replicas, found.metadata.generation) == (2, 3)
    negative = {"spec": {"replicas": -1}}
    assert refused(partial(apps.patch_namespaced_deployment_scale, "d", "default", negative)) == (422, "Invalid")


def test_pods_are_resized_only_through_their_subresource(core: Any, emulator: Emulator) -> None:
    """It changes cpu and memory of containers and nothing else; the pod itself cannot be written so."""
    core.create_namespaced_pod("default", pod("p"))
    grown = {"limits": {"cpu": "2"}, "requests": {"cpu": "2"}}
    resize = {"spec": {"containers": [{"name": "server", "resources": grown}]}}
    assert refused(partial(core.patch_namespaced_pod, "p", "default", resize)) == (422, "Invalid")
    resized = core.patch_namespaced_pod_resize("p", "default", resize)
    server, sidecar = resized.spec.containers
    assert (server.resources.limits, sidecar.resources.limits["cpu"]) == ({"cpu": "2", "memory": "1Gi"}, "1")
    assert resized.metadata.generation == 2
    other = {"spec": {"containers": [{"name": "server", "image": "new"}]}}
    assert refused(partial(core.patch_namespaced_pod_resize, "p", "default", other)) == (422, "Invalid")
    emulator.resize_supported = False
    assert refused(partial(core.patch_namespaced_pod_resize, "p", "default", resize)) == (404, "NotFound")


def test_a_pods_pages_are_read_through_the_proxy(core: Any) -> None:
    """NAME:PORT/proxy/PATH asks the pod's address on that port; where nothing answers, it is 503."""
    core.create_namespaced_pod("default", pod("p"))
    address = loopback_address()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"asked {self.path}".encode())

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer((address, 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        target = f"p:{server.server_port}"
        ask = partial(core.connect_get_namespaced_pod_proxy_with_path, target, "default", "v2/status")
        assert refused(ask) == (503, "ServiceUnavailable")
        core.patch_namespaced_pod_status("p", "default", {"status": {"podIP": address}})
        assert ask() == "asked /v2/status"
        server.shutdown()
        thread.join()
    assert refused(ask) == (503, "ServiceUnavailable")


def test_what_an_object_owns_goes_with_it(core: Any, apps: Any, emulator: Emulator) -> None:
    """Deleting an object deletes those whose ownerReferences name it, and theirs."""
    made = apps.create_namespaced_deployment("default", deployment("d"))
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": made.metadata.uid}
    owned = core.create_namespaced_pod("default", {**pod("p"), "metadata": {"name": "p", "ownerReferences": [owner]}})
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": owned.metadata.uid}
    metadata = {"name": "plan", "ownerReferences": [owner]}
    core.create_namespaced_config_map("default", {"metadata": metadata})
    core.create_namespaced_config_map("default", config_map("free"))
    apps.delete_namespaced_deployment("d", "default")
    assert emulator.objects("pods") == []
    assert [found["metadata"]["name"] for found in emulator.objects("configmaps")] == ["free"]


def test_a_dry_run_stores_nothing(core: Any, emulator: Emulator) -> None:
    """It is validated and answered, whatever the verb."""
    core.create_namespaced_config_map("default", config_map("plan"))
    before = emulator.objects("configmaps")
    assert core.create_namespaced_config_map("default", config_map("new"), dry_run="All").metadata.uid
    tried = partial(core.create_namespaced_config_map, "default", config_map("plan"), dry_run="All")
    assert refused(tried) == (409, "AlreadyExists")
    patched = core.patch_namespaced_config_map("plan", "default", {"data": {"a": "1"}}, dry_run="All")
    assert patched.data == {"a": "1"}
    core.delete_namespaced_config_map("plan", "default", dry_run="All")
    assert emulator.objects("configmaps") == before


def test_leases_are_held_by_optimistic_locking(core: Any) -> None:
    """Of two holders who read the same Lease, the second to write is refused."""
    leases: Any = client.CoordinationV1Api()
    lease = leases.create_namespaced_lease("default", {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})
    lease.spec.holder_identity = "b"
    assert leases.replace_namespaced_lease("l", "default", lease).spec.holder_identity == "b"
    lease.spec.holder_identity = "c"
    assert refused(partial(leases.replace_namespaced_lease, "l", "default", lease)) == (409, "Conflict")


def test_access_reviews_deny_what_the_test_names(core: Any, emulator: Emulator) -> None:
    """Everything is allowed but what is in ``denied``."""
    emulator.denied.update({("patch", "apps/deployments/scale"), ("patch", "pods/resize")})

    def allowed(verb: str, resource: str, group: str = "", subresource: str | None = None) -> bool:
        attributes = {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
        reviews: Any = client.AuthorizationV1Api()
        review = reviews.create_self_subject_access_review({"spec": {"resourceAttributes": attributes}})
        return bool(review.status.allowed)

    assert not allowed("patch", "deployments", "apps", "scale")
    assert not allowed("patch", "pods", "", "resize")
    assert allowed("get", "deployments", "apps", "scale")
    assert allowed("patch", "deployments", "apps")
