"""Builds what is in ``manifests``, and says what an API server would refuse, or drop without a word, of a document."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate import ValidationError, validate

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
BASE = MANIFESTS / "adapter" / "base"
RECOMMEND = MANIFESTS / "adapter" / "overlays" / "recommend"
MONITORED = MANIFESTS / "adapter" / "overlays" / "monitored"
MONITORING = MANIFESTS / "monitoring"
BRIDGE = MANIFESTS / "bridge"
PIPELINES = sorted(path.parent for path in (MANIFESTS / "pipelines").glob("*/pipeline.yaml"))

KUBERNETES = "1.33"
"""The first release whose pods are resized in place by default."""
SELDON_KUBERNETES = "1.25"
"""The oldest schemas at hand: the pods in Seldon Core 1.17's CRD are of about that time."""

Document = dict[str, Any]

# Fields by name: None accepts anything, a mapping is an object, a list of one a list of such.
METADATA = dict.fromkeys(("name", "namespace", "labels", "annotations"))
# machinelearning.seldon.io/v1: seldondeployment_types.go of Seldon Core 1.17.1. A component's pod is checked apart.
NODE: dict[str, Any] = dict.fromkeys(
    ("name", "type", "implementation", "endpoint", "modelUri", "serviceAccountName", "envSecretRefName", "logger")
)
NODE |= {"children": [NODE], "parameters": [dict.fromkeys(("name", "value", "type"))]}
COMPONENT = {"metadata": METADATA} | dict.fromkeys(("spec", "replicas", "hpaSpec", "kedaSpec", "pdbSpec"))
PREDICTOR = {
    "graph": NODE,
    "componentSpecs": [COMPONENT],
    "svcOrchSpec": dict.fromkeys(("resources", "env", "replicas")),
} | dict.fromkeys(("name", "replicas", "annotations", "labels", "traffic", "shadow"))
SELDON = {
    **dict.fromkeys(("name", "annotations", "protocol", "transport", "replicas")),
    "predictors": [PREDICTOR],
}
# monitoring.coreos.com/v1: podmonitor_types.go, prometheusrule_types.go and types.go of the Prometheus operator 0.73,
# as far as of use here.
SELECTOR = {"matchLabels": None, "matchExpressions": [dict.fromkeys(("key", "operator", "values"))]}
RELABELING = dict.fromkeys(("sourceLabels", "separator", "targetLabel", "regex", "modulus", "replacement", "action"))
ENDPOINT = {
    **dict.fromkeys(("port", "path", "scheme", "params", "interval", "scrapeTimeout", "honorLabels", "filterRunning")),
    "relabelings": [RELABELING],
    "metricRelabelings": [RELABELING],
}
MONITOR = {
    **dict.fromkeys(("jobLabel", "podTargetLabels", "sampleLimit")),
    "selector": SELECTOR,
    "namespaceSelector": dict.fromkeys(("any", "matchNames")),
    "podMetricsEndpoints": [ENDPOINT],
}
RULE = dict.fromkeys(("record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"))
RULES = {"groups": [dict.fromkeys(("name", "interval", "limit", "partial_response_strategy")) | {"rules": [RULE]}]}
CUSTOM = {
    ("machinelearning.seldon.io/v1", "SeldonDeployment"): SELDON,
    ("monitoring.coreos.com/v1", "PodMonitor"): MONITOR,
    ("monitoring.coreos.com/v1", "PrometheusRule"): RULES,
}


@cache
def _kustomize(directory: Path) -> str:
    if shutil.which("kubectl") is None:
        if os.environ.get("CI"):
            pytest.fail("kubectl is not installed")
        pytest.skip("kubectl is not installed")
    done = subprocess.run(["kubectl", "kustomize", str(directory)], capture_output=True, text=True, check=False)
    # A warning, of a deprecated field say, is a fault too.
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def built(directory: Path) -> list[Document]:
    """What ``kubectl apply -k`` would send; the test is skipped without kubectl, unless in CI."""
    return list(yaml.safe_load_all(_kustomize(directory)))


def read(path: Path) -> list[Document]:
    """The documents of a file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def only(documents: list[Document], kind: str, name: str = "") -> Document:
    """The one document of a kind, and of a name where several are."""
    (found,) = (d for d in documents if d["kind"] == kind and name in ("", d["metadata"]["name"]))
    return found


def faults(document: Document) -> list[str]:
    """What the API server would not take as written; empty when the document is sound."""
    accepted = CUSTOM.get((document["apiVersion"], document["kind"]))
    if accepted is None:
        return _refused(document, KUBERNETES)
    whole = {"apiVersion": None, "kind": None, "metadata": METADATA, "spec": accepted}
    found = list(_unknown(document, whole, ""))
    for predictor in document["spec"].get("predictors", ()):
        for component in predictor["componentSpecs"]:
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": component["spec"]}
            found += _refused(pod, SELDON_KUBERNETES)
    return found


def _refused(document: Document, release: str) -> list[str]:
    try:
        validate(document, release, strict=True)
    except ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    return []


def _unknown(value: Any, accepted: Any, path: str) -> Iterator[str]:
    if accepted is None:
        return
    if isinstance(accepted, list):
        for index, item in enumerate(value):
            yield from _unknown(item, accepted[0], f"{path}[{index}]")
        return
    if not isinstance(value, Mapping):
        yield f"{path}: {value!r} is no object"
        return
    for key, inner in value.items():
        if key not in accepted:
            yield f"{path}.{key}: unknown"
        else:
            yield from _unknown(inner, accepted[key], f"{path}.{key}")
