"""The writes of a step, made so that nobody else's change is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from ipa_seldon.cluster.api import CONFIG_MAPS, DEPLOYMENTS, PODS, SELDON_DEPLOYMENTS, ApiError, Cluster
from ipa_seldon.platforms.seldon.documents import View
from ipa_seldon.platforms.seldon.voice import Voice
from ipa_seldon.rollout import Step
from ipa_seldon.specs import desired, record
from ipa_seldon.specs.desired import gpus_of
from ipa_seldon.specs.observed import Trouble
from ipa_seldon.specs.record import Record, digest, record_to_json
from ipa_seldon.specs.seldon import PIPELINE_LABEL, plan_name
from ipa_seldon.specs.seldon_operator import Document
from ipa_seldon.specs.traffic import Size, with_predictor, with_sizes, with_traffic, without_predictors

_REFUSALS = (HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY)
"""No permission or quota; or a node that resizes no pods, another class of service. Asking again changes neither."""
_FOR_CORES = (
    "RollingForCores",
    "pods cannot be resized in place here: their template's cores change, and they are replaced",
)
_FOR_GPUS = ("RollingForGpus", "no pod gets or loses a GPU: their template's GPUs change, and they are replaced")


class Writes:
    """Of the graph that is named as its ``pipeline``, whose pods ask for GPUs by the name ``gpu_resource``. ApiError
    409 where what was seen has changed since.
    """

    def __init__(self, cluster: Cluster, pipeline: str, voice: Voice, gpu_resource: str) -> None:
        self._cluster = cluster
        self._pipeline = pipeline
        self._voice = voice
        self._gpu_resource = gpu_resource

    def step(self, view: View, current: Record, step: Step, now: float, commit: bool = False) -> Mapping[str, Trouble]:
        """All writes of a step; after a crash between two of them the next look finds what is left to do. Returns the
        pods whose cores may not be changed.
        """
        if step.told or step.granted or commit:
            document = desired.plan_document({**view.told, **step.told}, {**view.cores, **step.granted})
            current = replace(current, told=digest(document))
            self.save(view, current, document)
        for key, replicas in step.replicas.items():
            write_replicas(self._cluster, view.deployments[key] or {}, replicas)
        unsupported, refused = resize(self._cluster, view, step.cores)
        resized = {key: Size(cores, gpus_of(view.entry(key))) for key, cores in unsupported.items()}
        template = with_sizes(view.graph, {**resized, **step.replaced}, self._gpu_resource, view.set_of)
        if template != view.graph:
            current = replace(current, rolls=True)
            self._voice.event(view.graph, "Warning", *(_FOR_GPUS if step.replaced else _FOR_CORES))
        self._predictors(view, current, step, now, template)
        return refused

    def save(self, view: View, current: Record, document: str | None = None) -> None:
        """The record, with a plan ``document`` in one write, so that the two are never apart."""
        data = {record.KEY: record_to_json(current)} | ({} if document is None else {desired.KEY: document})
        name = plan_name(self._pipeline)
        if view.config_map is not None:
            version = {"resourceVersion": view.config_map["metadata"]["resourceVersion"]}
            saved = self._cluster.patch(CONFIG_MAPS, name, {"metadata": version, "data": data})
            view.config_map["metadata"] = saved["metadata"]
            return
        metadata = {"name": name, "labels": {PIPELINE_LABEL: self._pipeline}}
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        self._cluster.create(CONFIG_MAPS, body)

    def _predictors(self, view: View, current: Record, step: Step, now: float, template: dict[str, Any]) -> None:
        """Change the SeldonDeployment to ``template`` and what the step wants of its predictors, in one write."""
        for name, size in step.added.items():
            template = with_predictor(template, name, view.set_of or "", size, self._gpu_resource)
            current = replace(current, rolls=True, added=(*current.added, name))
        if step.traffic:
            template = with_traffic(template, step.traffic)
            current = replace(current, shifted=now)
        template = without_predictors(template, step.removed)
        if template == view.graph:
            return
        self.save(view, current)
        metadata = {"resourceVersion": view.graph["metadata"]["resourceVersion"]}
        change = {"metadata": metadata, "spec": {"predictors": template["spec"]["predictors"]}}
        self._cluster.patch(SELDON_DEPLOYMENTS, self._pipeline, change)


def write_replicas(cluster: Cluster, deployment: Document, replicas: int) -> None:
    """Scale a Deployment, unless it has changed since it was read: ApiError 409."""
    metadata = deployment["metadata"]
    body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": {"replicas": replicas}}
    cluster.patch(DEPLOYMENTS, metadata["name"], body, "scale")


def resize(cluster: Cluster, view: View, cores: Mapping[str, int]) -> tuple[dict[str, int], dict[str, Trouble]]:
    """Ask for pods' ``cores`` in place. Returns those stages, or variants of a set, and cores for which the cluster
    cannot do that (Kubernetes before 1.33), and those pods for which it will not.
    """
    unsupported: dict[str, int] = {}
    refused: dict[str, Trouble] = {}
    for key, pods in view.pods.items():
        for name in (pod["metadata"]["name"] for pod in pods):
            if name not in cores or key in unsupported:
                continue
            try:
                if not _resized(cluster, name, view.set_of or key, cores[name]):
                    unsupported[key] = cores[name]
            except ApiError as error:
                if error.code not in _REFUSALS:
                    raise
                refused[name] = Trouble("Refused", str(error), final=True)
    return unsupported, refused


def _resized(cluster: Cluster, pod: str, container: str, cores: int) -> bool:
    """Whether the pod could be resized, or is gone."""
    quantity = {"cpu": str(cores)}
    resources = {"requests": quantity, "limits": quantity}
    body = {"spec": {"containers": [{"name": container, "resources": resources}]}}
    try:
        cluster.patch_strategic(PODS, pod, body, "resize")
    except ApiError as error:
        if error.code not in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
            raise
        return cluster.get(PODS, pod) is None
    return True
