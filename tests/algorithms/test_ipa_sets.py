"""IPA with sets of variants: exact against brute force from the formulas, limits kept, degraded plans, explained."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_seldon.algorithms import Settings
from ipa_seldon.algorithms.damping import CoolDown, MinimumGain
from ipa_seldon.algorithms.goals import AccuracyAtLeast, CostAtMost
from ipa_seldon.algorithms.ipa import Ipa
from ipa_seldon.algorithms.ipa_sets import ipa_sets
from ipa_seldon.bootstrap import build_solver
from ipa_seldon.experiments.decision_times import random_variant
from ipa_seldon.options import Weights, base_allocations
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Allocation, Observation, Plan, Proposal, Status, allocated_cores, plan_from_json
from ipa_seldon.programs import AccuracyMeasure, Floats
from ipa_seldon.queueing import Queueing
from tests.algorithms.test_ipa import calibrated_delay, make_variant
from tests.factories import random_pipeline

NOTHING = Observation(time=0.0, arrivals=(), plan={})
WEIGHTS = Weights(alpha=300.0, beta=0.5, delta=1e-6)
SOLVERS = ("auto", "highs", "gurobi")
SPARES = {Queueing.PUBLISHED: 1, Queueing.CALIBRATED: 4}

seeds = st.integers(0, 2**31)
rates = st.sampled_from([0.0, 20.0, 60.0, 120.0, 200.0, 400.0])
measures = st.sampled_from([AccuracyMeasure.PRODUCT, AccuracyMeasure.SUM, AccuracyMeasure.AVERAGE])


def sets(pipeline: Pipeline, solver: str = "auto", **fields: Any) -> Ipa:
    chosen = {"queueing": Queueing.PUBLISHED, "weights": WEIGHTS, **fields}
    return ipa_sets(pipeline, dataclasses.replace(Settings(build_solver(solver)), **chosen))


def rich_pipeline(seed: int, stages: int, variants: int, rate: float) -> Pipeline:
    """A random chain or DAG of which every stage has so many variants. Mostly its SLO, its budget or both lie between
    what the cheapest plans take at ``rate`` and what the best one would, so that it pays to share.
    """
    rng = np.random.default_rng(seed)
    pipeline = random_pipeline(seed, stages)
    made = tuple(
        dataclasses.replace(
            stage,
            variants=tuple(
                dataclasses.replace(random_variant(rng, m, max_cores=2), load_time=float(rng.uniform(0, 5)))
                for m in range(variants)
            ),
        )
        for stage in pipeline.stages
    )
    pipeline = dataclasses.replace(pipeline, stages=made, slo=100.0, max_batch=2, cores=None)
    free, thrifty = (
        Ipa(pipeline, Settings(build_solver("auto"), weights=weights, queueing=Queueing.PUBLISHED)).decide(
            rate, NOTHING
        )
        for weights in (WEIGHTS, Weights(1e-6, 1.0, 1e-9))
    )
    shortest = sum(min(v.latency(v.cores[-1], 1) for v in stage.variants) for stage in pipeline.stages)
    cores = int(rng.integers(int(thrifty.cost), int(free.cost) + 1)) if rng.random() < 0.8 else None
    slo = shortest + float(rng.uniform(0.1, 1.1)) * max(free.latency - shortest, 0.1)
    return dataclasses.replace(pipeline, cores=cores, slo=slo if rng.random() < 0.7 else 100.0)


@dataclass(frozen=True)
class Case:
    """What brute force is told: everything that a plan is priced by. ``units`` is 1 / quantum."""

    pipeline: Pipeline
    rate: float
    units: int
    queueing: Queueing = Queueing.PUBLISHED
    variable: bool = False
    running: Plan = dataclasses.field(default_factory=dict)


Option = tuple[Variant, int, int, int, int]
"""Variant, replicas, cores, batch and units of the load."""


def spreads_over(units: int, variants: int) -> Iterator[tuple[int, ...]]:
    """Every way to give ``units`` to so many variants."""
    return (taken for taken in itertools.product(range(units + 1), repeat=variants) if sum(taken) == units)


def delay_of(case: Case, stage: Stage, option: Option) -> float:
    """Seconds in the stage, by the formulas of the queue at the load that the option carries."""
    variant, replicas, cores, batch, taken = option
    load = case.rate * stage.rate * taken / case.units
    if case.queueing is Queueing.PUBLISHED:
        return variant.latency(cores, batch) + ((batch - 1) / load if load else 0.0)
    return calibrated_delay(case.pipeline, (variant, cores, batch, replicas), load)


def every_set(case: Case, stage: Stage) -> list[tuple[Option, ...]]:
    """Every spread of the load over the variants, with every option of each, within the limit of replicas."""
    base = base_allocations(stage, [1, 2])
    found = []
    for spread in spreads_over(case.units, len(stage.variants)):
        choices: list[list[Option]] = []
        for variant, taken in zip(stage.variants, spread, strict=True):
            if taken == 0:
                continue
            load = case.rate * stage.rate * taken / case.units
            every_cores = variant.cores if case.variable else (base[variant.name],)
            rows = itertools.product(every_cores, (1, 2), range(SPARES[case.queueing]))
            choices.append(
                [
                    (variant, max(1, math.ceil(load / variant.throughput(c, b) - 1e-9)) + spare, c, b, taken)
                    for c, b, spare in rows
                ]
            )
        found += [s for s in itertools.product(*choices) if sum(o[1] for o in s) <= stage.max_replicas]
    return found


def options_of(case: Case, stage: Stage, plan: Plan) -> tuple[Option, ...]:
    """What a stage runs, as brute force lists it."""
    return tuple(
        (stage.variant(a.variant), a.replicas, a.cores, a.batch, round(a.share * case.units)) for a in plan[stage.name]
    )


def start_up(case: Case, stage: Stage, options: tuple[Option, ...]) -> float:
    """Core-seconds that a set starts beside what runs; none where nothing does."""
    running = {a.variant: a for a in case.running.get(stage.name, ())}
    total = 0.0
    for variant, replicas, cores, _, _ in options if running else ():
        now = running.get(variant.name)
        kept = min(replicas, now.replicas) if now and now.cores == cores else 0
        total += (replicas - kept) * cores * variant.load_time
    return total


@dataclass(frozen=True)
class Everything:
    """Every plan within the SLO and the limits: arrays of shape (n,)."""

    accuracy: Floats
    cost: Floats
    batches: Floats
    started: Floats

    @property
    def objective(self) -> Floats:
        """By WEIGHTS, without what switches cost."""
        worth: Floats = WEIGHTS.alpha * self.accuracy - WEIGHTS.beta * self.cost - WEIGHTS.delta * self.batches
        return worth


def everything(case: Case, measure: AccuracyMeasure) -> Everything:
    """All combinations of all sets, straight from the formulas: no code of options, candidates or solvers."""
    stages, count = case.pipeline.stages, len(case.pipeline.stages)

    def along(t: int, values: list[float]) -> Floats:
        return np.array(values, dtype=float).reshape([-1 if s == t else 1 for s in range(count)])

    every = [every_set(case, stage) for stage in stages]
    pairs = list(enumerate(zip(stages, every, strict=True)))
    accuracies = [along(t, [sum(o[4] / case.units * o[0].accuracy for o in s) for s in made]) for t, (_, made) in pairs]
    cost = sum(along(t, [sum(o[1] * o[2] for o in s) for s in made]) for t, (_, made) in pairs)
    batches = sum(along(t, [sum(o[3] for o in s) for s in made]) for t, (_, made) in pairs)
    started = sum(along(t, [start_up(case, stage, s) for s in made]) for t, (stage, made) in pairs)
    delays = {
        stage.name: along(t, [max(delay_of(case, stage, o) for o in s) for s in made]) for t, (stage, made) in pairs
    }
    accuracy = reduce(np.multiply if measure is AccuracyMeasure.PRODUCT else np.add, accuracies)
    mean = accuracy / (count if measure is AccuracyMeasure.AVERAGE else 1)
    kept = np.ones([len(made) for made in every], dtype=bool)
    for path in case.pipeline.paths:
        kept &= sum(delays[name] for name in path) <= case.pipeline.slo + 1e-9
    if case.pipeline.cores is not None:
        kept &= cost <= case.pipeline.cores
    return Everything(*(np.broadcast_to(values, kept.shape)[kept] for values in (mean, cost, batches, started)))


def assert_keeps_its_promises(case: Case, proposal: Proposal, measure: AccuracyMeasure) -> None:
    """A plan's figures are those of the formulas; shares are whole quanta of all of the load; limits and SLO hold."""
    delays, accuracies = {}, []
    for stage in case.pipeline.stages:
        allocations = proposal.plan[stage.name]
        taken = [round(a.share * case.units) for a in allocations]
        assert [a.share for a in allocations] == [count / case.units for count in taken]
        assert (sum(taken), min(taken) > 0) == (case.units, True)
        assert len({a.variant for a in allocations}) == len(allocations)
        assert sum(a.replicas for a in allocations) <= stage.max_replicas
        options = options_of(case, stage, proposal.plan)
        for variant, replicas, cores, batch, count in options:
            load = case.rate * stage.rate * count / case.units
            assert replicas * variant.throughput(cores, batch) >= load * (1 - 1e-9)
        delays[stage.name] = max(delay_of(case, stage, option) for option in options)
        accuracies.append(sum(o[0].accuracy * o[4] / case.units for o in options))
    slowest = max(sum(delays[name] for name in path) for path in case.pipeline.paths)
    accuracy = math.prod(accuracies) if measure is AccuracyMeasure.PRODUCT else sum(accuracies)
    accuracy /= len(accuracies) if measure is AccuracyMeasure.AVERAGE else 1
    assert proposal.accuracy == pytest.approx(accuracy, abs=1e-12)
    assert proposal.latency == pytest.approx(slowest, abs=1e-12)
    assert slowest <= case.pipeline.slo + 1e-9
    assert proposal.cost == allocated_cores(proposal.plan) <= (case.pipeline.cores or math.inf)
    batches = sum(a.batch for allocations in proposal.plan.values() for a in allocations)
    worth = WEIGHTS.alpha * accuracy - WEIGHTS.beta * proposal.cost - WEIGHTS.delta * batches
    assert proposal.objective == pytest.approx(worth, abs=1e-9)


