"""What a stage's pods are to run, as the adapter leaves it for their sidecars: JSON, complete without a pipeline file.

One document holds every stage of a pipeline, so that a plan changes as a whole. A pod is one replica: it runs one
instance of one variant, and how many pods there are is the cluster's part of the plan. Where a stage runs a set of
variants, each has an entry of its name in place of the stage's. Pods with GPUs read an entry of their own (of one GPU
each: ``detect.1``), so that those without serve on while they are replaced.

A pod never uses more threads than it has cores: what its node has granted is in the document too, pod by pod.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ipa_seldon.errors import PlatformError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.queueing import queue_delay

FORMAT = 1
KEY = "plan.json"
"""The key of the document in its ConfigMap, and the name of the file it is mounted as."""

SIDECAR = "ipa-sidecar"
"""The container that follows the document."""
ENTRY = "--entry"
"""Its option that names the entry of its pod, where that is not the stage."""

DIGITS = 6
"""Of seconds: Triton counts microseconds."""


@dataclass(frozen=True)
class PodPlan:
    """What one pod of a stage serves: ``version`` of the stage's model (it is the ``variant``) on ``cores`` cores in
    batches of up to ``batch`` requests, the first of which waits at most ``delay`` seconds for the others. With an
    ``slo`` (seconds) its queue goes by the deadlines of requests. It has ``gpus`` GPUs.
    """

    variant: str
    version: int
    cores: int
    batch: int
    delay: float
    slo: float | None = None
    gpus: int = 0


@dataclass(frozen=True)
class PodCores:
    """The cores that a stage's pods have: by name those whose node has granted others than ``start``, which is what
    pods begin with, out of the template. 0: no limit.
    """

    start: int
    pods: Mapping[str, int] = field(default_factory=dict)

    def limited(self, plan: PodPlan, pod: str) -> PodPlan:
        """``plan`` on no more cores than the pod of that name has."""
        return replace(plan, cores=min(plan.cores, self.pods.get(pod, self.start) or plan.cores))


NO_LIMIT = PodCores(0)


def entry_name(key: str, gpus: int) -> str:
    """The entry that pods of a stage, or of a variant of a set, read which have so many GPUs."""
    return f"{key}.{gpus}" if gpus else key


def key_of(entry: str) -> str:
    """The stage, or the variant of a set, whose pods read an entry."""
    return entry.partition(".")[0]


def gpus_of(entry: str) -> int:
    """How many GPUs pods have that read an entry."""
    return int(entry.partition(".")[2] or 0)


def entries(plans: Mapping[str, PodPlan]) -> dict[str, PodPlan]:
    """The same plans of stages, or of variants of a set, by the entries that their pods read."""
    return {entry_name(key, plan.gpus): plan for key, plan in plans.items()}


def pod_plans(pipeline: Pipeline, plan: Plan) -> dict[str, PodPlan]:
    """Stage -> what each of its pods serves; PlatformError where a stage runs a set of variants: one model cannot."""
    plans = {}
    for name, allocations in plan.items():
        if len(allocations) != 1:
            raise PlatformError(f"plan: stage {name!r} has {len(allocations)} allocations; a pod runs exactly one")
        plans[name] = pod_plan_of(pipeline, name, allocations[0])
    return plans


def set_plans(pipeline: Pipeline, plan: Plan) -> dict[str, PodPlan]:
    """Variant -> what each of its pods serves, where one stage runs a set; PlatformError where there are more."""
    if len(pipeline.stages) != 1:
        names = ", ".join(stage.name for stage in pipeline.stages)
        raise PlatformError(f"plan: a set of variants needs a pipeline of one stage; stages are: {names}")
    (stage,) = pipeline.stages
    return {allocation.variant: pod_plan_of(pipeline, stage.name, allocation) for allocation in plan[stage.name]}


def pod_plan_of(pipeline: Pipeline, stage: str, allocation: Allocation) -> PodPlan:
    """One replica's part of an allocation of the stage.

    Where requests have deadlines, no batch waits to fill.
    """
    variant = pipeline.stage(stage).variant(allocation.variant)
    delay = 0.0 if pipeline.by_deadline else round(queue_delay(variant, allocation), DIGITS)
    slo = round(pipeline.slo, DIGITS) if pipeline.triton_orders else None
    return PodPlan(variant.name, variant.version, allocation.cores, allocation.batch, delay, slo, allocation.gpus)


def plan_document(plans: Mapping[str, PodPlan], cores: Mapping[str, PodCores] | None = None) -> str:
    """The document of what the pods of every entry serve, and of the ``cores`` that they have where the two may
    differ.
    """
    stages = {name: {k: v for k, v in asdict(plan).items() if v is not None} for name, plan in plans.items()}
    limits = {name: asdict(found) for name, found in (cores or {}).items() if found != NO_LIMIT}
    return json.dumps({"format": FORMAT, "stages": stages, "cores": limits}, sort_keys=True)


def entries_in(text: str) -> list[str]:
    """The names of a document's entries; none where it is no document."""
    try:
        return list(map(str, json.loads(text)["stages"]))
    except (ValueError, TypeError, KeyError):
        return []


def pod_cores(text: str, stage: str) -> PodCores:
    """The cores of a stage's pods in a document; PlatformError says what is wrong with it."""
    try:
        found: Mapping[str, Any] = json.loads(text).get("cores", {}).get(stage, {"start": 0})
        pods = {str(name): int(cores) for name, cores in found.get("pods", {}).items()}
        return PodCores(int(found["start"]), pods)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise PlatformError(f"plan: no cores of stage {stage!r}: {error!r}") from error


def pod_plan(text: str, stage: str, pod: str = "") -> PodPlan:
    """What the pod of that name serves by the entry of ``stage`` in a document, on the cores that it has; PlatformError
    says what is wrong with it.
    """
    plan = stage_plan(text, stage)
    return pod_cores(text, stage).limited(plan, pod)


def stage_plan(text: str, stage: str) -> PodPlan:
    """The entry of ``stage`` in a document, for pods that have all cores; PlatformError says what is wrong with it."""
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise PlatformError(f"plan: format {document['format']!r}: accepted: {FORMAT}")
        found: Mapping[str, Any] | None = document["stages"].get(stage)
        if found is None:
            raise PlatformError(f"plan: no stage {stage!r}; stages are: {', '.join(document['stages'])}")
        version, cores, batch = (int(found[key]) for key in ("version", "cores", "batch"))
        slo = None if found.get("slo") is None else round(float(found["slo"]), DIGITS)
        delay, gpus = round(float(found["delay"]), DIGITS), int(found.get("gpus", 0))  # an older one has none
        plan = PodPlan(str(found["variant"]), version, cores, batch, delay, slo, gpus)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise PlatformError(f"plan: not a plan document: {error!r}") from error
    if min(plan.version, plan.cores, plan.batch) < 1 or plan.delay < 0 or (slo is not None and slo <= 0):
        accepted = "version, cores, batch from 1, delay from 0, slo above 0"
        raise PlatformError(f"plan: stage {stage!r}: {plan}: accepted: {accepted}")
    return plan
