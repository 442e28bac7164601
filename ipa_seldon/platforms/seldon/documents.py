"""What one look at the cluster found: four reads, and what follows from them without another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ipa_seldon.cluster.api import CONFIG_MAPS, DEPLOYMENTS, PODS, SELDON_DEPLOYMENTS, Cluster, Document
from ipa_seldon.errors import PlatformError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Plan, check_plan
from ipa_seldon.specs import desired, record
from ipa_seldon.specs.desired import PodCores, PodPlan
from ipa_seldon.specs.observed import asked_cores, entry_of, living, replicas_of, set_deployments, stage_deployments
from ipa_seldon.specs.record import Record
from ipa_seldon.specs.seldon import plan_name
from ipa_seldon.specs.traffic import percentages, traffic_of

GRAPH_LABEL = "seldon-deployment-id"
"""On everything that Seldon's operator makes of a SeldonDeployment: its name."""


@dataclass(frozen=True)
class View:
    """The ``graph`` (a SeldonDeployment), its ``deployments`` and ``pods`` by stage, the plan's ConfigMap and what is
    in it: what pods are ``told`` by entry, to serve and of their ``cores``, and the ``record``. Absent ones are None,
    or left out of what is told.

    Where a pipeline's only stage, ``set_of``, runs a set of variants, all of them are by variant instead.
    """

    graph: Document
    set_of: str | None
    deployments: Mapping[str, Document | None]
    pods: Mapping[str, list[Document]]
    config_map: Document | None
    told: Mapping[str, PodPlan]
    cores: Mapping[str, PodCores]
    record: Record | None

    @property
    def document(self) -> str:
        """The plan document as it stands; empty without one."""
        return str(((self.config_map or {}).get("data") or {}).get(desired.KEY, ""))

    @property
    def replicas(self) -> dict[str, int]:
        """Stage -> what its Deployment asks for."""
        return {stage: replicas_of(found) for stage, found in self.deployments.items() if found is not None}

    def starting_cores(self, key: str) -> int:
        """The cores that a new pod of a stage begins with; 0: no limit."""
        return asked_cores(self._template(key), self.set_of or key)

    def entry(self, key: str) -> str:
        """The entry of the plan document that a new pod of a stage reads."""
        return key if self.deployments[key] is None else entry_of(self._template(key), key)

    def told_to(self, key: str, pod: Mapping[str, Any]) -> PodPlan | None:
        """What one pod of a stage is told to serve."""
        entry = entry_of(pod, key)
        told = self.told.get(entry)
        return told and self.cores[entry].limited(told, pod["metadata"]["name"])

    def _template(self, key: str) -> Document:
        found: Document = (self.deployments[key] or {})["spec"]["template"]
        return found

    @property
    def edited(self) -> str:
        """What somebody else has changed since our last write, in words; empty: nothing."""
        if self.record is None:
            return ""
        if record.digest(self.document) != self.record.told:
            return f"ConfigMap {plan_name(self.graph['metadata']['name'])}: {desired.KEY} was changed"
        wanted = {key: allocation.replicas for key, allocation in self.wanted(self.record.plan).items()}
        for key, replicas in self.replicas.items():
            ours = {wanted[key]} if key in wanted else {1}
            if self.record.settled is None:
                # A new Deployment begins with one.
                ours |= {self.record.replicas.get(key, 1)}
            if replicas not in ours:
                name = (self.deployments[key] or {})["metadata"]["name"]
                return f"Deployment {name}: replicas were changed from {max(ours)} to {replicas}"
        return self._redirected(self.record)

    def wanted(self, plan: Plan) -> dict[str, Allocation]:
        """Stage, or variant of the set -> what a plan wants of it."""
        if self.set_of is not None:
            return {allocation.variant: allocation for allocation in plan[self.set_of]}
        return {stage: allocation for stage, (allocation,) in plan.items()}

    def _redirected(self, kept: Record) -> str:
        """A traffic other than ours, in words, once it had been moved."""
        if self.set_of is None or kept.settled is None:
            return ""
        shares = {allocation.variant: allocation.share for allocation in kept.plan[self.set_of]}
        ours = dict.fromkeys(self.traffic, 0) | percentages(shares)
        return "" if ours == self.traffic else f"traffic was changed from {ours} to {self.traffic}"

    @property
    def traffic(self) -> dict[str, int]:
        """Predictor -> per cent of the requests."""
        return traffic_of(self.graph)

    def running(self, pipeline: Pipeline) -> Plan:
        """The plan that the documents state, whoever wrote them; empty where a part of it is not known."""
        if self.set_of is not None:
            return self._running_set(pipeline)
        replicas = self.replicas
        plan: dict[str, tuple[Allocation, ...]] = {}
        for stage in pipeline.stages:
            told = self.told.get(self.entry(stage.name))
            if told is None or stage.name not in replicas or replicas[stage.name] < 1:
                return {}
            made = Allocation(told.variant, replicas[stage.name], told.cores, told.batch, gpus=told.gpus)
            plan[stage.name] = (made,)
        return plan if known(pipeline, plan) else {}

    def _running_set(self, pipeline: Pipeline) -> Plan:
        (stage,) = pipeline.stages
        allocations = []
        for name, per_cent in self.traffic.items():
            told = self.told.get(self.entry(name)) if name in self.deployments else None
            replicas = self.replicas.get(name, 0)
            if per_cent and (told is None or replicas < 1):
                return {}
            if per_cent and told is not None:
                share = per_cent / 100
                allocations.append(Allocation(told.variant, replicas, told.cores, told.batch, share, told.gpus))
        plan = {stage.name: tuple(allocations)}
        return plan if allocations and known(pipeline, plan) else {}