SHAPES = ((1, 4, 5), (1, 3, 6), (2, 4, 3), (2, 3, 4), (2, 2, 6), (3, 2, 4), (3, 3, 2))
"""Stages, variants and units that brute force can go through."""


@settings(max_examples=210, deadline=None, derandomize=True)
@given(seed=seeds, rate=rates, measure=measures, shape=st.sampled_from(SHAPES), variable=st.booleans())
def test_every_solver_finds_the_best_of_all_sets(
    seed: int, rate: float, measure: AccuracyMeasure, shape: tuple[int, int, int], variable: bool
) -> None:
    """Auto = HiGHS = Gurobi = brute force over all spreads and options, on chains and DAGs, with and without a budget;
    degraded exactly where no set of plans carries the load; every plan keeps what it promises.
    """
    stages, variants, units = shape
    pipeline = rich_pipeline(seed, stages, variants, rate)
    case = Case(pipeline, rate, units, variable=variable and stages < 3)
    every = everything(case, measure)
    fields = {"measure": measure, "quantum": 1 / units, "variable_cores": case.variable}
    for solver in SOLVERS:
        proposal = sets(pipeline, solver, **fields).decide(rate, NOTHING)
        assert (proposal.status is Status.DEGRADED) == (not len(every.cost))
        if len(every.cost):
            assert proposal.objective == pytest.approx(float(every.objective.max()), abs=1e-7)
            assert_keeps_its_promises(case, proposal, measure)


