"""One variant at a time: the Vertical Pod Autoscaler on cases worked out by hand, VPA+, model switching."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ipa_seldon.algorithms import Algorithm, Baselines, SetSettings, Settings
from ipa_seldon.algorithms.infadapter import InfAdapter
from ipa_seldon.algorithms.singles import model_switching, vpa, vpa_plus
from ipa_seldon.algorithms.sponge import Sponge, sponge
from ipa_seldon.bootstrap import build_solver
from ipa_seldon.plan import Allocation, Observation, Plan, Proposal, Status
from tests.algorithms.test_infadapter import RESNETS, cores_of, one_stage, pods, variant
from tests.algorithms.test_sponge import SERVICE
from tests.factories import random_set

START = 1_700_000_040  # a whole minute
HOUR = 3600
NOTHING = Observation(0.0, (), {})
TWO = one_stage(variant("heavy", 0.8, {1: 5.0, 10: 50.0}), variant("light", 0.6, {1: 10.0, 10: 100.0}))
"""A core of the light one serves 10 requests/s and takes 8, of the heavy one 5 and 4."""


def settings(baselines: dict[str, object] | None = None, **sets: float) -> Settings:
    return Settings(build_solver("auto"), baselines=Baselines(**baselines or {}), sets=SetSettings(**sets))  # type: ignore[arg-type]  # fields by name


def autoscaler(**sets: float) -> Algorithm:
    return vpa(TWO, settings(None, **sets))


def trace(algorithm: Algorithm, cores: int, load: float, minutes: int) -> dict[int, int]:
    """Minute after the start -> the cores decided on, where they change, when every plan is put in place at once.

    A decision a minute; each observation reaches back two, of ``load`` requests/s.
    """
    changes: dict[int, int] = {}
    for minute in range(minutes + 1):
        seen = min(60 * minute, 120)
        observation = Observation(START + 60.0 * minute, (load,) * seen, pods(light=cores))
        (pod,) = algorithm.decide(load, observation).plan["model"]
        assert (pod.variant, pod.replicas, pod.batch, pod.share) == ("light", 1, 1, 1.0)
        if pod.cores != cores:
            cores = changes[minute] = pod.cores
    return changes


def test_a_starved_pod_grows_step_by_step() -> None:
    """2 cores at 100 requests/s are busy, so 2 cores is all that is seen: the target is 1.15 * 2.0935, 3 whole cores.
    The lower bound exceeds 2 once 2.4075 / (1 + 0.001 / days)^2 does, after 14.8 minutes between samples: with the
    16th. As half of the samples must be of 3 cores for the median to be there, 3 are kept as long again.
    """
    changes = trace(autoscaler(), 2, 100.0, 60)
    assert list(changes.items())[:2] == [(16, 3), (32, 4)]


def test_a_pod_too_large_shrinks_when_the_upper_bound_reaches_it() -> None:
    """16 cores at 20 requests/s use 2: the upper bound, 2.4075 * (1 + 1 / days), is 15 whole cores after 0.1913 days
    between samples, 275.4 minutes: with the 277th.
    """
    assert trace(autoscaler(), 16, 20.0, 300) == {277: 3}


def test_a_pod_within_the_bounds_stays_for_half_a_day() -> None:
    """8 cores of which 2 are used: the upper bound would be 7 after 12.6 hours; the pod is resized when it is 12 hours
    old, as the target is more than a tenth off.
    """
    assert trace(autoscaler(), 8, 20.0, 721) == {720: 3}


def test_a_tenth_off_is_near_enough() -> None:
    """15.5 cores are used, so 19 are the target: 20 stay, also after half a day. 22 do not."""
    assert trace(autoscaler(budget=40), 20, 155.0, 721) == {}
    assert trace(autoscaler(budget=40), 22, 155.0, 721) == {720: 19}


def test_recommendations_are_capped() -> None:
    """Target and bounds lie within the limits: no pod on less than min_cores, none on more than the budget."""
    assert trace(autoscaler(min_cores=3), 3, 1.0, 725) == {}
    assert trace(autoscaler(budget=4), 4, 100.0, 60) == {}
    assert trace(autoscaler(budget=4), 6, 100.0, 3) == {0: 4}
    algorithm = autoscaler(budget=4)
    bindings = [
        algorithm.decide(100.0, Observation(START + 60.0 * n, (100.0,) * 60, pods(light=4))).why["binding"]
        for n in range(2)
    ]
    assert bindings == ["budget", "budget"]


def test_a_pod_that_does_not_run_starts_at_the_rate_or_the_recommendation() -> None:
    """The fewest cores that carry the rate it is sized for, else the first one; later, what usage recommends."""
    assert cores_of(vpa(TWO, settings({"rate": 50.0})).decide(0.0, NOTHING)) == {"light": 7}
    algorithm = autoscaler()
    assert cores_of(algorithm.decide(33.0, NOTHING)) == {"light": 5}
    assert cores_of(algorithm.decide(1e6, NOTHING)) == {"light": 20}
    algorithm.decide(20.0, Observation(START, (20.0,) * 60, pods(light=8)))
    assert cores_of(algorithm.decide(1e6, Observation(START + 60.0, (20.0,) * 120, pods(heavy=8)))) == {"light": 3}


def test_what_arrives_while_no_pod_runs_is_no_usage() -> None:
    """An hour at 100 requests/s of another variant recommends nothing: the pod starts as it would at first."""
    algorithm = autoscaler()
    for minute in range(60):
        algorithm.decide(100.0, Observation(START + 60.0 * minute, (100.0,) * 60, pods(heavy=8)))
    assert cores_of(algorithm.decide(33.0, Observation(START + 3600.0, (), {}))) == {"light": 5}


@pytest.mark.parametrize(
    ("variants", "name"),
    [("lightest", "light"), ("heaviest", "heavy"), ({"model": "heavy"}, "heavy"), ({}, "light")],
)
def test_the_variant_is_the_configured_one(variants: object, name: str) -> None:
    """Without a profile the lightest is the one that serves most with a core; the usage of a stage counts its rate."""
    for build in (vpa, vpa_plus):
        assert set(cores_of(build(TWO, settings({"variants": variants})).decide(10.0, NOTHING))) == {name}


def test_usage_counts_the_requests_of_the_stage() -> None:
    """Two requests of the stage for each of the pipeline: 10 pipeline requests/s use 2 cores of the light variant."""
    (stage,) = TWO.stages
    twice = dataclasses.replace(TWO, stages=(dataclasses.replace(stage, rate=2.0),))
    assert trace(vpa(twice, settings()), 16, 10.0, 300) == {277: 3}


def test_an_overloaded_pod_is_a_degraded_plan() -> None:
    """The plan is the autoscaler's, its worth InfAdapter's: 2 cores take 16 of 100 requests/s."""
    proposal = autoscaler().decide(100.0, Observation(START, (100.0,) * 10, pods(light=2)))
    assert (proposal.status, proposal.cost) == (Status.DEGRADED, 2)
    assert proposal.served == pytest.approx(16)
    assert proposal.reason == "variant light takes 16 of 100 requests/s"
    assert (proposal.solver, proposal.why) == ("vpa", {"binding": "none", "runner_up": None, "peak": 2})


@pytest.mark.parametrize("seed", range(200))
def test_vpa_plus_takes_the_fewest_cores_that_carry_the_load(seed: int) -> None:
    """Counted up one by one, whatever runs and a core costs; all that the budget has capacity for beyond it."""
    rng = np.random.default_rng(seed)
    pipeline = random_set(seed)
    (stage,) = pipeline.stages
    rate, running = float(rng.uniform(0, 60)), pods(**{v.name: int(rng.integers(1, 21)) for v in stage.variants})
    chosen = settings({"variants": "heaviest"}, beta=float(rng.choice([0.0, 0.05])))
    proposal = vpa_plus(pipeline, chosen).decide(rate, Observation(0.0, (), {stage.name: running["model"]}))
    (pod,) = proposal.plan[stage.name]
    capacity = stage.variant(pod.variant).capacity
    assert capacity is not None
    sizes = range(2, min(20, pipeline.cores or 20) + 1)
    enough = [n for n in sizes if capacity(n) >= rate * stage.rate * (1 - 1e-9) and capacity(n) > 0]
    assert (proposal.status is Status.OPTIMAL) == bool(enough)
    assert pod.cores == (enough[0] if enough else max(sizes, key=capacity))


def test_vpa_plus_goes_up_at_once_and_down_when_decisions_agree() -> None:
    """8 requests/s a core: 40 need 5, 64 need 8; down only with the fourth decision for less."""
    algorithm = vpa_plus(TWO, settings())
    plan: Plan = {}
    cores = []
    for step, rate in enumerate([40.0, 64.0, 40.0, 40.0, 30.0, 40.0, 40.0]):
        plan = algorithm.decide(rate, Observation(30.0 * step, (), plan)).plan
        cores.append(plan["model"][0].cores)
    assert cores == [5, 8, 8, 8, 8, 5, 5]


def test_model_switching_runs_one_variant_for_every_load() -> None:
    """The published variants on 20 cores: the more load the lighter the one that runs; beyond 386.2 requests/s, all
    that the lightest takes, and the second could not run beside it.
    """

    def at(rate: float) -> Proposal:
        return model_switching(RESNETS, settings()).decide(rate, NOTHING)

    chosen = [cores_of(at(rate)) for rate in (20.0, 60.0, 100.0, 200.0, 300.0)]
    assert chosen == [{"resnet152": 8}, {"resnet50": 8}, {"resnet50": 13}, {"resnet34": 20}, {"resnet18": 16}]
    assert at(300.0).why["binding"] == "pods"
    beyond = at(500.0)
    assert (beyond.status, cores_of(beyond)) == (Status.DEGRADED, {"resnet18": 20})
    assert beyond.reason == "no plan on 20 cores carries 500 requests/s; this one serves 386.2"


def test_an_overload_gets_the_most_capacity_of_one_pod() -> None:
    """Two pods would take more than either."""
    both = one_stage(variant("a", 0.9, {2: 10.0}), variant("b", 0.5, {2: 30.0}))
    proposal = model_switching(both, settings(budget=4)).decide(100.0, NOTHING)
    assert proposal.plan == {"model": (Allocation("b", 1, 2, 1),)}
    assert proposal.reason == "no plan on 4 cores carries 100 requests/s; this one serves 24"


@pytest.mark.parametrize("seed", range(40))
def test_model_switching_is_the_best_single(seed: int) -> None:
    """By InfAdapter's own objective: no pod of any variant that carries the load is worth more, what runs counted."""
    rng = np.random.default_rng(seed)
    pipeline = random_set(seed)
    (stage,) = pipeline.stages
    algorithm = InfAdapter(pipeline, settings())
    runs = rng.choice([v.name for v in stage.variants])
    plan = {stage.name: (Allocation(str(runs), 1, int(rng.integers(2, 10)), 1),)}
    rate = float(rng.uniform(0, 30))
    proposal = model_switching(pipeline, settings()).decide(rate, Observation(0.0, (), plan))
    longest = max(v.load_time for v in stage.variants)
    worths = []
    for v in stage.variants:
        for cores in range(2, min(20, pipeline.cores or 20) + 1):
            pod = Allocation(v.name, 1, cores, 1)
            worth = algorithm.evaluate({stage.name: (pod,)}, rate)
            if worth is not None and worth.status is Status.OPTIMAL and worth.served > 0:
                worths.append(worth.objective - (0.0 if (pod,) == plan[stage.name] else 0.001 * v.load_time / longest))
    assert len(proposal.plan[stage.name]) == 1
    assert (proposal.status is Status.OPTIMAL) == bool(worths)
    if worths:
        assert proposal.objective == pytest.approx(max(worths), abs=1e-6)


