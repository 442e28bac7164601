"""A pipeline as Kubernetes documents: a SeldonDeployment of one Triton per stage, and the plan its sidecars follow.

What a plan decides is kept out of the SeldonDeployment as far as Seldon's operator would roll pods for it: replicas
are set on the Deployments, variant and batch by the sidecars. Only the cores that pods start with are in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ipa_seldon.errors import PlatformError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.specs.desired import KEY, SIDECAR, entries, entry_name, plan_document, pod_plans, set_plans
from ipa_seldon.specs.seldon_operator import (
    FIRST_GRPC_PORT,
    FIRST_HTTP_PORT,
    SEPARATE_ENGINE,
    TRITON,
    Document,
    containers,
)
from ipa_seldon.specs.traffic import Size, percentages, read_entry, sized

PIPELINE_LABEL = "ipa.seldon.io/pipeline"
KIND_LABEL, PIPELINE_KIND = "ipa.seldon.io/kind", "pipeline"
"""The label of ConfigMaps that hold a pipeline file and what was measured for it, under these names."""
PIPELINE_FILE, PROFILE_FILE, CAPACITY_FILE = "pipeline.yaml", "profile.csv", "capacity.csv"
METRICS_PORT, SIDECAR_PORT = 8002, 8090
SHARED_MEMORY = "/dev/shm"  # noqa: S108  # the container's
MODELS = "/mnt/models"
"""Where Seldon's operator mounts what ``modelUri`` names."""
PLAN_DIRECTORY = "/etc/ipa-seldon"
USER = 65532
"""Of the sidecar, whatever user a graph's pods have: that of the image."""
_STARTUP_PERIOD, _STARTUP_FAILURES = 5, 120
_DRAIN = 5
"""Seconds that a pod which is to go still takes requests. It is out of its Services when they begin, but the nodes
hear of that a moment later, and Triton refuses new connections as soon as it is told to end."""
_EXIT_TIMEOUT = 30
"""Seconds that Triton then serves on for those connections that it has: it ends earlier once all are closed."""
_GRACE = _DRAIN + _EXIT_TIMEOUT + 10
"""Seconds after which whatever is left is killed: both of these, and time to unload the model."""


@dataclass(frozen=True)
class SeldonSettings:
    """What a cluster needs to know beside the pipeline. ``model_uri`` names the model repository (``pvc://claim/path``,
    ``gs://bucket/path``); ``triton_image`` and ``sidecar_image`` are image references; ``memory`` and ``shared_memory``
    Kubernetes quantities for one Triton. ``predictor`` None: one for each variant that a pipeline of one stage runs.
    ``gpu_resource`` is the name by which pods ask for GPUs.
    """

    model_uri: str
    triton_image: str
    sidecar_image: str
    memory: str
    shared_memory: str
    predictor: str | None = "default"
    gpu_resource: str = "nvidia.com/gpu"


def seldon_deployment(pipeline: Pipeline, plan: Plan, settings: SeldonSettings) -> dict[str, Any]:
    """The SeldonDeployment that serves ``pipeline``, its pods on the cores and GPUs of ``plan``.

    PlatformError where the executor of Seldon Core would not run the pipeline's graph as it is meant: it answers with
    its first child's answer alone, so a graph is a chain.
    """
    predictors = [_predictor(pipeline, plan, settings)] if settings.predictor else _set(pipeline, plan, settings)
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": pipeline.name, "labels": {PIPELINE_LABEL: pipeline.name}},
        "spec": {
            "name": pipeline.name,
            "protocol": "v2",
            "transport": "rest",
            # Else the executor looks for every Triton in its own pod.
            "annotations": {SEPARATE_ENGINE: "true"},
            "predictors": predictors,
        },
    }


def _predictor(pipeline: Pipeline, plan: Plan, settings: SeldonSettings) -> dict[str, Any]:
    order = chain(pipeline)
    graph: dict[str, Any] = {}
    for name in reversed(order):
        children = {"children": [graph]} if graph else {}
        graph = {"name": name, "implementation": TRITON, "modelUri": settings.model_uri, **children}
    plain = ({"metadata": {}, "spec": {"containers": [{"name": name}]}} for name in order)
    components = [
        stage_component(pipeline.name, name, given, plan, settings) for name, given in zip(order, plain, strict=True)
    ]
    return {"name": settings.predictor, "graph": graph, "componentSpecs": components}