def test_the_cases_cover_what_they_are_about() -> None:
    """The agreement above is about something: sets, DAGs, budgets and SLOs that bind, and loads too high all occur."""
    counts = dict.fromkeys(("set", "dag", "cores", "slo", "degraded"), 0)
    for seed in range(120):
        stages, variants, units = SHAPES[seed % len(SHAPES)]
        rate = (60.0, 120.0, 200.0, 400.0)[seed % 4]
        pipeline = rich_pipeline(seed, stages, variants, rate)
        proposal = sets(pipeline, quantum=1 / units).decide(rate, NOTHING)
        counts["degraded"] += proposal.status is Status.DEGRADED
        if proposal.status is Status.OPTIMAL:
            counts["set"] += any(len(allocations) > 1 for allocations in proposal.plan.values())
            counts["dag"] += len(pipeline.paths) > 1
            counts[proposal.why["binding"]] = counts.get(proposal.why["binding"], 0) + 1
    assert all(counts[kind] >= 10 for kind in ("set", "dag", "cores", "slo", "degraded")), counts


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds, rate=rates, measure=measures, switching=st.sampled_from([0.0, 0.3]))
def test_tails_of_queues_and_switches_are_priced_exactly(
    seed: int, rate: float, measure: AccuracyMeasure, switching: float
) -> None:
    """With spare replicas, each variant's wait at its own share, and start-ups beside the set that runs."""
    stages, variants, units = ((1, 3, 4), (2, 2, 3))[seed % 2]
    pipeline = rich_pipeline(seed, stages, variants, rate)
    fields = {
        "measure": measure,
        "quantum": 1 / units,
        "queueing": Queueing.CALIBRATED,
        "weights": dataclasses.replace(WEIGHTS, switching=switching),
    }
    running = sets(pipeline, "auto", **fields).decide(rate / 2, NOTHING).plan
    case = Case(pipeline, rate, units, Queueing.CALIBRATED, running=running)
    every = everything(case, measure)
    for solver in ("auto", "highs"):
        proposal = sets(pipeline, solver, **fields).decide(rate, Observation(0.0, (), running))
        assert (proposal.status is Status.DEGRADED) == (not len(every.cost))
        if len(every.cost):
            started = sum(start_up(case, stage, options_of(case, stage, proposal.plan)) for stage in pipeline.stages)
            best = float((every.objective - switching * every.started).max())
            assert proposal.objective - switching * started == pytest.approx(best, abs=1e-7)
            assert_keeps_its_promises(case, proposal, measure)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds, rate=st.sampled_from([5.0, 20.0, 60.0]), measure=measures)
