"""The adapter's documents fit together, and give it no more than it needs."""

from __future__ import annotations

import os
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from ipa_seldon import __version__
from tests.manifests.documents import BASE, MANIFESTS, RECOMMEND, Document, built, only, read

PODS = [
    pytest.param(lambda: only(built(BASE), "Deployment")["spec"]["template"]["spec"], id="adapter"),
    pytest.param(lambda: only(read(MANIFESTS / "pipelines" / "models-fill.yaml"), "Pod")["spec"], id="models-fill"),
]


def adapter(directory: Path = BASE) -> Document:
    """The adapter's pod template."""
    template: Document = only(built(directory), "Deployment")["spec"]["template"]
    return template


def container(directory: Path = BASE) -> Document:
    """Its one container."""
    containers: list[Document] = adapter(directory)["spec"]["containers"]
    (found,) = containers
    return found


def test_every_selector_selects_the_pods() -> None:
    """Deployment, Service, budget and spread select by labels that the pods have."""
    labels = adapter()["metadata"]["labels"].items()
    documents = built(BASE)
    (spread,) = adapter()["spec"]["topologySpreadConstraints"]
    selectors = [
        only(documents, "Deployment")["spec"]["selector"]["matchLabels"],
        only(documents, "Service")["spec"]["selector"],
        only(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        spread["labelSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels


def test_ports_are_those_of_the_program() -> None:
    """The port in the arguments is the declared one, which the Service and the probes name."""
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    arguments = container()["args"]
    assert ports["metrics"] == int(arguments[arguments.index("--port") + 1])
    (exposed,) = only(built(BASE), "Service")["spec"]["ports"]
    assert (exposed["name"], exposed["port"], exposed["targetPort"]) == ("metrics", ports["metrics"], "metrics")
    paths = {}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        get = container()[probe]["httpGet"]
        assert get["port"] in ports
        paths[probe] = get["path"]
    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}


def test_arguments_name_variables_that_are_set() -> None:
    """Each $(NAME) is a variable of the container, taken from a key that the generated ConfigMap has."""
    config = only(built(BASE), "ConfigMap")
    variables = {variable["name"]: variable["valueFrom"]["configMapKeyRef"] for variable in container()["env"]}
    assert set(re.findall(r"\$\((\w+)\)", " ".join(container()["args"]))) == set(variables)
    for reference in variables.values():
        assert reference["name"] == config["metadata"]["name"]
        assert config["data"][reference["key"]].startswith("http://")


def test_the_image_is_this_version() -> None:
    """A release that forgets the manifests is noticed."""
    assert container()["image"] == f"ipa-seldon:{__version__}"


@pytest.mark.parametrize("pod", PODS)
def test_pods_pass_the_restricted_standard(pod: Any) -> None:
    """What Kubernetes' pod security standard "restricted" asks for, a read-only root, and limits."""
    spec = pod()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert not [volume for volume in spec["volumes"] if "hostPath" in volume]
    for one in spec["containers"]:
        assert one["securityContext"] == {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(one["resources"]) == {"requests", "limits"}
        assert all(set(part) == {"cpu", "memory"} for part in one["resources"].values())


def test_what_is_mounted_exists() -> None:
    """Every mount names a volume; /tmp can be written to."""
    volumes = {volume["name"]: volume for volume in adapter()["spec"]["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container()["volumeMounts"]}
    assert "emptyDir" in mounts["/tmp"]  # noqa: S108  # the container's


def test_rights_are_narrow_and_bound_to_the_pods() -> None:
    """Roles in the namespace, without a wildcard, Secrets or rights to give rights; the adapter's is bound to its pods'
    account, the sidecars', which only reads, to the account that pods have by default.
    """
    documents = built(BASE)
    assert not {"ClusterRole", "ClusterRoleBinding"} & {document["kind"] for document in documents}
    role = only(documents, "Role", "ipa-seldon-adapter")
    sidecar = only(documents, "Role", "ipa-seldon-sidecar")
    for rule in role["rules"] + sidecar["rules"]:
        assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]
        assert not {"secrets", "roles", "rolebindings", "serviceaccounts"} & set(rule["resources"])
        assert "delete" not in rule["verbs"]
    account = only(documents, "ServiceAccount")["metadata"]
    for name, subject in ((role["metadata"]["name"], account["name"]), (sidecar["metadata"]["name"], "default")):
        binding = only(documents, "RoleBinding", name)
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("Role", name)
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": subject, "namespace": account["namespace"]}]
    assert adapter()["spec"]["serviceAccountName"] == account["name"]
    assert adapter()["spec"]["automountServiceAccountToken"] is True


def test_recommend_differs_by_its_mode() -> None:
    """The overlay is the base with ``--mode recommend``, and nothing else."""
    expected = deepcopy(built(BASE))
    only(expected, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"] += ["--mode", "recommend"]
    assert built(RECOMMEND) == expected


def test_an_overlay_sets_what_differs_between_clusters(tmp_path: Path) -> None:
    """Namespace, Prometheus and image, by kustomize's own means; the account that the Role is bound to moves along."""
    overlay = {
        "resources": [os.path.relpath(RECOMMEND, tmp_path)],
        "namespace": "inference",
        "images": [{"name": "ipa-seldon", "newName": "registry.example/ipa-seldon", "newTag": "1"}],
        "configMapGenerator": [
            {"name": "ipa-seldon-adapter", "behavior": "merge", "literals": ["PROMETHEUS_URL=http://there:9090"]}
        ],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    documents = built(tmp_path)
    assert {document["metadata"]["namespace"] for document in documents} == {"inference"}
    for binding in (document for document in documents if document["kind"] == "RoleBinding"):
        assert binding["subjects"][0]["namespace"] == "inference"
    assert only(documents, "ConfigMap")["data"] == {"PROMETHEUS_URL": "http://there:9090"}
    assert container(tmp_path)["image"] == "registry.example/ipa-seldon:1"
    reference = container(tmp_path)["env"][0]["valueFrom"]["configMapKeyRef"]["name"]
    assert reference == only(documents, "ConfigMap")["metadata"]["name"]
    assert reference != only(built(BASE), "ConfigMap")["metadata"]["name"]
