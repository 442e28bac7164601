"""What Seldon Core's operator makes of a SeldonDeployment: names, hosts, ports; and what keeps one from working.

Read from the operator of Seldon Core 1.17.1 (``seldondeployment_types.go``, ``defaults.go``,
``seldondeployment_webhook.go``). There is no mutating webhook: whoever needs these must compute them. A *graph* is one
predictor's tree of nodes, a *component* one of its ``componentSpecs``, which becomes one Deployment.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NAME_LIMIT = 63
DEPTH_LIMIT = 10
"""Children nested deeper are pruned without a word."""
FIRST_HTTP_PORT, FIRST_GRPC_PORT = 9000, 9500
TRITON = "TRITON_SERVER"
SEPARATE_ENGINE = "seldon.io/engine-separate-pod"
PREPACKAGED = frozenset({TRITON, "SKLEARN_SERVER", "XGBOOST_SERVER", "TENSORFLOW_SERVER", "MLFLOW_SERVER"})
PROTOCOLS = ("seldon", "tensorflow", "kfserving", "v2")
TRANSPORTS = ("rest", "grpc")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """Where the executor looks for a node."""

    host: str
    http: int
    grpc: int


def deployment_name(graph: str, predictor: str, index: int, component: Document) -> str:
    """The Deployment of a predictor's component number ``index``; ``graph`` is the SeldonDeployment's name."""
    given = component.get("metadata", {}).get("name")
    return _short(f"{graph}-{predictor}-{index}-{given or '-'.join(c['name'] for c in containers(component))}")


def node_service_name(graph: str, predictor: str, node: str) -> str:
    """The Service of one node's pods."""
    return _short(f"{graph}-{predictor}-{node}")


def predictor_service_name(graph: str, predictor: str) -> str:
    """The Service of a predictor's executor."""
    return _short(f"{graph}-{predictor}")


def _short(name: str) -> str:
    return (
        name if len(name) <= NAME_LIMIT else "seldon-" + hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    )


def containers(component: Document) -> list[dict[str, Any]]:
    """A component's containers."""
    found: list[dict[str, Any]] = (component.get("spec") or {}).get("containers") or []
    return found


def nodes(unit: Document) -> Iterator[Document]:
    """A graph's nodes, parents first."""
    yield unit
    for child in unit.get("children") or ():
        yield from nodes(child)


def endpoints(document: Document) -> dict[tuple[str, str], Endpoint]:
    """(predictor, node) -> where the executor looks for it.

    Ports count up over all containers, in order, each name once; a container that states its ports ``http`` and
    ``grpc`` keeps them. Without the executor in a pod of its own (SEPARATE_ENGINE) every prepackaged server is looked
    for on localhost, wherever its pod is: such graphs work only in one pod (seen in SeldonIO/seldon-core#4527).
    """
    name, spec = document["metadata"]["name"], document["spec"]
    namespace = document["metadata"].get("namespace") or "default"
    separate = SEPARATE_ENGINE in (spec.get("annotations") or {})
    numbers: dict[str, int] = {}
    found = {}
    for predictor in spec["predictors"]:
        placed = {
            container["name"]: (index, container)
            for index, component in enumerate(predictor.get("componentSpecs") or ())
            for container in containers(component)
        }
        units = list(nodes(predictor["graph"]))
        for label in (*placed, *(unit["name"] for unit in units if _prepackaged(unit))):
            numbers.setdefault(label, len(numbers))
        for unit in units:
            index, container = placed.get(unit["name"], (0, {}))
            if not container and not _prepackaged(unit):
                continue
            local = not separate and (index == 0 or _prepackaged(unit))
            service = node_service_name(name, predictor["name"], unit["name"])
            ports = {port.get("name"): port["containerPort"] for port in container.get("ports") or ()}
            number = numbers[unit["name"]]
            found[predictor["name"], unit["name"]] = Endpoint(
                "localhost" if local else f"{service}.{namespace}.svc.cluster.local.",
                ports.get("http", FIRST_HTTP_PORT + number),
                ports.get("grpc", FIRST_GRPC_PORT + number),
            )
    return found


def problems(document: Document) -> list[str]:
    """Why the operator would refuse a SeldonDeployment, or run it otherwise than it reads; empty when it is sound.

    Beside the rules of the validating webhook these are: node names, depth, one node twice, and prepackaged servers in
    several pods without an executor of its own.
    """
    spec = document.get("spec") or {}
    predictors = spec.get("predictors") or []
    found = [] if predictors else ["spec.predictors: accepted: at least one"]
    for key, accepted in (("protocol", PROTOCOLS), ("transport", TRANSPORTS)):
        if spec.get(key, accepted[0]) not in accepted:
            found.append(f"spec.{key}: {spec[key]!r}: accepted: {', '.join(accepted)}")
    names = [predictor.get("name") for predictor in predictors]
    found += [f"spec.predictors: {name!r} appears twice" for name in sorted({n for n in names if names.count(n) > 1})]
    found += _traffic(predictors)
    for index, predictor in enumerate(predictors):
        separate = SEPARATE_ENGINE in (spec.get("annotations") or {})
        found += [f"spec.predictors[{index}].{problem}" for problem in _predictor(predictor, separate)]
    return found


def _traffic(predictors: list[Document]) -> Iterator[str]:
    live = [predictor for predictor in predictors if not predictor.get("shadow")]
    if len(predictors) - len(live) > 1:
        yield "spec.predictors: accepted: one shadow at most"
    if predictors and not live:
        yield "spec.predictors: accepted: a shadow beside another predictor"
    total = sum(predictor.get("traffic") or 0 for predictor in live)
    if total != 100 and (len(live) > 1 or total):
        yield f"spec.predictors: traffic sums to {total}: accepted: 100"


def _predictor(predictor: Document, separate: bool) -> Iterator[str]:
    units = list(nodes(predictor.get("graph") or {}))
    components = predictor.get("componentSpecs") or []
    placed = {c["name"]: index for index, component in enumerate(components) for c in containers(component)}
    labels = [str(unit.get("name", "")) for unit in units]
    if _depth(predictor.get("graph") or {}) > DEPTH_LIMIT:
        yield f"graph: nested deeper than {DEPTH_LIMIT}: the rest would be cut off"
    for label in sorted({label for label in labels if labels.count(label) > 1}):
        yield f"graph: node {label!r} appears twice"
    for unit, label in zip(units, labels, strict=True):
        if len(label) > NAME_LIMIT or not _LABEL.fullmatch(label):
            yield f"graph: node {label!r}: accepted: a DNS-1123 label: a-z, 0-9 and hyphens, {NAME_LIMIT} at most"
        if not _prepackaged(unit) and label not in placed:
            yield f"graph: node {label!r}: no container of that name"
        if _prepackaged(unit) and not unit.get("modelUri"):
            yield f"graph: node {label!r}: modelUri: missing"
        if _prepackaged(unit) and not separate and placed.get(label, 0) > 0:
            yield (
                f"graph: node {label!r}: a prepackaged server beside the first pod is looked for on localhost; "
                f"spec.annotations: accepted: {SEPARATE_ENGINE}: 'true'"
            )


def _depth(unit: Document) -> int:
    return 1 + max((_depth(child) for child in unit.get("children") or ()), default=0)


def _prepackaged(unit: Document) -> bool:
    return unit.get("implementation") in PREPACKAGED