def known(pipeline: Pipeline, plan: Plan | None) -> bool:
    """Whether a plan is one of this pipeline's, all of it: the file may have changed since it was made."""
    if plan is None or set(plan) != {stage.name for stage in pipeline.stages}:
        return False
    try:
        check_plan(pipeline, plan)
    except PlatformError:
        return False
    return all(
        pipeline.stage(stage).variant(allocation.variant).is_known_on(allocation.cores, allocation.batch)
        for stage, allocations in plan.items()
        for allocation in allocations
    )


def read_graph(cluster: Cluster, name: str) -> Document:
    """A SeldonDeployment; PlatformError when there is none of that name."""
    graph = cluster.get(SELDON_DEPLOYMENTS, name)
    if graph is None:
        raise PlatformError(f"no SeldonDeployment {name!r} in namespace {cluster.namespace!r}")
    return graph


def look(cluster: Cluster, pipeline: Pipeline, graph_name: str, predictor: str | None) -> View:
    """Read all of it; PlatformError when there is no such SeldonDeployment, or an answer is missing. ``predictor`` None
    is one for each variant of a set.
    """
    graph = read_graph(cluster, graph_name)
    labels = {GRAPH_LABEL: graph_name}
    found = {document["metadata"]["name"]: document for document in cluster.list(DEPLOYMENTS, labels)}
    pods = cluster.list(PODS, labels)
    config_map = cluster.get(CONFIG_MAPS, plan_name(graph_name))
    data = (config_map or {}).get("data") or {}
    set_of = None if predictor is not None else pipeline.stages[0].name
    if predictor is not None:
        keys = [stage.name for stage in pipeline.stages]
        names = stage_deployments(graph, predictor, keys)
    else:
        names = set_deployments(graph, pipeline.stages[0].name)
        keys = list(names)
    told, cores = _told(data.get(desired.KEY, ""), keys)
    return View(
        graph,
        set_of,
        {key: found.get(names.get(key, "")) for key in keys},
        {key: living(pods, names.get(key, "")) for key in keys},
        config_map,
        told,
        cores,
        _record(pipeline, data),
    )


def _told(document: str, keys: Sequence[str]) -> tuple[dict[str, PodPlan], dict[str, PodCores]]:
    told, cores = {}, {}
    for entry in desired.entries_in(document):
        if desired.key_of(entry) not in keys:
            continue
        try:
            told[entry], cores[entry] = desired.stage_plan(document, entry), desired.pod_cores(document, entry)
        except PlatformError:  # one that a hand has spoilt: it is written anew with the next plan
            continue
    return told, cores


def _record(pipeline: Pipeline, data: Mapping[str, str]) -> Record | None:
    """The record where it is there, whole, and about this pipeline as its file is now."""
    try:
        found = record.record_from_json(data.get(record.KEY, ""))
    except PlatformError:
        return None
    return found if known(pipeline, found.plan) else None