def _set(pipeline: Pipeline, plan: Plan, settings: SeldonSettings) -> list[dict[str, Any]]:
    """A predictor for each variant of the plan, named after it, with its share of the traffic."""
    variants = set_plans(pipeline, plan)  # refuses several stages
    (stage,) = pipeline.stages
    traffic = percentages({allocation.variant: allocation.share for allocation in plan[stage.name]})
    predictors = []
    for allocation in plan[stage.name]:
        own = replace(settings, predictor=allocation.variant)
        predictor = _predictor(pipeline, {stage.name: (allocation,)}, own)
        entry = entry_name(allocation.variant, allocation.gpus)
        read_entry(predictor["componentSpecs"][0], stage.name, entry)
        predictors.append({**predictor, **({"traffic": traffic[allocation.variant]} if len(variants) > 1 else {})})
    return predictors


def plan_config_map(pipeline: Pipeline, plan: Plan, predictor: str | None = "default") -> dict[str, Any]:
    """The ConfigMap whose document the sidecars follow; ``predictor`` as in SeldonSettings."""
    plans = pod_plans(pipeline, plan) if predictor else set_plans(pipeline, plan)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": plan_name(pipeline.name), "labels": {PIPELINE_LABEL: pipeline.name}},
        "data": {KEY: plan_document(entries(plans))},
    }


def pipeline_config_map(pipeline: str, file: str, tables: Mapping[str, str]) -> dict[str, Any]:
    """The ConfigMap by which an adapter in the cluster knows a pipeline: its file, and the tables that it names."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": pipeline_name(pipeline),
            "labels": {PIPELINE_LABEL: pipeline, KIND_LABEL: PIPELINE_KIND},
        },
        "data": {PIPELINE_FILE: file, **tables},
    }


def plan_name(pipeline: str) -> str:
    """The name of a pipeline's plan ConfigMap."""
    return f"{pipeline}-plan"


def pipeline_name(pipeline: str) -> str:
    """The name of the ConfigMap of its file."""
    return f"{pipeline}-pipeline"


def chain(pipeline: Pipeline) -> list[str]:
    """The stages in order; PlatformError where one has several children."""
    for stage in pipeline.stages:
        children = [child for parent, child in pipeline.edges if parent == stage.name]
        if len(children) > 1:
            raise PlatformError(
                f"stage {stage.name!r} has the children {', '.join(children)}: Seldon's executor returns the answer of "
                "the first alone; accepted: a chain"
            )
    return [stage.name for stage in pipeline.stages]


