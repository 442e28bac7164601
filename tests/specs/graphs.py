"""SeldonDeployments as people write them, before anything adapts them: many shapes, by seed."""

from __future__ import annotations

import random
from typing import Any

from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.specs.seldon_operator import SEPARATE_ENGINE
from tests.factories import random_pipeline

Document = dict[str, Any]
SHAPES = ("none", "one", "split", "some", "empty")
"""Of componentSpecs: none, all nodes in one, one for each in any order, all nodes but one, none of them."""


def planned(seed: int) -> tuple[Pipeline, Plan]:
    """A random chain, and a plan for it."""
    pipeline = random_pipeline(seed, chain=True)
    return pipeline, {stage.name: (Allocation(stage.variants[-1].name, 3, 2, 4),) for stage in pipeline.stages}


def plain_graph(pipeline: Pipeline, seed: int = 0, shape: str = "none") -> Document:
    """A graph of the pipeline's stages on Triton, with whatever else it may have by the throw of a die."""
    rng = random.Random(seed)
    names = [stage.name for stage in pipeline.stages]
    node: Document = {}
    for name in reversed(names):
        children = {"children": [node]} if node else {}
        node = {
            "name": name,
            "type": "MODEL",
            "implementation": "TRITON_SERVER",
            "modelUri": f"gs://models/{name}",
            **children,
        }
    predictor: Document = {"name": "default", "graph": node}
    components = _components(names, rng, shape)
    if components is not None:
        predictor["componentSpecs"] = components
    spec: Document = {"name": "mine", "protocol": rng.choice(["v2", "kfserving"]), "predictors": [predictor]}
    metadata: Document = {"name": pipeline.name, "namespace": "shop", "resourceVersion": "7"}
    if rng.random() < 0.5:
        predictor["replicas"] = 3
    if rng.random() < 0.5:
        predictor |= {"traffic": 100, "annotations": {"seldon.io/rest-timeout": "900"}, "labels": {"a": "b"}}
    if rng.random() < 0.5:
        spec["replicas"] = 2
    if rng.random() < 0.5:
        metadata |= {"labels": {"team": "x"}, "annotations": {"mine": "kept"}}
    if rng.random() < 0.3:
        spec |= {"transport": "rest", "annotations": {SEPARATE_ENGINE: "true"}}
        predictor["svcOrchSpec"] = {"replicas": 2, "env": [{"name": "A", "value": "1"}]}
    if rng.random() < 0.5:
        mirror = {"name": "mirror", "shadow": True, "componentSpecs": [{"spec": {"containers": [{"name": "m"}]}}]}
        spec["predictors"].append({**mirror, "graph": {"name": "m", "type": "MODEL"}})
    head = {"apiVersion": "machinelearning.seldon.io/v1", "kind": "SeldonDeployment"}
    return {**head, "metadata": metadata, "spec": spec, "status": {"state": "Available"}}


def _components(names: list[str], rng: random.Random, shape: str) -> list[Document] | None:
    if shape == "none":
        return None
    if shape == "empty":
        return [_component([], rng)]
    if shape == "split":
        return [_component([name], rng) for name in rng.sample(names, len(names))]
    return [_component(names, rng)] if shape == "one" else [_component(names[:-1], rng), _component([], rng)]


def _component(names: list[str], rng: random.Random) -> Document:
    held = [_container(name, rng) for name in names]
    pod: Document = {"containers": held}
    component: Document = {"spec": pod}
    if rng.random() < 0.5:
        pod |= {"tolerations": [{"key": "gpu", "operator": "Exists"}], "serviceAccountName": "reader"}
        pod |= {"terminationGracePeriodSeconds": 5, "volumes": [{"name": "scratch", "emptyDir": {}}]}
    if rng.random() < 0.5:
        held.insert(0, {"name": "logger", "image": "logger:1", "resources": {"limits": {"cpu": "100m"}}})
    if rng.random() < 0.5:
        component |= {"metadata": {"labels": {"tier": "models"}}, "replicas": 4}
    if rng.random() < 0.3:
        component |= {"hpaSpec": {"maxReplicas": 9}, "pdbSpec": {"minAvailable": 1}}
    return component


def _container(name: str, rng: random.Random) -> Document:
    container: Document = {"name": name}
    if rng.random() < 0.5:
        container |= {"image": "mine:1", "env": [{"name": "B", "value": "2"}], "command": ["tritonserver"]}
    if rng.random() < 0.5:
        container["resources"] = {"limits": {"cpu": "8", "memory": "9Gi", "example.com/fpga": "1"}}
    if rng.random() < 0.5:
        container |= {"args": ["--http-port=9001"], "ports": [{"name": "http", "containerPort": 9001}]}
    if rng.random() < 0.5:
        container["volumeMounts"] = [{"name": "scratch", "mountPath": rng.choice(["/dev/shm/", "/scratch"])}]  # noqa: S108
    return container
