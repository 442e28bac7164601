"""A SeldonDeployment that serves already, made one that can be adapted; and back.

What it was is kept in an annotation of its metadata, which Seldon's operator copies to no pod.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from ipa_seldon.errors import PlatformError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Plan
from ipa_seldon.specs.desired import SIDECAR
from ipa_seldon.specs.seldon import PIPELINE_LABEL, SeldonSettings, chain, stage_component
from ipa_seldon.specs.seldon_operator import SEPARATE_ENGINE, TRITON, Document, containers, nodes, problems
from ipa_seldon.specs.traffic import read_entry

PREFIX = "ipa.seldon.io/"
ATTACHED_FROM = f"{PREFIX}attached-from"
"""An annotation: JSON of the ``spec`` before, and the ``digest`` of the one that was attached."""
ANNOTATIONS_LIMIT = 256 * 1024
"""Bytes of all annotations of an object, as Kubernetes counts them."""
PROTOCOLS = ("v2", "kfserving")
_SCALERS = ("replicas", "hpaSpec", "kedaSpec")


def attached(document: Document, pipeline: Pipeline, plan: Plan, settings: SeldonSettings) -> dict[str, Any]:
    """The SeldonDeployment that serves as ``document`` does, or did before it was attached, and can be adapted: a pod
    per stage with the plan's cores and a sidecar, and no replicas stated. Whatever else it has stays.

    PlatformError names what of it cannot be adapted.
    """
    name = document["metadata"]["name"]
    spec = kept["spec"] if (kept := _kept(document)) else document["spec"]
    if settings.predictor is None:
        raise PlatformError(f"sdep/{name}: the pipeline file's spec.seldon.predictor: None: accepted: a name")
    for obstacle in _obstacles(name, spec, pipeline, settings):
        raise PlatformError(f"sdep/{name}: {obstacle}")
    made = _adaptable(spec, pipeline, plan, settings)
    for problem in (*_taken(made), *problems({**document, "spec": made})):
        raise PlatformError(f"sdep/{name}: as attached: {problem}")
    metadata = document["metadata"]
    memory = json.dumps({"digest": _digest(made), "spec": spec}, sort_keys=True)
    annotations = {**(metadata.get("annotations") or {}), ATTACHED_FROM: memory}
    size = sum(len(part.encode()) for pair in annotations.items() for part in pair)
    if size > ANNOTATIONS_LIMIT:
        raise PlatformError(
            f"sdep/{name}: metadata.annotations: {size} bytes with the spec that {ATTACHED_FROM} keeps; "
            f"accepted: {ANNOTATIONS_LIMIT}"
        )
    labels = {**(metadata.get("labels") or {}), PIPELINE_LABEL: pipeline.name}
    return {**document, "metadata": {**metadata, "labels": labels, "annotations": annotations}, "spec": made}


def detached(document: Document) -> dict[str, Any]:
    """The SeldonDeployment before it was attached; PlatformError where it was not."""
    kept, metadata = _kept(document), dict(document["metadata"])
    if kept is None:
        raise PlatformError(f"sdep/{metadata['name']}: not attached: it has no annotation {ATTACHED_FROM}")
    for key in ("annotations", "labels"):
        others = {name: value for name, value in (metadata.pop(key, None) or {}).items() if not name.startswith(PREFIX)}
        metadata |= {key: others} if others else {}
    return {**document, "metadata": metadata, "spec": kept["spec"]}


def is_attached(document: Document) -> bool:
    """Whether it was."""
    return _kept(document) is not None


def is_edited(document: Document) -> bool:
    """Whether the spec of an attached one has changed since, but for cores and GPUs, which an adapter may change."""
    kept = _kept(document)
    return kept is not None and kept["digest"] != _digest(document["spec"])


def same_spec(one: Document, other: Document) -> bool:
    """Whether two SeldonDeployments differ in no more than cores and GPUs."""
    return _digest(one["spec"]) == _digest(other["spec"])


def rolled(before: Document, after: Document) -> list[str]:
    """The predictors whose pods, executors included, are replaced where ``after`` takes the place of ``before``."""
    old, new = ({key: value for key, value in made["spec"].items() if key != "replicas"} for made in (before, after))
    there = {predictor["name"]: _template(predictor) for predictor in old.pop("predictors")}
    wanted = {predictor["name"]: _template(predictor) for predictor in new.pop("predictors")}
    return [name for name, template in wanted.items() if old != new or there.get(name) != template]


def _template(predictor: Document) -> dict[str, Any]:
    return {key: value for key, value in predictor.items() if key not in ("replicas", "traffic")}


def _kept(document: Document) -> dict[str, Any] | None:
    """What attach has kept; None where nothing was attached, PlatformError where a hand has spoilt it."""
    text = (document["metadata"].get("annotations") or {}).get(ATTACHED_FROM)
    if text is None:
        return None
    try:
        kept = json.loads(text)
        return {"digest": str(kept["digest"]), "spec": dict(kept["spec"])}
    except (ValueError, TypeError, KeyError) as error:
        name = document["metadata"]["name"]
        raise PlatformError(
            f"sdep/{name}: metadata.annotations.{ATTACHED_FROM}: not as attach wrote it: {error!r}"
        ) from error


def _digest(spec: Document) -> str:
    """Of a spec without its nodes' cores and GPUs, and which entry of the plan their pods read."""
    plain = deepcopy(dict(spec))
    for predictor in plain["predictors"]:
        names = {node["name"] for node in nodes(predictor["graph"])}
        for component in predictor.get("componentSpecs") or ():
            for container in containers(component):
                if container["name"] in names:
                    _strip(container.get("resources") or {})
                    read_entry(component, "", "")
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _strip(resources: dict[str, Any]) -> None:
    """Take cores and whatever devices there are out of a container's resources."""
    for kind in ("requests", "limits"):
        stated = resources.get(kind) or {}
        for name in [name for name in stated if name == "cpu" or "/" in name]:
            del stated[name]


