"""Cores that pods do not get in place: when they are not waited for any longer, and what carries the load instead."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from math import ceil

from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Plan, within_limits
from ipa_seldon.rollout import Pod, StageState

_ROUNDING = 1e-9


def given_up(
    wanted: Mapping[str, Allocation], states: Mapping[str, StageState | None], now: float, since: float, patience: float
) -> dict[str, str]:
    """Stage, or variant of a set -> why the cores of its allocation are not waited for any longer.

    At once where waiting does not help, else after ``patience`` seconds: since its node has said that it waits, which
    outlasts a change of the plan, or, where that says nothing, ``since`` they are wanted.
    """
    found: dict[str, str] = {}
    for key, allocation in wanted.items():
        state = states.get(key)
        for pod in state.pods if state is not None else ():
            if key not in found and _lacks(pod, allocation.cores) and _over(pod, now, since, patience):
                why = pod.trouble or f"its node has not given it {allocation.cores} cores in {patience:g} s"
                found[key] = f"{pod.name}: {why}"
    return found


def _lacks(pod: Pod, cores: int) -> bool:
    """Whether it has been asked for what it has not got. A pod that is to be replaced was not asked for it."""
    refused = pod.trouble is not None and pod.trouble.final
    return pod.cores < cores and (pod.asked >= cores or refused)


def _over(pod: Pod, now: float, since: float, patience: float) -> bool:
    if pod.trouble is None or not pod.trouble.since:
        return (pod.trouble is not None and pod.trouble.final) or now - since > patience
    return pod.trouble.final or now - datetime.fromisoformat(pod.trouble.since).timestamp() > patience


def by_replicas(pipeline: Pipeline, plan: Plan, small: Plan, stages: Collection[str]) -> Plan | None:
    """``plan`` with these ``stages`` as in the plan ``small``, on as many more replicas as serve what they would; None
    where those have no fewer cores each, or where the pipeline's limits do not allow as many.
    """
    made = dict(plan)
    for name in stages:
        stage = pipeline.stage(name)
        (large,), (each,) = plan[name], small[name]
        if each.cores >= large.cores:
            return None
        load = large.replicas * stage.variant(large.variant).throughput(large.cores, large.batch)
        served = stage.variant(each.variant).throughput(each.cores, each.batch)
        replicas = max(each.replicas, ceil(load / served - _ROUNDING))
        if replicas > stage.max_replicas:
            return None
        made[name] = (replace(each, replicas=replicas),)
    return made if within_limits(pipeline, made) else None
