"""The PodMonitors find what is to be scraped, and nothing else.

Discovery and relabelling are those of Prometheus (``discovery/kubernetes/pod.go``, ``model/relabel``): each declared
port of a pod is a target; the operator keeps those of the endpoint's name; the endpoint's own rules come last.
"""

from __future__ import annotations

import re
from functools import reduce
from typing import Any

import pytest

from ipa_seldon.specs.desired import SIDECAR
from ipa_seldon.specs.seldon import METRICS_PORT, SIDECAR_PORT
from tests.manifests.documents import BASE, MONITORING, PIPELINES, Document, built, only, read

ADDRESSES = {"IPv4": "10.0.0.7", "IPv6": "[fd00::7]"}


def adapter_pod() -> Document:
    """The adapter's, as its Deployment makes it."""
    template: Document = only(built(BASE), "Deployment")["spec"]["template"]
    return template


def stage_pods(name: str) -> list[Document]:
    """A pod of each stage of a pipeline, with the labels that Seldon's operator adds."""
    deployment = only(
        read(next(path for path in PIPELINES if path.name == name) / "seldondeployment.yaml"), "SeldonDeployment"
    )
    (predictor,) = deployment["spec"]["predictors"]
    added = {"seldon-deployment-id": name, "app": "x", "app.kubernetes.io/managed-by": "seldon-core"}
    return [
        {"metadata": {"labels": component["metadata"]["labels"] | added}, "spec": component["spec"]}
        for component in predictor["componentSpecs"]
    ]


def executor_pod() -> Document:
    """The executor's own, as ``createEngineDeployment`` makes it (seldondeployment_engine.go of Seldon Core 1.17)."""
    ports = [("http", 8000), ("metrics", 8000), ("grpc", 5001)]
    declared = [{"name": name, "containerPort": number} for name, number in ports]
    return {
        "metadata": {"labels": {"seldon-app": "text-default", "seldon-deployment-id": "text", "app": "x"}},
        "spec": {"containers": [{"name": "seldon-container-engine", "ports": declared}]},
    }


def selected(selector: Document, labels: dict[str, str]) -> bool:
    """Whether a selector of exact labels, or of labels that exist, selects a pod."""
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "Exists"
        if expression["key"] not in labels:
            return False
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def relabelled(labels: dict[str, str], rule: Document) -> dict[str, str]:
    """One rule of action ``replace``."""
    assert set(rule) <= {"sourceLabels", "regex", "targetLabel", "replacement"}
    source = ";".join(labels.get(name, "") for name in rule.get("sourceLabels", ()))
    found = re.fullmatch(rule.get("regex", "(.*)"), source)
    if found is None:
        return labels
    return labels | {rule["targetLabel"]: found.expand(rule.get("replacement", "${1}").replace("${1}", r"\g<1>"))}


def scraped(pod: Document, address: str) -> set[tuple[str, str, str]]:
    """(URL, container, pipeline) of every target in a pod at that address."""
    found = set()
    for monitor in (document for document in built(MONITORING) if document["kind"] == "PodMonitor"):
        if not selected(monitor["spec"]["selector"], pod["metadata"]["labels"]):
            continue
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            for labels in targets(pod, address, endpoint["port"]):
                made = reduce(relabelled, endpoint.get("relabelings", ()), labels)
                url = f"{made['__address__']}{endpoint.get('path', '/metrics')}"
                found.add((url, made["container"], made.get("pipeline", "")))
    return found


def targets(pod: Document, address: str, port: str) -> list[dict[str, str]]:
    """The labels of each declared port of that name."""
    named = {
        f"__meta_kubernetes_pod_label_{re.sub('[^a-zA-Z0-9_]', '_', k)}": v
        for k, v in pod["metadata"]["labels"].items()
    }
    return [
        {"__address__": f"{address}:{declared['containerPort']}", "container": container["name"], **named}
        for container in pod["spec"]["containers"]
        for declared in container.get("ports", ())
        if declared.get("name") == port
    ]


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
@pytest.mark.parametrize("name", [path.name for path in PIPELINES])
def test_each_stage_gives_triton_and_sidecar(name: str, address: str) -> None:
    """Of each stage of each pipeline: Triton's and the sidecar's metrics, once each, told apart by container."""
    pods = stage_pods(name)
    assert pods
    for pod in pods:
        stage = pod["spec"]["containers"][0]["name"]
        assert scraped(pod, address) == {
            (f"{address}:{METRICS_PORT}/metrics", stage, name),
            (f"{address}:{SIDECAR_PORT}/metrics", SIDECAR, name),
        }


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
def test_the_executor_is_scraped_at_its_own_path(address: str) -> None:
    """Where arrivals are counted: port 8000, /prometheus, once."""
    assert scraped(executor_pod(), address) == {(f"{address}:8000/prometheus", "seldon-container-engine", "")}


def test_the_adapter_is_scraped() -> None:
    """Each of its pods, at the port that it listens on."""
    assert scraped(adapter_pod(), "10.0.0.7") == {("10.0.0.7:8080/metrics", "adapter", "")}


def test_the_namespace_is_that_of_the_pipelines() -> None:
    """What the adapter says of a label, Prometheus does not overwrite with what it knows of the adapter's pod."""
    (monitor,) = (found for found in built(MONITORING) if found["metadata"]["name"] == "ipa-seldon-adapter")
    assert [endpoint["honorLabels"] for endpoint in monitor["spec"]["podMetricsEndpoints"]] == [True]


def test_other_pods_are_left_alone() -> None:
    """A pod without our labels or Seldon's has no target, whatever its ports are called."""
    ports: list[dict[str, Any]] = [{"name": name, "containerPort": 80} for name in ("http", "metrics")]
    pod = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "ports": ports}]}}
    assert scraped(pod, "10.0.0.7") == set()
