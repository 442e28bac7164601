"""Baselines: what stays fixed stays, and the rest is the best there is."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_seldon.algorithms import Baselines, Settings, SpongeSettings
from ipa_seldon.algorithms.baselines import Sized, fa2, fa2_high, rim, static, static_8, static_16
from ipa_seldon.algorithms.ipa import Ipa
from ipa_seldon.algorithms.sponge import Sponge
from ipa_seldon.bootstrap import build_solver
from ipa_seldon.errors import ConfigError
from ipa_seldon.options import base_allocations
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Observation, Plan, Proposal, Status
from ipa_seldon.queueing import Queueing
from tests.factories import random_pipeline, random_service

NOTHING = Observation(time=0.0, arrivals=(), plan={})
RATES = [0.0, 30.0, 6.0, 40.0, 500.0, 0.0, 12.0]


def chosen(**fields: object) -> Settings:
    return Settings(build_solver("auto"), queueing=Queueing.PUBLISHED, baselines=Baselines(**fields))  # type: ignore[arg-type]  # test shorthand


def counts(plan: Plan) -> dict[str, int]:
    return {stage: allocation.replicas for stage, (allocation,) in plan.items()}


@pytest.mark.parametrize(("rate", "sized_for"), [(None, 30.0), (40.0, 40.0)])
def test_static_keeps_one_plan_at_any_load(rate: float | None, sized_for: float) -> None:
    """IPA's plan for the given rate, else for the first one above 0; priced honestly where the load is beyond it."""
    pipeline = random_pipeline(11, stages=2, chain=True)
    algorithm = static(pipeline, chosen(rate=rate))
    kept = Ipa(pipeline, chosen()).decide(sized_for, NOTHING).plan
    assert kept != Ipa(pipeline, chosen()).decide(0.0, NOTHING).plan
    proposals = [algorithm.decide(load, NOTHING) for load in RATES]
    assert [proposal.plan for proposal in proposals[1:]] == [kept] * (len(RATES) - 1)
    assert proposals[1].status is Status.OPTIMAL
    assert proposals[4].status is Status.DEGRADED
    assert "of 500 requests/s" in proposals[4].reason


def test_rim_keeps_the_replicas_of_fa2_high() -> None:
    """By default what FA2-high runs at the given rate; the variants follow the load."""
    pipeline = dataclasses.replace(random_pipeline(8, stages=3), slo=1.0, cores=None)
    algorithm = rim(pipeline, chosen(rate=8.0))
    wanted = counts(fa2_high(pipeline, chosen()).decide(8.0, NOTHING).plan)
    plans = [algorithm.decide(load, NOTHING).plan for load in RATES]
    assert [counts(plan) for plan in plans] == [wanted] * len(RATES)
    assert len({tuple(allocation.variant for (allocation,) in plan.values()) for plan in plans}) > 1


def test_rim_keeps_the_replicas_it_is_given() -> None:
    """A stage that is named keeps that many; the others what FA2-high runs beside them at the first rate above 0."""
    pipeline = dataclasses.replace(random_pipeline(8, stages=3), slo=1.0, cores=None)
    algorithm = rim(pipeline, chosen(replicas={"s1": 7}))
    elsewhere = counts(fa2_high(pipeline, chosen()).decide(30.0, NOTHING).plan)
    for load in RATES[1:]:
        assert counts(algorithm.decide(load, NOTHING).plan) == {**elsewhere, "s1": 7}


@pytest.mark.parametrize(("make", "cores"), [(static_8, 8), (static_16, 16)])
def test_a_static_pod_keeps_its_cores_and_one_batch(make: Callable[..., Sized], cores: int) -> None:
    """One pod, the batch that Sponge takes on so many cores for the first load above 0, whatever is queued; degraded
    where the load is beyond it. A budget below its cores is refused.
    """
    pipeline = dataclasses.replace(random_service(3), slo=1.0)
    algorithm = make(pipeline, chosen())
    queued = dataclasses.replace(NOTHING, remaining_slo=(0.3,) * 50)
    proposals = [algorithm.decide(load, queued) for load in RATES]
    kept = Sponge(pipeline, chosen(), cores=(cores,)).decide(30.0, NOTHING).plan
    assert [proposal.plan for proposal in proposals[1:]] == [kept] * (len(RATES) - 1)
    assert [(a.replicas, a.cores) for a in kept["s0"]] == [(1, cores)]
    assert proposals[1].status is Status.OPTIMAL
    assert proposals[4].status is Status.DEGRADED
    with pytest.raises(ConfigError, match=f"limits.cores: 7: accepted: at least {cores}, the cores of one pod"):
        make(dataclasses.replace(pipeline, cores=7), chosen())


