"""A stage that runs a set of variants under Seldon Core: a predictor for each, named after it, that share the traffic.

Seldon Core splits requests between whole predictors, in whole per cent, so this is for a pipeline of one stage.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ipa_seldon.dispatch import apportioned
from ipa_seldon.plan import Plan
from ipa_seldon.specs.desired import ENTRY, SIDECAR, entry_name
from ipa_seldon.specs.seldon_operator import Document, containers


class Size(NamedTuple):
    """Cores and GPUs of a pod."""

    cores: int
    gpus: int = 0


def percentages(shares: Mapping[str, float]) -> dict[str, int]:
    """Whole per cent that sum to 100, by largest remainders; of equal remainders the first wins."""
    return dict(zip(shares, apportioned(list(shares.values()), 100), strict=True))


def in_per_cent(plan: Plan) -> Plan:
    """The plan with the shares that Seldon Core can give."""
    made = {}
    for stage, allocations in plan.items():
        whole = percentages({allocation.variant: allocation.share for allocation in allocations})
        made[stage] = tuple(replace(allocation, share=whole[allocation.variant] / 100) for allocation in allocations)
    return made


def traffic_of(graph: Document) -> dict[str, int]:
    """Predictor -> the per cent of the requests it gets; shadows are left out."""
    live = [predictor for predictor in graph["spec"]["predictors"] if not predictor.get("shadow")]
    if len(live) == 1:
        return {live[0]["name"]: 100}
    return {predictor["name"]: int(predictor.get("traffic") or 0) for predictor in live}


def with_traffic(graph: Document, traffic: Mapping[str, int]) -> dict[str, Any]:
    """The SeldonDeployment whose predictors get so much."""
    changed = copy.deepcopy(dict(graph))
    for predictor in changed["spec"]["predictors"]:
        if predictor["name"] in traffic:
            predictor["traffic"] = traffic[predictor["name"]]
    return changed


def with_predictor(graph: Document, name: str, stage: str, size: Size, gpu_resource: str) -> dict[str, Any]:
    """The SeldonDeployment with one more predictor at its end, without traffic yet: as its first one, which keeps what
    its owner has put there, but for another entry of the plan and pods of another ``size``.
    """
    changed = copy.deepcopy(dict(graph))
    predictors = changed["spec"]["predictors"]
    if len(predictors) == 1:
        predictors[0]["traffic"] = 100  # stated, as Seldon Core wants it of several
    added = copy.deepcopy(predictors[0])
    predictors.append(added | {"name": name, "traffic": 0})
    return with_sizes(changed, {name: size}, gpu_resource, stage)


def with_sizes(
    graph: Document, sizes: Mapping[str, Size], gpu_resource: str, set_of: str | None = None
) -> dict[str, Any]:
    """The SeldonDeployment whose pods of these stages start with that many cores and GPUs, by the name of their
    resource; of these predictors' stage ``set_of`` where there is a set of variants.
    """
    changed = copy.deepcopy(dict(graph))
    for predictor in changed["spec"]["predictors"]:
        for component in predictor.get("componentSpecs") or ():
            for container in containers(component):
                key = predictor["name"] if container["name"] == set_of else container["name"]
                if key in sizes:
                    given = container.get("resources") or {}
                    container["resources"] = sized(given, sizes[key], gpu_resource)
                    read_entry(component, container["name"], entry_name(key, sizes[key].gpus))
    return changed


def sized(resources: Document, size: Size, gpu_resource: str) -> dict[str, Any]:
    """A container's resources with those cores, as request and limit, and those GPUs, which have a limit alone."""
    kinds = {kind: dict(resources.get(kind) or {}) for kind in ("requests", "limits")}
    for stated in kinds.values():
        stated.pop(gpu_resource, None)
        stated["cpu"] = str(size.cores)
    if size.gpus:
        kinds["limits"][gpu_resource] = str(size.gpus)
    return {**resources, **kinds}


def read_entry(component: Document, stage: str, entry: str) -> None:
    """Have the sidecar of a stage's pods read that entry of the plan document."""
    for container in containers(component):
        if container["name"] == SIDECAR:
            arguments = list(container.get("args") or ())
            if ENTRY in arguments:
                place = arguments.index(ENTRY)
                del arguments[place : place + 2]
            container["args"] = [*arguments, *([] if entry == stage else [ENTRY, entry])]


def without_predictors(graph: Document, names: Collection[str]) -> dict[str, Any]:
    """The SeldonDeployment without some predictors, which must have no traffic any more."""
    changed = copy.deepcopy(dict(graph))
    spec = changed["spec"]
    spec["predictors"] = [predictor for predictor in spec["predictors"] if predictor["name"] not in names]
    return changed
