"""InfAdapter: the published formulas, exactness against brute force, loading, quanta, peaks, degraded plans."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from ipa_seldon.algorithms import SetSettings, Settings
from ipa_seldon.algorithms.infadapter import InfAdapter, infadapter
from ipa_seldon.bootstrap import build_solver
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Allocation, Observation, Plan, Proposal, Status
from ipa_seldon.profiles import Capacity
from tests.factories import random_set

PUBLISHED = {
    "resnet18": (0.69758, 24.446, -6.17, 6.44),
    "resnet34": (0.73314, 13.044, -1.88, 6.79),
    "resnet50": (0.7613, 10.321, -3.79, 6.82),
    "resnet101": (0.77374, 5.090, 0.04, 7.77),
    "resnet152": (0.78312, 3.815, -2.25, 8.52),
}
"""Accuracy, k, c and load time."""


def unprofiled(cores: int, batch: int) -> float:
    raise AssertionError("a set is decided by capacities alone")


def variant(name: str, accuracy: float, points: Mapping[int, float], load_time: float = 0.0) -> Variant:
    capacity = Capacity(points, load_time)
    return Variant(
        name, accuracy, 1, (), unprofiled, unprofiled, load_time, capacity.usable, core_rate=capacity.core_rate
    )


def one_stage(*variants: Variant) -> Pipeline:
    return Pipeline("service", (Stage("model", variants),), (), slo=0.75)


RESNETS = one_stage(
    *(
        variant(name, accuracy, {1: k + c, 101: 101 * k + c}, load_time)
        for name, (accuracy, k, c, load_time) in PUBLISHED.items()
    )
)


def decide(
    pipeline: Pipeline, rate: float, running: Plan | None = None, solver: str = "auto", **sets: object
) -> Proposal:
    """With any shares, as published, where ``sets`` has no other quantum; ``pods``: at most so many."""
    pods, fields = sets.pop("pods", None), {"quantum": 0.0, **sets}
    algorithm = InfAdapter(pipeline, Settings(build_solver(solver), sets=SetSettings(**fields)), pods)  # type: ignore[arg-type]  # fields by name
    return algorithm.decide(rate, Observation(0.0, (), running or {}))


def pods(**cores: int) -> Plan:
    """A plan of those pods, in equal shares."""
    return {"model": tuple(Allocation(name, 1, n, 1, 1 / len(cores)) for name, n in cores.items())}


def cores_of(proposal: Proposal) -> dict[str, int]:
    return {a.variant: a.cores for a in next(iter(proposal.plan.values()))}


def every_set(
    pipeline: Pipeline, rate: float, running: Mapping[str, int], sets: SetSettings, pods: int | None
) -> float | None:
    """The best objective by brute force straight from the formulas, sharing no code with programs or solvers; None
    where no set carries the load.
    """
    (stage,) = pipeline.stages
    load, budget = rate * stage.rate, min(sets.budget, pipeline.cores or sets.budget)
    longest = max(v.load_time for v in stage.variants)
    ordered = sorted(stage.variants, key=lambda v: v.accuracy, reverse=True)
    sizes = [0, *range(sets.min_cores, budget + 1)]
    most = budget if sets.peak == "within-budget" and leaves_a_choice(ordered, running, sets.min_cores, budget) else 999
    best = None
    for cores in itertools.product(sizes, repeat=len(ordered)):
        if not 0 < sum(cores) <= budget or (pods and np.count_nonzero(cores) > pods):
            continue
        new = {v.name: n for v, n in zip(ordered, cores, strict=True) if n and running.get(v.name) != n}
        if sum(running.values()) + sum(new.values()) > most:
            continue
        left, accuracy = load, 0.0
        for v, n in zip(ordered, cores, strict=True):
            if n:
                assert v.capacity is not None
                takes = v.capacity(n)
                if sets.quantum:
                    takes = math.floor(takes / load / sets.quantum + 1e-9) * sets.quantum * load
                taken = min(left, takes)
                accuracy += v.accuracy * taken / load
                left -= taken
        if left <= 1e-9 * load:
            loading = max((stage.variant(name).load_time for name in new), default=0.0)
            worth = sets.alpha * accuracy - sets.beta * sum(cores) / sets.budget - sets.gamma * loading / longest
            best = worth if best is None else max(best, worth)
    return best


def leaves_a_choice(variants: list[Variant], running: Mapping[str, int], least: int, budget: int) -> bool:
    """Whether some pod that takes load can stay, or start beside what runs, on ``least`` to ``budget`` cores."""
    room = budget - sum(running.values())
    possible = [(v, n) for v in variants for n in range(least, budget + 1) if n <= room or running.get(v.name) == n]
    return bool(running) and room >= 0 and any(v.capacity and v.capacity(n) > 0 for v, n in possible)


@pytest.mark.parametrize("solver", ["auto", "highs", "gurobi", "exhaustive"])
@pytest.mark.parametrize("seed", range(30))
def test_the_plan_is_the_best_of_all(seed: int, solver: str) -> None:
    """As good as brute force within what ties are worth, whatever runs, with any quantum, number of pods and peak;
    degraded exactly where no set carries the load; the printed objective is the formula's.
    """
    if solver == "gurobi":
        pytest.importorskip("gurobipy")
    rng = np.random.default_rng(seed)
    pipeline = random_set(seed)
    sets = SetSettings(
        budget=8,
        min_cores=int(rng.integers(1, 3)),
        gamma=float(rng.choice([0.001, 0.03])),
        quantum=float(rng.choice([0, 0.01, 0.25])),
        peak="within-budget" if rng.random() < 0.5 else "ignored",
    )
    pods = 1 if rng.random() < 0.3 else None
    (stage,) = pipeline.stages
    running = {v.name: int(rng.integers(1, 5)) for v in stage.variants if rng.random() < 0.5}
    plan = {stage.name: tuple(Allocation(name, 1, n, 1, 1 / len(running)) for name, n in running.items())}
    for rate in (0.5, 5.0, 20.0, 40.0):
        proposal = decide(pipeline, rate, plan if running else {}, solver, pods=pods, **dataclasses.asdict(sets))
        best = every_set(pipeline, rate, running, sets, pods)
        assert (proposal.status is Status.DEGRADED) == (best is None)
        if best is not None:
            assert proposal.objective == pytest.approx(best, abs=1e-6)
        new = {name: n for name, n in cores_of(proposal).items() if running.get(name) != n}
        longest = max(v.load_time for v in stage.variants)
        loading = max((stage.variant(name).load_time for name in new), default=0.0)
        worth = proposal.accuracy - 0.05 * proposal.cost / 8 - sets.gamma * loading / longest
        assert proposal.objective == pytest.approx(worth, abs=1e-12)
        assert proposal.why["peak"] == sum(running.values()) + sum(new.values())
        assert pods is None or len(cores_of(proposal)) == 1


@given(seed=st.integers(0, 10_000), rate=st.floats(0, 150))
@examples(max_examples=100, deadline=None)
def test_shares_keep_to_the_capacities(seed: int, rate: float) -> None:
    """Shares are whole per cent, by default, and sum to 1; no pod of an optimal plan gets more than it takes, or is
    smaller than allowed; none is idle.
    """
    pipeline = random_set(seed)
    (stage,) = pipeline.stages
    proposal = decide(pipeline, rate, quantum=SetSettings().quantum)
    allocations = proposal.plan[stage.name]
    per_cent = [round(100 * a.share) for a in allocations]
    assert [whole / 100 for whole in per_cent] == [a.share for a in allocations]
    assert sum(per_cent) == 100
    assert proposal.cost == sum(a.cores for a in allocations) <= min(20, pipeline.cores or 20)
    for a in allocations:
        assert (a.replicas, a.batch) == (1, 1)
        assert a.cores >= 2
        assert a.share > 0
        capacity = stage.variant(a.variant).capacity
        assert capacity is not None
        if proposal.status is Status.OPTIMAL:
            assert a.share * rate * stage.rate <= capacity(a.cores) * (1 + 1e-9) + 1e-9


@given(seed=st.integers(0, 10_000), rate=st.floats(0, 60))
@examples(max_examples=50, deadline=None)
def test_more_budget_is_never_worse(seed: int, rate: float) -> None:
    """A higher budget never lowers the objective, and makes nothing infeasible."""
    pipeline = dataclasses.replace(random_set(seed), cores=None)
    proposals = [decide(pipeline, rate, budget=budget) for budget in (4, 8, 16, 32)]
    optimal = [p.objective for p in proposals if p.status is Status.OPTIMAL]
    assert optimal == [pytest.approx(value, abs=1e-6) for value in sorted(optimal)]
    assert [p.status is Status.OPTIMAL for p in proposals] == sorted(p.status is Status.OPTIMAL for p in proposals)


def test_a_set_beats_every_single_variant() -> None:
    """At 200 requests/s on 20 cores ResNet-18 alone carries the load with cores to spare, ResNet-34 alone with all of
    them; ResNet-50 beside ResNet-18 is worth more.
    """
    best = decide(RESNETS, 200.0)
    (stage,) = RESNETS.stages
    alone = [decide(one_stage(v), 200.0) for v in stage.variants]
    carried = {cores_of(p).popitem()[0]: p.objective for p in alone if p.status is Status.OPTIMAL}
    assert set(carried) == {"resnet18", "resnet34"}
    assert cores_of(best) == {"resnet50": 16, "resnet18": 4}
    assert best.objective > max(carried.values()) + 0.005


def test_accuracy_falls_as_the_load_rises() -> None:
    """As published: the more load on the same budget, the lighter the variants."""
    accuracies = [decide(RESNETS, rate).accuracy for rate in (10.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0)]
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] > 0.78
    assert accuracies[-1] < 0.71


def test_over_provisioned_variants_are_feasible() -> None:
    """A pod may take more than the load: the most accurate runs on its fewest cores, however little arrives."""
    proposal = decide(RESNETS, 1.0, min_cores=8)
    assert cores_of(proposal) == {"resnet152": 8}
    assert proposal.status is Status.OPTIMAL
    assert proposal.served > 20


def test_no_load_runs_the_fewest_cores() -> None:
    """One pod, of the most accurate variant that takes any load on so few."""
    proposal = decide(RESNETS, 0.0)
    assert cores_of(proposal) == {"resnet152": 2}
    assert proposal.why == {"binding": "none", "runner_up": proposal.why["runner_up"], "peak": 2}
    dead = one_stage(variant("light", 0.5, {2: 9.0, 3: 12.0}), variant("heavy", 0.9, {2: 0.0, 4: 0.0}))
    assert cores_of(decide(dead, 0.0)) == {"light": 2}


def test_an_infeasible_load_gets_the_most_capacity() -> None:
    """20 cores carry 386.2 requests/s at most, all on ResNet-18; the reason says so."""
    proposal = decide(RESNETS, 500.0)
    assert proposal.status is Status.DEGRADED
    assert cores_of(proposal) == {"resnet18": 20}
    assert proposal.served == pytest.approx(0.8 * (24.446 * 20 - 6.17))
    assert proposal.reason == "no plan on 20 cores carries 500 requests/s; this one serves 386.2"
    assert proposal.why == {"binding": "budget", "runner_up": None, "peak": 20}


def test_a_degraded_plan_shares_by_capacity() -> None:
    """Two variants that gain nothing from more cores: both run, and each gets its part."""
    both = one_stage(variant("a", 0.9, {2: 10.0}), variant("b", 0.5, {2: 30.0}))
    proposal = decide(both, 100.0, budget=4)
    assert proposal.plan == {"model": (Allocation("a", 1, 2, 1, 0.25), Allocation("b", 1, 2, 1, 0.75))}
    assert proposal.served == pytest.approx(32)


@pytest.mark.parametrize(
    ("quantum", "shares"),
    [(0.0, [20.5 / 30, 9.5 / 30]), (0.01, [0.68, 0.32]), (0.05, [0.65, 0.35]), (0.5, [0.5, 0.5])],
)
def test_shares_are_whole_quanta(quantum: float, shares: list[float]) -> None:
    """The accurate pod takes 20.5 of 30 requests/s, 68.3 %: by whole quanta less, and the other one the rest."""
    both = one_stage(variant("a", 0.9, {2: 20.5 / 0.8}), variant("b", 0.5, {2: 25.0}))
    proposal = decide(both, 30.0, budget=4, quantum=quantum)
    assert [a.share for a in proposal.plan["model"]] == pytest.approx(shares, abs=1e-15)
    assert proposal.status is Status.OPTIMAL


def test_a_pod_that_takes_all_of_the_load_gets_it() -> None:
    """Whatever the quantum, also at exactly its capacity."""
    alone = one_stage(variant("a", 0.9, {2: 30.0}))
    for quantum in (0.0, 0.01, 0.25, 1.0):
        proposal = decide(alone, 24.0, quantum=quantum)
        assert (proposal.status, proposal.plan["model"][0].share) == (Status.OPTIMAL, 1.0)


def test_a_load_that_whole_quanta_cannot_share_is_degraded() -> None:
    """Pods that take 20.5 and 20 requests/s: halves of 40 fit both; of 40.4 the second one takes 49.5 %, no half. The
    reason has what is served before a pod is overloaded.
    """
    both = one_stage(variant("a", 0.9, {2: 20.5 / 0.8}), variant("b", 0.5, {2: 25.0}))
    assert decide(both, 40.0, budget=4, quantum=0.5).status is Status.OPTIMAL
    assert decide(both, 40.4, budget=4, quantum=0.0).status is Status.OPTIMAL
    proposal = decide(both, 40.4, budget=4, quantum=0.5)
    assert [a.share for a in proposal.plan["model"]] == [0.5, 0.5]
    assert proposal.reason == "no plan on 4 cores carries 40.4 requests/s; this one serves 40"


def test_a_degraded_plan_shares_in_quanta() -> None:
    """Pods that take 8 and 16 requests/s get a third and two of any load, in whole per cent; of a single quantum the
    second one gets all, and the first does not run.
    """
    both = one_stage(variant("a", 0.9, {2: 10.0}), variant("b", 0.5, {2: 20.0}))
    assert [a.share for a in decide(both, 1e5, budget=4, quantum=0.01).plan["model"]] == [0.33, 0.67]
    assert decide(both, 1e5, budget=4, quantum=1.0).plan == {"model": (Allocation("b", 1, 2, 1),)}


def test_the_peak_is_what_both_sides_run() -> None:
    """Kept once, resized twice, created with what it gets, deleted with what it had; other pods that run count too."""
    running = pods(resnet50=16, resnet152=3)
    proposal = decide(RESNETS, 200.0, running)
    assert cores_of(proposal) == {"resnet50": 16, "resnet18": 4}
    assert proposal.why["peak"] == 16 + 3 + 4
    resized = decide(RESNETS, 60.0, pods(resnet50=10))
    assert cores_of(resized) == {"resnet50": 8}
    assert resized.why["peak"] == 18
    assert decide(RESNETS, 60.0, resized.plan).why["peak"] == 8
    foreign = {"model": (Allocation("resnet50", 2, 4, 1),)}
    assert decide(RESNETS, 60.0, foreign).why["peak"] == 16


def test_a_peak_within_the_budget_keeps_what_runs() -> None:
    """14 of 20 cores run, and 16 + 4 would be best: the 6 that are free, beside what stays, are used best."""
    running = pods(resnet50=12, resnet152=2)
    free = decide(RESNETS, 160.0, running)
    assert free.why["peak"] > 20
    within = decide(RESNETS, 160.0, running, peak="within-budget")
    assert within.status is Status.OPTIMAL
    assert within.why["peak"] <= 20
    assert within.why["binding"] == "peak"
    assert cores_of(within)["resnet50"] == 12
    assert within.objective < free.objective


def test_a_full_budget_leaves_only_what_runs() -> None:
    """Nothing can start beside 20 of 20 cores: pods stay or go. A load beyond them gets all; the reason says why."""
    running = pods(resnet50=16, resnet18=4)
    down = decide(RESNETS, 30.0, running, peak="within-budget")
    assert cores_of(down) == {"resnet50": 16}
    assert down.status is Status.OPTIMAL
    beyond = decide(RESNETS, 300.0, running, peak="within-budget")
    assert beyond.status is Status.DEGRADED
    assert cores_of(beyond) == {"resnet50": 16, "resnet18": 4}
    assert beyond.reason == (
        "no plan whose change runs at most 20 cores at once carries 300 requests/s; this one serves 202.4"
    )
    assert beyond.why == {"binding": "peak", "runner_up": None, "peak": 20}


@pytest.mark.parametrize("running", [{}, pods(resnet50=24), {"model": (Allocation("resnet50", 2, 10, 1),)}])
def test_a_peak_that_cannot_be_kept_is_ignored(running: Plan) -> None:
    """Nothing runs; more than the budget does; all of it goes to pods that this algorithm would not run."""
    proposal = decide(RESNETS, 200.0, running, peak="within-budget")
    assert cores_of(proposal) == {"resnet50": 16, "resnet18": 4}
    assert proposal.status is Status.OPTIMAL


def test_loading_keeps_what_runs_when_the_gain_is_small() -> None:
    """What runs is on two cores too many, worth 0.005: kept where loading the fitting size costs more."""
    running = pods(resnet50=10)
    kept = decide(RESNETS, 60.0, running, gamma=0.01)
    assert cores_of(kept) == {"resnet50": 10}
    assert kept.objective == pytest.approx(0.7613 - 0.05 * 10 / 20)
    resized = decide(RESNETS, 60.0, running, gamma=0.001)
    assert cores_of(resized) == {"resnet50": 8}
    assert resized.objective == pytest.approx(0.7613 - 0.05 * 8 / 20 - 0.001 * 6.82 / 8.52)


def test_loading_counts_the_longest_of_what_is_created_or_resized() -> None:
    """Not the sum, and not what stays or goes."""
    loaded = decide(RESNETS, 200.0, pods(resnet18=4, resnet152=3))
    assert cores_of(loaded) == {"resnet50": 16, "resnet18": 4}
    assert loaded.objective == pytest.approx(loaded.accuracy - 0.05 - 0.001 * 6.82 / 8.52)
    fresh = decide(RESNETS, 200.0)
    assert fresh.objective == pytest.approx(loaded.objective)
    stays = decide(RESNETS, 200.0, loaded.plan)
    assert stays.plan == loaded.plan
    assert stays.objective == pytest.approx(loaded.accuracy - 0.05)


def test_equals_are_settled() -> None:
    """Cores that cost nothing: the fewest. The same for twins: the accurate first, then the one listed first."""
    free = decide(RESNETS, 60.0, beta=0.0, alpha=0.0, gamma=0.0)
    assert cores_of(free) == {"resnet18": 4}
    twins = one_stage(variant("one", 0.7, {2: 10.0, 4: 20.0}), variant("two", 0.7, {2: 10.0, 4: 20.0}))
    assert cores_of(decide(twins, 8.0)) == {"one": 2}
    unlike = one_stage(variant("dull", 0.6, {2: 10.0, 4: 20.0}), variant("sharp", 0.7, {2: 10.0, 4: 20.0}))
    assert cores_of(decide(unlike, 8.0, alpha=0.0)) == {"sharp": 2}


def test_why_names_what_binds() -> None:
    """The budget where more cores would carry the load better, the load where less of it would be served better."""
    assert decide(RESNETS, 200.0).why["binding"] == "budget"
    assert decide(RESNETS, 60.0).why["binding"] == "load"
    assert decide(RESNETS, 0.0).why["binding"] == "none"


def test_the_runner_up_carries_the_load_for_less() -> None:
    """It is another plan, keeps every promise, and is worth no more."""
    algorithm = InfAdapter(RESNETS, Settings(build_solver("auto")))
    for rate in (5.0, 40.0, 90.0, 200.0, 300.0):
        proposal = algorithm.decide(rate, Observation(0.0, (), {}))
        pods_of = [Allocation(**fields) for fields in proposal.why["runner_up"]["model"]]
        other = algorithm.evaluate({"model": tuple(pods_of)}, rate)
        kept = algorithm.evaluate(proposal.plan, rate)
        assert other is not None
        assert kept is not None
        assert other.status is Status.OPTIMAL
        assert other.plan != proposal.plan
        assert other.objective <= kept.objective + 0.001  # neither is loaded where it is kept


def test_keeping_a_plan_has_a_worth() -> None:
    """Nothing is created; with its shares; degraded where a pod gets more than it takes, or the budget is exceeded."""
    algorithm = InfAdapter(RESNETS, Settings(build_solver("auto")))
    kept = algorithm.evaluate(pods(resnet50=8, resnet152=4), 20.0)
    assert kept is not None
    assert kept.status is Status.OPTIMAL
    assert kept.objective == pytest.approx((0.7613 + 0.78312) / 2 - 0.05 * 12 / 20)
    overloaded = algorithm.evaluate(pods(resnet50=8, resnet152=4), 30.0)
    assert overloaded is not None
    assert overloaded.reason == "variant resnet152 takes 10.41 of 15 requests/s"
    beyond = algorithm.evaluate(pods(resnet50=16, resnet152=8), 20.0)
    assert beyond is not None
    assert beyond.reason == "24 cores exceed the budget of 20"


@pytest.mark.parametrize(
    "plan",
    [
        {},
        {"other": (Allocation("resnet50", 1, 8, 1),)},
        {"model": (Allocation("vgg", 1, 8, 1),)},
        {"model": (Allocation("resnet50", 2, 8, 1),)},
        {"model": (Allocation("resnet50", 1, 8, 4),)},
        {"model": (Allocation("resnet50", 1, 8, 1, 0.5), Allocation("resnet50", 1, 4, 1, 0.5))},
    ],
)
def test_other_plans_have_none(plan: Plan) -> None:
    """What is no set of single pods of this stage's variants is not this algorithm's."""
    assert InfAdapter(RESNETS, Settings(build_solver("auto"))).evaluate(plan, 5.0) is None


def test_scaling_down_waits_for_decisions_that_agree() -> None:
    """By default four in a row: the plan for 200 requests/s stays for three decisions at 60."""
    algorithm = infadapter(RESNETS, Settings(build_solver("auto")))
    plan: Plan = {}
    costs = []
    for step, rate in enumerate([60.0, 200.0, 60.0, 60.0, 60.0, 60.0]):
        plan = algorithm.decide(rate, Observation(30.0 * step, (), plan)).plan
        costs.append(sum(a.cores for a in plan["model"]))
    assert costs == [8, 20, 20, 20, 20, 8]
