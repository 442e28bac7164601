"""A stage that runs a set of variants under Seldon Core: a predictor for each, named after it, that share the traffic.

Seldon Core splits requests between whole predictors, in whole per cent, so this is for a pipeline of one stage.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from ipa_seldon.dispatch import apportioned
from ipa_seldon.plan import Plan
from ipa_seldon.specs.seldon_operator import Document, containers

ENTRY = "--entry"
"""The sidecar's option that names its entry in the plan document: a variant of the set."""


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


def with_predictor(graph: Document, name: str, stage: str, cores: int) -> dict[str, Any]:
    """The SeldonDeployment with one more predictor at its end, without traffic yet: as its first one, which keeps what
    its owner has put there, but for another entry of the plan and other cores.
    """
    changed = copy.deepcopy(dict(graph))
    predictors = changed["spec"]["predictors"]
    if len(predictors) == 1:
        predictors[0]["traffic"] = 100  # stated, as Seldon Core wants it of several
    added = copy.deepcopy(predictors[0])
    added |= {"name": name, "traffic": 0}
    for component in added.get("componentSpecs") or ():
        for container in containers(component):
            arguments = container.get("args") or []
            if ENTRY in arguments:
                arguments[arguments.index(ENTRY) + 1] = name
    predictors.append(added)
    return with_cores(changed, {name: cores}, stage)


def with_cores(graph: Document, cores: Mapping[str, int], set_of: str | None = None) -> dict[str, Any]:
    """The SeldonDeployment whose pods of these stages start with so many cores; of these predictors' stage ``set_of``
    where there is a set of variants.
    """
    changed = copy.deepcopy(dict(graph))
    for predictor in changed["spec"]["predictors"]:
        for component in predictor.get("componentSpecs") or ():
            for container in containers(component):
                key = predictor["name"] if container["name"] == set_of else container["name"]
                if key in cores:
                    resources = container.setdefault("resources", {})
                    for kind in ("requests", "limits"):
                        resources.setdefault(kind, {})["cpu"] = str(cores[key])
    return changed


def without_predictors(graph: Document, names: Collection[str]) -> dict[str, Any]:
    """The SeldonDeployment without some predictors, which must have no traffic any more."""
    changed = copy.deepcopy(dict(graph))
    spec = changed["spec"]
    spec["predictors"] = [predictor for predictor in spec["predictors"] if predictor["name"] not in names]
    return changed