def _all_containers(predictor: Document) -> list[dict[str, Any]]:
    return [found for component in predictor.get("componentSpecs") or () for found in containers(component)]


# ---- what cannot be attached ------------------------------------------------------------------------------------


def _obstacles(name: str, spec: Document, pipeline: Pipeline, settings: SeldonSettings) -> Iterator[str]:
    """Why a spec cannot be adapted; only the first counts."""
    predictor = settings.predictor or ""
    if pipeline.name != name:
        yield (
            f"the pipeline file's metadata.name: {pipeline.name!r}: accepted: {name!r}: "
            "an adapter knows a graph by its pipeline's name"
        )
    protocol = spec.get("protocol", "seldon")
    if protocol not in PROTOCOLS:
        yield f"spec.protocol: {protocol!r}: accepted: {', '.join(PROTOCOLS)}: Triton answers no other"
    names = [candidate["name"] for candidate in spec["predictors"]]
    if predictor not in names:
        yield f"the pipeline file's spec.seldon.predictor: {predictor!r}: accepted: {', '.join(names)}"
    index = names.index(predictor)
    where, adapted = f"spec.predictors[{index}]", spec["predictors"][index]
    yield from _predictor_obstacles(where, adapted, chain(pipeline))
    yield from _gpu_obstacles(where, adapted, pipeline, settings.gpu_resource)
    if spec.get("transport") == "grpc" and len(pipeline.stages) > 1:
        yield "spec.transport: 'grpc': accepted: rest: between nodes, gRPC loses the outputs that Triton sends raw"


def _predictor_obstacles(where: str, predictor: Document, order: Sequence[str]) -> Iterator[str]:
    if predictor.get("shadow"):
        yield f"{where}.shadow: true: accepted: a predictor whose answers are used"
    if (predictor.get("explainer") or {}).get("type"):
        yield f"{where}.explainer: accepted: none: its requests to the graph would count as load"
    units = list(nodes(predictor["graph"]))
    for unit in units:
        node, implementation = f"{where}.graph: node {unit['name']!r}", unit.get("implementation")
        if implementation != TRITON:
            yield f"{node}: implementation: {implementation!r}: accepted: {TRITON}"
        children = [child["name"] for child in unit.get("children") or ()]
        if len(children) > 1:
            yield (
                f"{node}: children: {', '.join(children)}: accepted: one: Seldon's executor returns the answer of the "
                "first alone"
            )
    labels = [unit["name"] for unit in units]
    if labels != list(order):
        yield (
            f"{where}.graph: nodes {', '.join(labels)}: accepted: the pipeline's stages, in their order: "
            f"{', '.join(order)}"
        )
    placed = [container["name"] for container in _all_containers(predictor)]
    for label in labels:
        if placed.count(label) > 1:
            yield f"{where}.componentSpecs: container {label!r} appears twice; accepted: one per node"
    if SIDECAR in placed:
        yield f"{where}.componentSpecs: container {SIDECAR!r} is there already: it can be adapted as it is"


