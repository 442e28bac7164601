"""A pipeline as Kubernetes documents: a SeldonDeployment of one Triton per stage, and the plan its sidecars follow.

What a plan decides is kept out of the SeldonDeployment as far as Seldon's operator would roll pods for it: replicas
are set on the Deployments, variant and batch by the sidecars. Only the cores that pods start with are in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ipa_seldon.errors import PlatformError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.specs.desired import KEY, plan_document, pod_plans
from ipa_seldon.specs.seldon_operator import FIRST_GRPC_PORT, FIRST_HTTP_PORT, SEPARATE_ENGINE, TRITON

SIDECAR = "ipa-sidecar"
PIPELINE_LABEL = "ipa.seldon.io/pipeline"
KIND_LABEL, PIPELINE_KIND = "ipa.seldon.io/kind", "pipeline"
"""The label of ConfigMaps that hold a pipeline file and its profile, under these names."""
PIPELINE_FILE, PROFILE_FILE = "pipeline.yaml", "profile.csv"
METRICS_PORT, SIDECAR_PORT = 8002, 8090
MODELS = "/mnt/models"
"""Where Seldon's operator mounts what ``modelUri`` names."""
PLAN_DIRECTORY = "/etc/ipa-seldon"
_STARTUP_PERIOD, _STARTUP_FAILURES = 5, 120


@dataclass(frozen=True)
class SeldonSettings:
    """What a cluster needs to know beside the pipeline. ``model_uri`` names the model repository (``pvc://claim/path``,
    ``gs://bucket/path``); ``triton_image`` and ``sidecar_image`` are image references; ``memory`` and ``shared_memory``
    Kubernetes quantities for one Triton.
    """

    model_uri: str
    triton_image: str
    sidecar_image: str
    memory: str
    shared_memory: str
    predictor: str = "default"


def seldon_deployment(pipeline: Pipeline, plan: Plan, settings: SeldonSettings) -> dict[str, Any]:
    """The SeldonDeployment that serves ``pipeline``, its pods on the cores of ``plan``.

    PlatformError where the executor of Seldon Core would not run the pipeline's graph as it is meant: it answers with
    its first child's answer alone, so a graph is a chain.
    """
    order = _chain(pipeline)
    graph: dict[str, Any] = {}
    for name in reversed(order):
        children = {"children": [graph]} if graph else {}
        graph = {"name": name, "implementation": TRITON, "modelUri": settings.model_uri, **children}
    predictor = {
        "name": settings.predictor,
        "graph": graph,
        "componentSpecs": [_component(pipeline.name, name, _only(name, plan), settings) for name in order],
    }
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
            "predictors": [predictor],
        },
    }


def plan_config_map(pipeline: Pipeline, plan: Plan) -> dict[str, Any]:
    """The ConfigMap whose document the sidecars follow."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": plan_name(pipeline.name), "labels": {PIPELINE_LABEL: pipeline.name}},
        "data": {KEY: plan_document(pod_plans(pipeline, plan))},
    }


def pipeline_config_map(pipeline: str, file: str, profile: str) -> dict[str, Any]:
    """The ConfigMap by which an adapter in the cluster knows a pipeline: its file, and the profile that it names."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{pipeline}-pipeline",
            "labels": {PIPELINE_LABEL: pipeline, KIND_LABEL: PIPELINE_KIND},
        },
        "data": {PIPELINE_FILE: file, PROFILE_FILE: profile},
    }


def plan_name(pipeline: str) -> str:
    """The name of a pipeline's plan ConfigMap."""
    return f"{pipeline}-plan"


def _chain(pipeline: Pipeline) -> list[str]:
    """The stages in order; PlatformError where one has several children."""
    for stage in pipeline.stages:
        children = [child for parent, child in pipeline.edges if parent == stage.name]
        if len(children) > 1:
            raise PlatformError(
                f"stage {stage.name!r} has the children {', '.join(children)}: Seldon's executor returns the answer of "
                "the first alone; accepted: a chain"
            )
    return [stage.name for stage in pipeline.stages]


def _only(stage: str, plan: Plan) -> Allocation:
    allocations = plan.get(stage, ())
    if len(allocations) != 1:
        raise PlatformError(f"plan: stage {stage!r} has {len(allocations)} allocations; accepted: one")
    return allocations[0]


def _component(pipeline: str, stage: str, allocation: Allocation, settings: SeldonSettings) -> dict[str, Any]:
    volumes = [
        # Triton's Python back end passes tensors through shared memory; a container's own /dev/shm holds 64 MiB.
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": settings.shared_memory}},
        {"name": "plan", "configMap": {"name": plan_name(pipeline)}},
    ]
    return {
        "metadata": {"labels": {PIPELINE_LABEL: pipeline}},
        "spec": {
            "containers": [_triton(stage, allocation, settings), _sidecar(pipeline, stage, settings)],
            "volumes": volumes,
            # Requests under way end before Triton does.
            "terminationGracePeriodSeconds": 60,
        },
    }


def _triton(stage: str, allocation: Allocation, settings: SeldonSettings) -> dict[str, Any]:
    # Requests equal to limits: only then may cores be promised, and changed in place.
    resources = {"cpu": str(allocation.cores), "memory": settings.memory}
    return {
        "name": stage,
        "image": settings.triton_image,
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
            "--exit-timeout-secs=30",
        ],
        "ports": [
            {"name": "http", "containerPort": FIRST_HTTP_PORT, "protocol": "TCP"},
            {"name": "grpc", "containerPort": FIRST_GRPC_PORT, "protocol": "TCP"},
        ],
        "resources": {"requests": dict(resources), "limits": dict(resources)},
        "startupProbe": _probe("/v2/health/live", "http", _STARTUP_PERIOD, _STARTUP_FAILURES),
        "livenessProbe": _probe("/v2/health/live", "http", 10, 3),
        # Ready is who answers requests, and that is the model, not the server.
        "readinessProbe": _probe(f"/v2/models/{stage}/ready", "http", 2, 3),
        "volumeMounts": [{"name": "shared-memory", "mountPath": "/dev/shm"}],  # noqa: S108  # the container's
    }


def _sidecar(pipeline: str, stage: str, settings: SeldonSettings) -> dict[str, Any]:
    return {
        "name": SIDECAR,
        "image": settings.sidecar_image,
        "args": [
            *("sidecar", "--stage", stage, "--plan", f"{PLAN_DIRECTORY}/{KEY}", "--config-map", plan_name(pipeline)),
            *("--triton", f"localhost:{FIRST_GRPC_PORT}", "--port", str(SIDECAR_PORT)),
        ],
        "resources": {
            "requests": {"cpu": "50m", "memory": "128Mi"},
            "limits": {"cpu": "500m", "memory": "256Mi"},
        },
        "livenessProbe": _probe("/healthz", SIDECAR_PORT, 10, 3),
        "readinessProbe": _probe("/readyz", SIDECAR_PORT, 2, 3),
        "securityContext": {
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
