"""What every algorithm of the table promises."""

from __future__ import annotations

import numpy as np
import pytest

from ipa_seldon import plugins
from ipa_seldon.algorithms import ALGORITHMS, BY_CAPACITY, WITH_SETS, Algorithm, Baselines, Settings
from ipa_seldon.bootstrap import build_solver, first_plan
from ipa_seldon.controller import Controller
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Decision, Outcome, Status, within_limits
from tests.factories import OF_A_SERVICE, random_pipeline, random_service, random_set, with_gpus
from tests.fakes import LastForecaster, MemoryPlatform

SEEDS = range(5)


def pipeline_for(name: str, seed: int) -> Pipeline:
    if name in OF_A_SERVICE:
        return random_service(seed)
    if name in BY_CAPACITY:
        return random_set(seed)
    # Two GPUs for each stage: a replica of every variant fits, whichever one an algorithm keeps to.
    pipeline = random_pipeline(seed)
    return pipeline if name in WITH_SETS or seed % 2 else with_gpus(pipeline, seed, least=2)


def build(name: str, pipeline: Pipeline, rate: float | None) -> Algorithm:
    settings = Settings(build_solver("auto"), baselines=Baselines(rate))
    algorithm: Algorithm = plugins.load("algorithm", name, ALGORITHMS)(pipeline, settings)
    return algorithm


def run(name: str, pipeline: Pipeline, rates: list[float], sized: float | None = None) -> list[Decision]:
    """A loop in which every rate is forecast as it comes, over the plan for no load; ``sized``: of baselines."""
    algorithm = build(name, pipeline, sized)
    platform = MemoryPlatform(first_plan(algorithm), [])
    loop = Controller(platform, LastForecaster(), algorithm)
    decisions = []
    for step, rate in enumerate(rates):
        platform.arrivals = (rate,)
        decisions.append(loop.step(1.7e9 + 10 * step))
    return decisions


def varying(seed: int) -> list[float]:
    return [float(rate) for rate in np.random.default_rng(seed).gamma(1.0, 30.0, 20)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_proposals_stay_within_the_limits_and_keep_what_they_promise(name: str, seed: int) -> None:
    """One variant per stage, or a set that shares all of the load, replicas, cores and GPUs within the limits at any
    load; optimal means that the load is carried within the SLO, degraded has a reason.
    """
    pipeline = pipeline_for(name, seed)
    for decision in run(name, pipeline, varying(seed)):
        proposal = decision.proposal
        assert proposal is not None
        for stage in pipeline.stages:
            allocations = proposal.plan[stage.name]
            assert len(allocations) == 1 or name in WITH_SETS
            assert sum(allocation.share for allocation in allocations) == pytest.approx(1, abs=1e-12)
            assert len({allocation.variant for allocation in allocations}) == len(allocations)
            assert {allocation.variant for allocation in allocations} <= {variant.name for variant in stage.variants}
            assert all(allocation.replicas >= 1 for allocation in allocations)
            assert sum(allocation.replicas for allocation in allocations) <= stage.max_replicas
        assert within_limits(pipeline, proposal.plan)
        assert bool(proposal.reason) == (proposal.status is Status.DEGRADED)
        if proposal.status is Status.OPTIMAL:
            assert decision.rate is not None
            assert proposal.served >= decision.rate * (1 - 1e-9)
            assert proposal.latency <= pipeline.slo + 1e-9


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_same_observations_give_the_same_decisions(name: str) -> None:
    """No clock, no chance: two runs over the same loads differ in nothing."""
    for seed in SEEDS:
        pipeline = pipeline_for(name, seed)
        assert run(name, pipeline, varying(seed)) == run(name, pipeline, varying(seed))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_nothing_switches_under_a_constant_load(name: str) -> None:
    """Once a constant load has been answered (an autoscaler climbs in steps, one by usage from what it is sized for),
    nothing is ever applied again.
    """
    for seed in SEEDS:
        decisions = run(name, pipeline_for(name, seed), [25.0] * 40, sized=25.0 if name == "vpa" else None)
        plans = [decision.observation.plan for decision in decisions[10:]]
        assert all(plan == plans[0] for plan in plans)
        assert {decision.outcome for decision in decisions[10:]} <= {Outcome.UNCHANGED, Outcome.DEGRADED}