def test_limits_in_place_of_weights_are_met_exactly(seed: int, rate: float, measure: AccuracyMeasure) -> None:
    """The most accurate plan on so many cores, the cheapest one of so much accuracy, and the frontier between them."""
    stages, variants, units = SHAPES[seed % len(SHAPES)]
    pipeline = rich_pipeline(seed, stages, variants, rate)
    every = everything(Case(pipeline, rate, units), measure)
    fields: dict[str, Any] = {"measure": measure, "quantum": 1 / units}
    frontier = [point.proposal for point in sets(pipeline, **fields).frontier(rate)]
    wanted: list[tuple[float, float]] = []
    for k in np.lexsort((-every.accuracy, every.cost)):
        if not wanted or every.accuracy[k] > wanted[-1][0] + 1e-6:
            wanted.append((float(every.accuracy[k]), float(every.cost[k])))
    assert [proposal.cost for proposal in frontier] == [cost for _, cost in wanted]
    assert [proposal.accuracy for proposal in frontier] == pytest.approx([a for a, _ in wanted], abs=1e-6)
    if not wanted:
        return
    accuracy, cost = wanted[len(wanted) // 2]
    for constraint in (CostAtMost(int(cost)), AccuracyAtLeast(accuracy - 1e-6)):
        proposal = sets(pipeline, constraint=constraint, **fields).decide(rate, NOTHING)
        assert proposal.cost == cost
        assert proposal.accuracy == pytest.approx(accuracy, abs=1e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds, rate=rates, measure=st.sampled_from(list(AccuracyMeasure)), queueing=st.sampled_from(Queueing))
def test_a_quantum_of_the_whole_load_is_ipa(
    seed: int, rate: float, measure: AccuracyMeasure, queueing: Queueing
) -> None:
    """Plan, worth and explanation are those of `ipa`, degraded plans included."""
    pipeline = random_pipeline(seed)
    chosen = Settings(build_solver("auto"), measure, WEIGHTS, queueing=queueing, quantum=1.0)
    assert ipa_sets(pipeline, chosen).decide(rate, NOTHING) == Ipa(pipeline, chosen).decide(rate, NOTHING)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds, rate=rates, measure=measures, variable=st.booleans())
