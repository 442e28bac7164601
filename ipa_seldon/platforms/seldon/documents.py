"""What one look at the cluster found: four reads, and what follows from them without another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ipa_seldon.cluster.api import CONFIG_MAPS, DEPLOYMENTS, PODS, SELDON_DEPLOYMENTS, Cluster, Document
from ipa_seldon.errors import PlatformError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.specs import desired, record
from ipa_seldon.specs.desired import PodPlan
from ipa_seldon.specs.observed import living, replicas_of, stage_deployments
from ipa_seldon.specs.record import Record
from ipa_seldon.specs.seldon import plan_name

GRAPH_LABEL = "seldon-deployment-id"
"""On everything that Seldon's operator makes of a SeldonDeployment: its name."""


@dataclass(frozen=True)
class View:
    """The ``graph`` (a SeldonDeployment), its ``deployments`` and ``pods`` by stage, the plan's ConfigMap and what is
    in it: what pods are ``told`` by stage, and the ``record``. Absent ones are None, or left out of ``told``.
    """

    graph: Document
    deployments: Mapping[str, Document | None]
    pods: Mapping[str, list[Document]]
    config_map: Document | None
    told: Mapping[str, PodPlan]
    record: Record | None

    @property
    def document(self) -> str:
        """The plan document as it stands; empty without one."""
        return str(((self.config_map or {}).get("data") or {}).get(desired.KEY, ""))

    @property
    def replicas(self) -> dict[str, int]:
        """Stage -> what its Deployment asks for."""
        return {stage: replicas_of(found) for stage, found in self.deployments.items() if found is not None}

    @property
    def edited(self) -> str:
        """What somebody else has changed since our last write, in words; empty: nothing."""
        if self.record is None:
            return ""
        if record.digest(self.document) != self.record.told:
            return f"ConfigMap {plan_name(self.graph['metadata']['name'])}: {desired.KEY} was changed"
        for stage, replicas in self.replicas.items():
            (allocation,) = self.record.plan[stage]
            ours = {allocation.replicas}
            if self.record.settled is None:
                ours.add(self.record.replicas.get(stage, allocation.replicas))
            if replicas not in ours:
                name = (self.deployments[stage] or {})["metadata"]["name"]
                return f"Deployment {name}: replicas were changed from {allocation.replicas} to {replicas}"
        return ""

    def running(self, pipeline: Pipeline) -> Plan:
        """The plan that the documents state, whoever wrote them; empty where a part of it is not known."""
        replicas = self.replicas
        plan: dict[str, tuple[Allocation, ...]] = {}
        for stage in pipeline.stages:
            told = self.told.get(stage.name)
            if told is None or stage.name not in replicas or replicas[stage.name] < 1:
                return {}
            plan[stage.name] = (Allocation(told.variant, replicas[stage.name], told.cores, told.batch),)
        return plan if known(pipeline, plan) else {}


def known(pipeline: Pipeline, plan: Plan | None) -> bool:
    """Whether a plan is one of this pipeline's: the file may have changed since it was made."""
    if plan is None or set(plan) != {stage.name for stage in pipeline.stages}:
        return False
    for stage in pipeline.stages:
        cores = {variant.name: variant.cores for variant in stage.variants}
        if any(allocation.cores not in cores.get(allocation.variant, ()) for allocation in plan[stage.name]):
            return False
    return True


def read_graph(cluster: Cluster, name: str) -> Document:
    """A SeldonDeployment; PlatformError when there is none of that name."""
    graph = cluster.get(SELDON_DEPLOYMENTS, name)
    if graph is None:
        raise PlatformError(f"no SeldonDeployment {name!r} in namespace {cluster.namespace!r}")
    return graph


def look(cluster: Cluster, pipeline: Pipeline, graph_name: str, predictor: str) -> View:
    """Read all of it; PlatformError when there is no such SeldonDeployment, or an answer is missing."""
    graph = read_graph(cluster, graph_name)
    labels = {GRAPH_LABEL: graph_name}
    found = {document["metadata"]["name"]: document for document in cluster.list(DEPLOYMENTS, labels)}
    pods = cluster.list(PODS, labels)
    config_map = cluster.get(CONFIG_MAPS, plan_name(graph_name))
    stages = [stage.name for stage in pipeline.stages]
    names = stage_deployments(graph, predictor, stages)
    data = (config_map or {}).get("data") or {}
    told = {}
    for stage in stages:
        try:
            told[stage] = desired.pod_plan(data.get(desired.KEY, ""), stage)
        except PlatformError:  # none, or one that a hand has spoilt: it is written anew with the next plan
            continue
    kept = _record(pipeline, data)
    return View(
        graph,
        {stage: found.get(names.get(stage, "")) for stage in stages},
        {stage: living(pods, names.get(stage, "")) for stage in stages},
        config_map,
        told,
        kept,
    )


def _record(pipeline: Pipeline, data: Mapping[str, str]) -> Record | None:
    """The record where it is there, whole, and about this pipeline as its file is now."""
    try:
        found = record.record_from_json(data.get(record.KEY, ""))
    except PlatformError:
        return None
    return found if known(pipeline, found.plan) else None