def test_a_switch_waits_for_decisions_that_agree() -> None:
    """To a lighter variant at once, back with the fourth decision that agrees; by what is still loading not sooner."""
    algorithm = model_switching(RESNETS, settings())
    plan: Plan = {}
    ran = []
    for step, rate in enumerate([60.0, 300.0, 60.0, 60.0, 60.0, 60.0]):
        plan = algorithm.decide(rate, Observation(30.0 * step, (), plan)).plan
        ran += cores_of_plan(plan)
    assert ran == ["resnet50", *["resnet18"] * 4, "resnet50"]


def cores_of_plan(plan: Plan) -> list[str]:
    return [allocation.variant for allocation in plan["model"]]


def test_a_pod_of_which_only_a_profile_is_known_serves_batches() -> None:
    """The first pod is Sponge's for the rate with a fifth in hand, and is kept as it is. It uses all its cores for the
    time of full batches: 2 cores that are always busy become 3, with Sponge's batch for them, as those of a capacity
    do, with the 16th minute.
    """
    algorithm = vpa(SERVICE, settings({"rate": 10.0}))
    first = algorithm.decide(3.0, NOTHING)
    assert first.plan == sponge(SERVICE, settings()).decide(12.5, NOTHING).plan
    kept = algorithm.decide(3.0, Observation(START, (3.0,), first.plan))
    assert (kept.plan, kept.solver, kept.status) == (first.plan, "vpa", Status.OPTIMAL)
    plan: Plan = {"yolo": (Allocation("yolov5s", 1, 2, 4),)}
    busy, calm = vpa(SERVICE, settings()), vpa(SERVICE, settings())
    for minute in range(17):
        found = busy.decide(100.0, Observation(START + 60.0 * minute, (100.0,) * min(60 * minute, 120), plan))
        assert (found.plan == plan) == (minute < 16)
    assert found.plan == Sponge(SERVICE, settings(), cores=(3,)).decide(100.0, NOTHING).plan
    # 4 of the 10.5 requests/s that 2 cores serve in batches of 4 take 0.77 cores, whatever else runs.
    for minute in range(2):
        calm.decide(4.0, Observation(START + 60.0 * minute, (4.0,) * 60, plan))
    assert cores_of(calm.decide(4.0, Observation(START + 120.0, (4.0,) * 60, {}))) == {"yolov5s": 1}
    other: Plan = {"yolo": (Allocation("yolov5s", 2, 2, 4),)}
    assert vpa(SERVICE, settings()).decide(10.0, Observation(START, (), other)).plan == first.plan