def _gpu_obstacles(where: str, predictor: Document, pipeline: Pipeline, resource: str) -> Iterator[str]:
    """GPUs that the pipeline file knows nothing of: they would be taken from the pods."""
    on_gpus = {stage.name for stage, _ in pipeline.on_gpus}
    for container in _all_containers(predictor):
        stated = (container.get("resources") or {}).get("limits") or {}
        if resource in stated and container["name"] not in on_gpus:
            yield (
                f"{where}.componentSpecs: container {container['name']!r}: {resource}: {stated[resource]}; "
                "accepted: where the pipeline file has variants of its stage with device: gpu"
            )


def _taken(spec: Document) -> Iterator[str]:
    """Volumes whose names are ours."""
    for index, candidate in enumerate(spec["predictors"]):
        for number, component in enumerate(candidate.get("componentSpecs") or ()):
            names = [volume["name"] for volume in (component.get("spec") or {}).get("volumes") or ()]
            for name in sorted({name for name in names if names.count(name) > 1}):
                where = f"spec.predictors[{index}].componentSpecs[{number}].spec.volumes"
                yield f"{where}: {name!r} is there already; accepted: another name"


# ---- what is made of the rest -----------------------------------------------------------------------------------


def _adaptable(spec: Document, pipeline: Pipeline, plan: Plan, settings: SeldonSettings) -> dict[str, Any]:
    # Else the executor looks for every Triton in its own pod.
    annotations = {**(spec.get("annotations") or {}), SEPARATE_ENGINE: "true"}
    made = deepcopy({**spec, "protocol": PROTOCOLS[0], "annotations": annotations})
    replicas = made.pop("replicas", None)
    for predictor in made["predictors"]:
        if predictor["name"] != settings.predictor:
            if replicas is not None:
                predictor.setdefault("replicas", replicas)
            continue
        executors = _executors(spec, predictor)
        if executors is not None:
            predictor["svcOrchSpec"] = {"replicas": executors, **(predictor.get("svcOrchSpec") or {})}
        predictor.pop("replicas", None)
        predictor["componentSpecs"] = [
            component if stage is None else stage_component(pipeline.name, stage, component, plan, settings)
            for stage, component in _split(predictor.get("componentSpecs") or [{}], chain(pipeline))
        ]
    return made


def _executors(spec: Document, predictor: Document) -> int | None:
    """How many executors a predictor has, as far as its own ``svcOrchSpec`` does not say."""
    levels: list[Mapping[str, Any]] = [predictor, spec]
    if SEPARATE_ENGINE not in (spec.get("annotations") or {}):
        # The executor is in the pods of the first component.
        levels = [*(predictor.get("componentSpecs") or [])[:1], *levels]
    return next((level["replicas"] for level in levels if level.get("replicas") is not None), None)


def _split(components: Sequence[Document], stages: Sequence[str]) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Every stage and a component of its own, which has all of the pod it was in but the other stages' containers and
    what scales it; components without a stage as None.

    Where a stage has no container, the operator adds one to the first component.
    """
    placed = {container["name"] for component in components for container in containers(component)}
    absent = [{"name": stage} for stage in stages if stage not in placed]
    for index, component in enumerate(components):
        there = [*containers(component), *(absent if index == 0 else ())]
        rest = {key: value for key, value in component.items() if key not in _SCALERS}
        own = [container["name"] for container in there if container["name"] in stages]
        for stage in own or [None]:
            others = set(own) - {stage}
            held = [container for container in there if container["name"] not in others]
            yield stage, deepcopy({**rest, "spec": {**(component.get("spec") or {}), "containers": held}})
