"""Every document that a cluster is given is one that its API server takes as written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ipa_seldon.demo.runner import SMALL
from tests.manifests.documents import (
    BASE,
    BRIDGE,
    MANIFESTS,
    MONITORED,
    MONITORING,
    PIPELINES,
    RECOMMEND,
    Document,
    built,
    faults,
    only,
    read,
)

FILES = [
    *(pipeline / "seldondeployment.yaml" for pipeline in PIPELINES),
    MANIFESTS / "pipelines" / "models-pvc.yaml",
    MANIFESTS / "pipelines" / "models-fill.yaml",
]


@pytest.mark.parametrize("directory", [BASE, RECOMMEND, MONITORED, MONITORING, BRIDGE], ids=lambda path: path.name)
def test_kustomizations_are_sound(directory: Path) -> None:
    """Each builds without a warning, of documents without a fault."""
    documents = built(directory)
    assert documents
    assert [fault for document in documents for fault in faults(document)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_files_are_sound(path: Path) -> None:
    """Each file has documents, and none a fault."""
    documents = read(path)
    assert documents
    assert [fault for document in documents for fault in faults(document)] == []


def test_there_is_no_other_manifest() -> None:
    """Each YAML file is a pipeline file, whole or for one small machine, checked as it is, or in a kustomization that
    is built.
    """
    here = {path for path in MANIFESTS.rglob("*.yaml") if path.name not in ("pipeline.yaml", SMALL)}
    kustomized = {
        path for path in here if path.is_relative_to(MANIFESTS / "adapter") or path.parent in (MONITORING, BRIDGE)
    }
    assert here == kustomized | set(FILES)


def spoilt(document: Document, path: tuple[str | int, ...], value: Any) -> Document:
    """The document, freshly read, with one value changed or added."""
    inner: Any = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return document


CONTAINER = ("spec", "template", "spec", "containers", 0)
POD = ("spec", "predictors", 0, "componentSpecs", 0, "spec", "containers", 0)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "replica"), 2),
        ("Deployment", (*CONTAINER, "securityContext", "readOnlyRootFileSystem"), True),
        ("Deployment", (*CONTAINER, "ports", 0, "containerPort"), "8080"),
        ("Role", ("rules", 0, "verb"), ["get"]),
        ("Service", ("spec", "ports", 0, "target"), 8080),
        ("PodDisruptionBudget", ("spec", "maxUnavailible"), 1),
        ("PodMonitor", ("spec", "podMetricsEndpoints", 0, "relabelings", 0, "target"), "x"),
        ("PodMonitor", ("spec", "selectors"), {}),
        ("SeldonDeployment", ("spec", "predictors", 0, "graph", "children", 0, "modelURI"), "x"),
        ("SeldonDeployment", ("spec", "predictors", 0, "componentSpecs", 0, "replica"), 1),
        ("SeldonDeployment", (*POD, "resource"), {}),
        ("SeldonDeployment", (*POD, "readinessProbe", "httpGet", "port"), []),
    ],
)
def test_a_wrong_field_is_found(kind: str, path: tuple[str | int, ...], value: Any) -> None:
    """A misspelt field, or a value of another type, is a fault in every kind: the checks above can fail."""
    if kind == "SeldonDeployment":
        document = only(read(MANIFESTS / "pipelines" / "text" / "seldondeployment.yaml"), kind)
    else:
        name = {"PodMonitor": "ipa-seldon-stages", "Role": "ipa-seldon-adapter"}.get(kind, "")
        document = only(built(MONITORED), kind, name)
    assert faults(document) == []
    assert len(faults(spoilt(document, path, value))) == 1