def test_sets_are_never_worse_than_one_variant(
    seed: int, rate: float, measure: AccuracyMeasure, variable: bool
) -> None:
    """At the default quantum a set keeps its promises, carries what `ipa` carries, and is worth at least as much."""
    pipeline = rich_pipeline(seed, 1 + seed % 3, 3, rate)
    chosen = Settings(build_solver("auto"), measure, WEIGHTS, variable_cores=variable)
    one, many = (make(pipeline, chosen).decide(rate, NOTHING) for make in (Ipa, ipa_sets))
    if many.status is Status.OPTIMAL:
        assert_keeps_its_promises(Case(pipeline, rate, 20, Queueing.CALIBRATED), many, measure)
    if one.status is Status.OPTIMAL:
        assert many.status is Status.OPTIMAL
        assert many.objective >= one.objective - 1e-9
    elif many.status is Status.DEGRADED:
        assert min(many.served, rate) >= min(one.served, rate) * (1 - 1e-6)


def most_served(case: Case) -> tuple[float, int]:
    """The most load (requests/s, at most the rate) that any spread and replicas serve within SLO and limits, waits
    reckoned at the rate, and the fewest cores that serve as much. Of a pipeline of one stage.
    """
    (stage,) = case.pipeline.stages
    base = base_allocations(stage, [1, 2])
    most, cheapest = 0.0, 0
    for spread in spreads_over(case.units, len(stage.variants)):
        active = [(v, taken) for v, taken in zip(stage.variants, spread, strict=True) if taken]
        for options in itertools.product(
            itertools.product((1, 2), range(1, stage.max_replicas + 1)), repeat=len(active)
        ):
            made = [(v, n, base[v.name], b, taken) for (v, taken), (b, n) in zip(active, options, strict=True)]
            cost = sum(n * cores for _, n, cores, _, _ in made)
            slow = max(delay_of(case, stage, option) for option in made) > case.pipeline.slo
            if slow or sum(o[1] for o in made) > stage.max_replicas or cost > (case.pipeline.cores or math.inf):
                continue
            served = min(n * v.throughput(c, b) / (stage.rate * taken / case.units) for v, n, c, b, taken in made)
            served = min(served, case.rate)
            if served > most * (1 + 1e-7):
                most, cheapest = served, cost
            elif served > most * (1 - 1e-7):
                cheapest = min(cheapest, cost)
    return most, cheapest


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds, rate=st.sampled_from([100.0, 400.0]), cores=st.none() | st.integers(3, 8))
def test_a_degraded_set_serves_the_most_load_then_costs_the_least(seed: int, rate: float, cores: int | None) -> None:
    """No spread of the load, however many replicas within the limits, serves more; of those as good none is cheaper."""
    pipeline = rich_pipeline(seed, 1, 3, rate)
    stages = (dataclasses.replace(pipeline.stages[0], max_replicas=4),)
    case = Case(dataclasses.replace(pipeline, stages=stages, cores=cores), rate, 4)
    proposal = sets(case.pipeline, quantum=0.25).decide(rate, NOTHING)
    most, cheapest = most_served(case)
    if proposal.status is Status.OPTIMAL or most == 0:
        assert proposal.status is Status.OPTIMAL or "no plan meets the SLO" in proposal.reason
        return
    assert min(proposal.served, rate) == pytest.approx(most, rel=1e-6)
    assert proposal.cost == cheapest
    assert f"this one serves {most:.4g}" in proposal.reason


def one_stage(*variants: Variant, **fields: object) -> Pipeline:
    return Pipeline("p", (Stage("a", variants),), (), slo=1.0, max_batch=1, **fields)  # type: ignore[arg-type]  # test shorthand


FAST = make_variant("fast", 0.5, {(1, 1): (0.1, 10.0)})
GOOD = make_variant("good", 0.9, {(1, 1): (0.3, 4.0)})


