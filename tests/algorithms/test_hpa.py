"""The autoscaler: traces that were computed by hand from the rules of autoscaling/v2."""

from __future__ import annotations

import dataclasses

import pytest

from ipa_seldon.algorithms import Algorithm, Baselines, Settings
from ipa_seldon.algorithms.hpa import hpa
from ipa_seldon.bootstrap import build_solver
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Allocation, Observation, Plan, Status, allocated_cores
from ipa_seldon.profiles import Measurement, Profile

PROFILE = Profile({(1, 1): Measurement(0.1, 10.0)})
HEAVY = Profile({(2, 1): Measurement(0.2, 5.0)})
LIGHT_VARIANT = Variant("light", 0.5, 1, PROFILE.cores, PROFILE.latency, PROFILE.throughput)
HEAVY_VARIANT = Variant("heavy", 0.9, 2, HEAVY.cores, HEAVY.latency, HEAVY.throughput)
STAGE = Stage("a", (LIGHT_VARIANT, HEAVY_VARIANT), max_replicas=100)
ONE = Pipeline("one", (STAGE,), (), slo=10.0, max_batch=1)
TWO = Pipeline("two", (STAGE, dataclasses.replace(STAGE, name="b", rate=2.0)), (("a", "b"),), slo=10.0, max_batch=1)


def autoscaler(pipeline: Pipeline = ONE, **fields: object) -> Algorithm:
    return hpa(pipeline, Settings(build_solver("auto"), baselines=Baselines(**{"rate": 20.0, **fields})))  # type: ignore[arg-type]  # test shorthand


def light(**replicas: int) -> Plan:
    return {stage: (Allocation("light", count, 1, 1),) for stage, count in replicas.items()}


def trace(algorithm: Algorithm, replicas: int, rates: dict[float, float]) -> dict[float, int]:
    """Replicas of the only stage after each time, when every plan is put in place at once."""
    after = {}
    for time, rate in rates.items():
        plan = algorithm.decide(rate, Observation(time, (), light(a=replicas))).plan
        replicas = after[time] = plan["a"][0].replicas
    return after


def test_usage_within_the_tolerance_changes_nothing() -> None:
    """2 replicas of 10 requests/s at a target of 0.8 are on it at 16: up to 17.6 and down to 14.4 nothing happens."""
    assert trace(autoscaler(), 2, {0: 16.0, 10: 17.5, 20: 14.5, 30: 17.7}) == {0: 2, 10: 2, 20: 2, 30: 3}


def test_scaling_up_is_limited_to_doubling_or_four_pods_in_15_s() -> None:
    """160 requests/s need 20 replicas. From 2: 6 (4 more), 12 (twice), 20; what was added less than 15 s ago counts."""
    every_10 = dict.fromkeys((0.0, 10.0, 20.0, 30.0, 40.0, 50.0), 160.0)
    assert list(trace(autoscaler(), 2, every_10).values()) == [6, 6, 12, 12, 20, 20]
    every_15 = dict.fromkeys((0.0, 15.0, 30.0, 45.0), 160.0)
    assert list(trace(autoscaler(), 2, every_15).values()) == [6, 12, 20, 20]


def test_replicas_that_were_added_by_hand_stay() -> None:
    """A limit on scaling up takes nothing away: 2 replicas became 12 within 10 s, where the policies allow 6."""
    algorithm = autoscaler()
    assert trace(algorithm, 2, {0.0: 16.0}) == {0.0: 2}
    assert trace(algorithm, 12, {10.0: 160.0}) == {10.0: 12}


def test_scaling_down_waits_for_the_highest_recommendation_of_300_s() -> None:
    """20 replicas at 40 requests/s need 5; a peak of 56 at 100 s needs 7. The 20 recommended at 0 s hold until 300 s,
    the 7 until 400 s.
    """
    rates = {float(t): 160.0 if t == 0 else 56.0 if t == 100 else 40.0 for t in range(0, 420, 10)}
    after = trace(autoscaler(), 20, rates)
    assert [t for t in after if after[t] == 20] == list(range(0, 300, 10))
    assert [t for t in after if after[t] == 7] == list(range(300, 400, 10))
    assert after[400] == after[410] == 5


def test_what_runs_at_first_counts_as_recommended() -> None:
    """An autoscaler that has only just started takes nothing away for 300 s."""
    after = trace(autoscaler(), 10, dict.fromkeys(map(float, range(0, 320, 10)), 8.0))
    assert [t for t in after if after[t] == 1] == [300, 310]


def test_the_load_a_limited_step_cannot_carry_is_degraded() -> None:
    """The plan is the autoscaler's, its worth is IPA's: 6 replicas carry 60 of 160 requests/s."""
    proposal = autoscaler().decide(160.0, Observation(0.0, (), light(a=2)))
    assert proposal.status is Status.DEGRADED
    assert (proposal.served, proposal.cost) == (60.0, 6)
    assert proposal.reason == "stage a carries 60 of 160 requests/s"


@pytest.mark.parametrize("running", [{}, {"a": (Allocation("heavy", 9, 2, 1),)}])
def test_a_stage_that_does_not_run_yet_starts_at_the_target(running: Plan) -> None:
    """Where nothing, or another variant, runs, the first replicas are those that meet the target; none of it is a
    recommendation.
    """
    algorithm = autoscaler()
    assert algorithm.decide(160.0, Observation(0.0, (), running)).plan == light(a=20)
    assert trace(algorithm, 2, {10: 17.0, 20: 5.0}) == {10: 2, 20: 2}


def test_stages_scale_each_on_its_own() -> None:
    """Stage b receives two requests per pipeline request, and only b is beyond its target."""
    proposal = autoscaler(TWO).decide(16.0, Observation(0.0, (), light(a=2, b=2)))
    assert proposal.plan == light(a=2, b=4)
    assert proposal.why["binding"] == "none"


def test_variants_and_target_are_the_configured_ones() -> None:
    """The named variant, else the lightest; half the throughput of a heavy replica is 2.5 requests/s."""
    plan = autoscaler(TWO, variants={"b": "heavy"}, utilization=0.5).decide(10.0, Observation(0.0, (), {})).plan
    assert plan == {"a": (Allocation("light", 2, 1, 1),), "b": (Allocation("heavy", 8, 2, 1),)}
    heavy = autoscaler(variants="heaviest").decide(10.0, Observation(0.0, (), {})).plan
    assert heavy == {"a": (Allocation("heavy", 3, 2, 1),)}


def test_a_budget_admits_what_runs_before_what_is_new() -> None:
    """8 cores: the 5 replicas of b that run stay, and a, which wants 4, gets the rest; then nothing new fits."""
    budget = dataclasses.replace(TWO, cores=8)
    proposal = autoscaler(budget).decide(32.0, Observation(0.0, (), light(a=2, b=5)))
    assert proposal.plan == light(a=3, b=5)
    assert proposal.why["binding"] == "cores"
    assert allocated_cores(proposal.plan) == 8
    assert proposal.status is Status.DEGRADED


def test_the_limit_of_replicas_holds() -> None:
    """More than the stage's replicas are never wanted, and the explanation says what bound."""
    few = dataclasses.replace(ONE, stages=(dataclasses.replace(STAGE, max_replicas=3),))
    proposal = autoscaler(few).decide(160.0, Observation(0.0, (), light(a=2)))
    assert proposal.plan == light(a=3)
    assert proposal.why["binding"] == "replicas"