def stage_component(pipeline: str, stage: str, given: Document, plan: Plan, settings: SeldonSettings) -> dict[str, Any]:
    """The componentSpec of a stage's pods, made of the ``given`` one: its container named ``stage`` becomes the Triton,
    and keeps its own image, memory, environment and mounts; whatever else is in the pod stays.

    PlatformError where ``plan`` has not one allocation of the stage.
    """
    allocations = plan.get(stage, ())
    if len(allocations) != 1:
        raise PlatformError(f"plan: stage {stage!r} has {len(allocations)} allocations; accepted: one")
    metadata, pod = given.get("metadata") or {}, given["spec"]
    (server,) = (container for container in containers(given) if container["name"] == stage)
    triton = _triton(server, allocations[0], settings)
    volumes = [{"name": "plan", "configMap": {"name": plan_name(pipeline)}}]
    if not _has_shared_memory(server):
        # Triton's Python back end passes tensors through shared memory; a container's own /dev/shm holds 64 MiB.
        memory = {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": settings.shared_memory}}
        volumes.insert(0, memory)
        triton["volumeMounts"].append({"name": "shared-memory", "mountPath": SHARED_MEMORY})
    others = (triton if container is server else container for container in containers(given))
    component = {
        **given,
        "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), PIPELINE_LABEL: pipeline}},
        "spec": {
            **pod,
            "containers": [*others, _sidecar(pipeline, stage, settings)],
            "volumes": [*(pod.get("volumes") or ()), *volumes],
            "terminationGracePeriodSeconds": pod.get("terminationGracePeriodSeconds", _GRACE),
        },
    }
    read_entry(component, stage, entry_name(stage, allocations[0].gpus))
    return component


def _has_shared_memory(container: Document) -> bool:
    return any(mount["mountPath"].rstrip("/") == SHARED_MEMORY for mount in container.get("volumeMounts") or ())


def _triton(given: Document, allocation: Allocation, settings: SeldonSettings) -> dict[str, Any]:
    stage = given["name"]
    return {
        # A command of its own would take our arguments for its own.
        **{key: value for key, value in given.items() if key != "command"},
        "image": given.get("image") or settings.triton_image,
        "args": [
            "/opt/tritonserver/bin/tritonserver",
            f"--model-repository={MODELS}",
            f"--http-port={FIRST_HTTP_PORT}",
            f"--grpc-port={FIRST_GRPC_PORT}",
            f"--metrics-port={METRICS_PORT}",
            # At first what the repository states; the pod is ready once the sidecar has loaded the planned variant.
            "--model-control-mode=explicit",
            f"--load-model={stage}",
            # A reload must not guess at configurations: it makes every switch about two seconds slower.
            "--disable-auto-complete-config",
            f"--exit-timeout-secs={_EXIT_TIMEOUT}",
        ],
        "ports": [
            {"name": "http", "containerPort": FIRST_HTTP_PORT, "protocol": "TCP"},
            {"name": "grpc", "containerPort": FIRST_GRPC_PORT, "protocol": "TCP"},
        ],
        "resources": _resources(given.get("resources") or {}, allocation, settings),
        "startupProbe": _probe("/v2/health/live", "http", _STARTUP_PERIOD, _STARTUP_FAILURES),
        "livenessProbe": _probe("/v2/health/live", "http", 10, 3),
        # Ready is who answers requests, and that is the model, not the server.
        "readinessProbe": _probe(f"/v2/models/{stage}/ready", "http", 2, 3),
        # The action `sleep` that needs no program came with Kubernetes 1.29; Seldon Core 1.17 runs on older ones too.
        "lifecycle": given.get("lifecycle") or {"preStop": {"exec": {"command": ["sleep", str(_DRAIN)]}}},
        "volumeMounts": list(given.get("volumeMounts") or ()),
    }


def _resources(given: Document, allocation: Allocation, settings: SeldonSettings) -> dict[str, Any]:
    """Cores as request and limit: only then may they be promised, and changed in place. So is memory, unless given."""
    made = sized(given, Size(allocation.cores, allocation.gpus), settings.gpu_resource)
    if not any("memory" in made[kind] for kind in ("requests", "limits")):
        for kind in ("requests", "limits"):
            made[kind]["memory"] = settings.memory
    return made


def _sidecar(pipeline: str, stage: str, settings: SeldonSettings) -> dict[str, Any]:
    # Equal here too, since a pod's promises are those of its weakest container. Measured: 110 MB, two seconds of a core
    # to start, while Triton does, and then 1 % of one.
    resources = {"cpu": "250m", "memory": "256Mi"}
    return {
        "name": SIDECAR,
        "image": settings.sidecar_image,
        "args": [
            *("sidecar", "--stage", stage, "--plan", f"{PLAN_DIRECTORY}/{KEY}", "--config-map", plan_name(pipeline)),
            *("--triton", f"localhost:{FIRST_GRPC_PORT}", "--port", str(SIDECAR_PORT)),
        ],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "resources": {"requests": dict(resources), "limits": dict(resources)},
        "livenessProbe": _probe("/healthz", SIDECAR_PORT, 10, 3),
        # At once: a Triton that was started again answers with what the repository states until its plan is loaded.
        "readinessProbe": _probe("/readyz", SIDECAR_PORT, 1, 1),
        "securityContext": {
            "runAsUser": USER,
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "plan", "mountPath": PLAN_DIRECTORY, "readOnly": True}],
    }


def _probe(path: str, port: str | int, period: int, failures: int) -> Mapping[str, Any]:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