def test_a_set_fills_what_one_variant_leaves_idle() -> None:
    """16 requests/s on at most 3 cores: the good variant alone needs 4, the fast one leaves one idle; together they use
    all three, on 0.4 and 0.6 of the load. The most accurate is named first.
    """
    pipeline = one_stage(FAST, GOOD, cores=3)
    weights = Weights(alpha=10.0, beta=0.5)
    one = Ipa(pipeline, Settings(build_solver("auto"), weights=weights, queueing=Queueing.PUBLISHED)).decide(
        16.0, NOTHING
    )
    assert one.plan == {"a": (Allocation("fast", 2, 1, 1),)}
    many = sets(pipeline, weights=weights, quantum=0.2).decide(16.0, NOTHING)
    assert many.plan == {"a": (Allocation("good", 2, 1, 1, 0.4), Allocation("fast", 1, 1, 1, 0.6))}
    assert [many.accuracy, many.cost, many.served] == pytest.approx([0.66, 3, 10 / 0.6])
    assert many.objective > one.objective
    assert many.why["binding"] == "cores"
    second = sets(pipeline, weights=weights, quantum=0.2).evaluate(plan_from_json(many.why["runner_up"]), 16.0)
    assert second is not None
    assert (second.status, second.objective < many.objective) == (Status.OPTIMAL, True)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [({"max_replicas": 3}, "replicas"), ({"slo": 0.2}, "slo"), ({"cores": 3}, "cores"), ({}, "none")],
)
def test_the_explanation_names_what_binds(limits: dict[str, float], expected: str) -> None:
    """Each limit that keeps the good variant from all of the load, and none where it has it."""
    stage = Stage("a", (FAST, GOOD), max_replicas=int(limits.get("max_replicas", 100)))
    pipeline = Pipeline("p", (stage,), (), limits.get("slo", 1.0), max_batch=1, cores=limits.get("cores"))  # type: ignore[arg-type]  # test shorthand
    proposal = sets(pipeline, weights=Weights(alpha=100.0, beta=0.5)).decide(16.0, NOTHING)
    assert proposal.status is Status.OPTIMAL
    assert proposal.why["binding"] == expected
    assert (proposal.plan["a"] == (Allocation("good", 4, 1, 1),)) == (expected == "none")


def test_a_running_set_is_priced_by_its_shares() -> None:
    """Accuracy is the mean, the latency the slowest one's, what is served the first that is full; a set that takes more
    than it carries breaks a promise; what is not made of the stage's options, or does not share all, has no worth.
    """
    algorithm = sets(one_stage(FAST, GOOD))
    kept = algorithm.evaluate({"a": (Allocation("good", 1, 1, 1, 0.3), Allocation("fast", 1, 1, 1, 0.7))}, 12.0)
    assert kept is not None
    assert kept.status is Status.OPTIMAL
    assert [kept.accuracy, kept.latency, kept.served] == pytest.approx([0.62, 0.3, 4 / 0.3])
    full = algorithm.evaluate({"a": (Allocation("good", 1, 1, 1, 0.5), Allocation("fast", 1, 1, 1, 0.5))}, 12.0)
    assert full is not None
    assert full.reason == "stage a carries 8 of 12 requests/s"
    for one, other in ((0.5, 0.4), (1.0, 0.0), (1.2, -0.2)):
        shared = (Allocation("good", 3, 1, 1, one), Allocation("fast", 1, 1, 1, other))
        assert algorithm.evaluate({"a": shared}, 1.0) is None
    for unknown in ((), (Allocation("better", 1, 1, 1),), (Allocation("good", 1, 8, 1),)):
        assert algorithm.evaluate({"a": unknown}, 1.0) is None
    assert algorithm.evaluate({}, 1.0) is None


def test_damping_holds_a_set() -> None:
    """A switch of shares that gains too little, or comes too soon, keeps the set that runs; one that is overloaded is
    replaced at once.
    """
    pipeline = one_stage(FAST, GOOD, cores=3)
    algorithm = sets(pipeline, quantum=0.1)
    running = algorithm.decide(15.0, NOTHING).plan
    assert len(running["a"]) == 2
    proposal = algorithm.decide(10.0, Observation(10.0, (), running))
    assert proposal.plan != running
    held = MinimumGain(algorithm, proposal.objective).decide(10.0, Observation(10.0, (), running))
    assert (held.held, held.plan) == (True, running)
    cooling = CoolDown(algorithm, 60.0)
    cooling.decide(15.0, Observation(0.0, (), proposal.plan))
    assert cooling.decide(10.0, Observation(10.0, (), running)).plan == running
    rescue = MinimumGain(algorithm, 1000.0).decide(20.0, Observation(10.0, (), running))
    assert not rescue.held