def test_static_runs_a_pod_of_the_cores_that_are_set() -> None:
    """``baselines.cores`` is any number of cores, for the rate that baselines are sized for."""
    pipeline = dataclasses.replace(random_service(3), slo=1.0)
    ((allocation,),) = static(pipeline, chosen(cores=5, rate=12.0)).decide(100.0, NOTHING).plan.values()
    assert (allocation.replicas, allocation.cores) == (1, 5)


def test_fa2_scales_replicas_of_the_fewest_cores() -> None:
    """One variant, on the least cores that it was profiled on, though the base allocation would have more; replicas
    follow the load.
    """
    pipeline = dataclasses.replace(random_pipeline(8, stages=1), slo=1.0, cores=None)
    (stage,) = pipeline.stages
    pipeline = dataclasses.replace(pipeline, stages=(dataclasses.replace(stage, threshold=1e3),))
    algorithm = fa2(pipeline, chosen())
    plans = [algorithm.decide(load, NOTHING).plan[stage.name][0] for load in (5.0, 40.0)]
    lightest, *others = sorted(stage.variants, key=lambda variant: -variant.throughput(1, 1))
    assert {plan.variant for plan in plans} == {lightest.name}
    assert {plan.cores for plan in plans} == {1}
    assert plans[0].replicas < plans[1].replicas
    named = dataclasses.replace(chosen(), sponge=SpongeSettings(variant=others[0].name))
    assert fa2(pipeline, named).decide(5.0, NOTHING).plan[stage.name][0].variant == others[0].name


Row = tuple[float, float, float, float, float]  # accuracy, cores, load carried (requests/s), latency (s), batch


def rows_of(pipeline: Pipeline, rate: float, replicas: dict[str, int]) -> list[list[Row]]:
    """Per stage what its fixed replicas could run, straight from the formulas."""
    tables = []
    for stage in pipeline.stages:
        base, n, load = base_allocations(stage, [1, 2, 4]), replicas[stage.name], rate * stage.rate
        tables.append(
            [
                (
                    v.accuracy,
                    float(n * base[v.name]),
                    n * v.throughput(base[v.name], b) / stage.rate,
                    v.latency(base[v.name], b) + ((b - 1) / load if load else 0.0),
                    float(b),
                )
                for v in stage.variants
                for b in (1, 2, 4)
            ]
        )
    return tables


def within_limits(pipeline: Pipeline, combination: Sequence[Row]) -> bool:
    delay = {stage.name: row[3] for stage, row in zip(pipeline.stages, combination, strict=True)}
    slow = any(sum(delay[name] for name in path) > pipeline.slo for path in pipeline.paths)
    return not slow and (pipeline.cores is None or sum(row[1] for row in combination) <= pipeline.cores)


def check_rim(proposal: Proposal, pipeline: Pipeline, rate: float, replicas: dict[str, int]) -> Status:
    """Compare with every combination of variants and batches; returns what it should have been."""
    possible = [c for c in itertools.product(*rows_of(pipeline, rate, replicas)) if within_limits(pipeline, c)]
    carrying = [c for c in possible if min(row[2] for row in c) >= rate * (1 - 1e-9)]
    if carrying:
        best = max((math.prod(row[0] for row in c), -sum(row[1] for row in c)) for c in carrying)
        assert proposal.accuracy == pytest.approx(best[0], abs=1e-9)
        assert proposal.cost == -best[1]
        return Status.OPTIMAL
    if possible:
        most = max(min(row[2] for row in c) for c in possible)
        cheapest = min(sum(row[1] for row in c) for c in possible if min(row[2] for row in c) >= most * (1 - 1e-9))
        assert proposal.served == pytest.approx(most)
        assert proposal.cost == cheapest
    return Status.DEGRADED


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), rate=st.sampled_from([0.0, 5.0, 20.0, 60.0, 300.0]))
def test_rim_is_the_most_accurate_its_replicas_can_be(seed: int, rate: float) -> None:
    """Against brute force on random chains and DAGs: the most accurate plan that carries the load within the SLO and
    the budget, the cheapest of those; where there is none, degraded, and no plan serves more for less.
    """
    rng = np.random.default_rng(seed)
    pipeline = random_pipeline(seed)
    replicas = {stage.name: int(rng.integers(1, stage.max_replicas + 1)) for stage in pipeline.stages}
    least = sum(n * min(base_allocations(pipeline.stage(s), [1, 2, 4]).values()) for s, n in replicas.items())
    pipeline = dataclasses.replace(pipeline, cores=least + int(rng.integers(0, 20)) if rng.random() < 0.5 else None)
    proposal = rim(pipeline, chosen(replicas=replicas)).decide(rate, NOTHING)
    assert counts(proposal.plan) == replicas
    assert proposal.status is check_rim(proposal, pipeline, rate, replicas)
    assert bool(proposal.reason) == (proposal.status is Status.DEGRADED)
