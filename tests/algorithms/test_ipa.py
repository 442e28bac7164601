"""IPA: the published formulas, exactness against brute force, degraded plans."""

from __future__ import annotations

import dataclasses
import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_seldon.algorithms import Settings
from ipa_seldon.algorithms.baselines import fa2_high, fa2_low
from ipa_seldon.algorithms.ipa import Ipa, combine
from ipa_seldon.bootstrap import build_solver
from ipa_seldon.options import Choices, Weights, base_allocations, prepare
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Allocation, Observation, Plan, Status, within_limits
from ipa_seldon.profiles import Measurement, Profile
from ipa_seldon.programs import AccuracyMeasure
from ipa_seldon.queueing import Queueing
from tests.factories import random_pipeline, with_gpus

NOTHING = Observation(time=0.0, arrivals=(), plan={})
SOLVERS = ("auto", "highs", "gurobi", "exhaustive")


def make_variant(name: str, accuracy: float, points: dict[tuple[int, int], tuple[float, float]]) -> Variant:
    profile = Profile({key: Measurement(*value) for key, value in points.items()})
    return Variant(name, accuracy, 1, profile.cores, profile.latency, profile.throughput)


def ipa(pipeline: Pipeline, solver: str = "exhaustive", **fields: object) -> Ipa:
    chosen = {"queueing": Queueing.PUBLISHED, **fields}
    return Ipa(pipeline, dataclasses.replace(Settings(build_solver(solver)), **chosen))  # type: ignore[arg-type]  # test shorthand


def every_plan(
    pipeline: Pipeline, rate: float, measure: AccuracyMeasure, weights: Weights
) -> tuple[float, Plan | None]:
    """Brute force straight from the formulas of the paper, sharing no code with options, programs or solvers."""
    tables = []
    for stage in pipeline.stages:
        rows = []
        base = base_allocations(stage, [1, 2, 4])
        load = rate * stage.rate
        for v in stage.variants:
            for batch in (1, 2, 4):
                cores = base[v.name]
                replicas = max(1, math.ceil(load / v.throughput(cores, batch) - 1e-9))
                wait = (batch - 1) / load if load else 0.0
                if replicas <= stage.max_replicas:
                    rows.append((v, cores, batch, replicas, v.latency(cores, batch) + wait))
        tables.append(rows)
    names = [stage.name for stage in pipeline.stages]
    best: tuple[float, Plan | None] = (-math.inf, None)
    for combination in itertools.product(*tables):
        delay = {name: row[4] for name, row in zip(names, combination, strict=True)}
        cores = sum(row[1] * row[3] for row in combination)
        gpus = sum(row[0].gpus * row[3] for row in combination)
        cost = cores + pipeline.gpu_cores * gpus
        if any(sum(delay[n] for n in path) > pipeline.slo for path in pipeline.paths):
            continue
        if cores > (pipeline.cores or math.inf) or (pipeline.gpus is not None and gpus > pipeline.gpus):
            continue
        accuracies = [row[0].accuracy for row in combination]
        a = {"product": math.prod(accuracies), "sum": sum(accuracies), "average": sum(accuracies) / len(accuracies)}
        objective = weights.alpha * a[measure.value] - weights.beta * cost
        objective -= weights.delta * sum(row[2] for row in combination)
        if objective > best[0]:
            best = (
                objective,
                {
                    n: (Allocation(r[0].name, r[3], r[1], r[2], gpus=r[0].gpus),)
                    for n, r in zip(names, combination, strict=True)
                },
            )
    return best


@settings(max_examples=200, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), rate=st.sampled_from([0.0, 0.7, 5.0, 20.0, 60.0, 400.0]))
def test_every_solver_finds_what_the_formulas_say(seed: int, rate: float) -> None:
    """Auto = HiGHS = Gurobi = exhaustive = brute force from the paper's formulas; chains and DAGs, feasible and not;
    some with variants on GPUs, of which there are few.
    """
    pipeline = random_pipeline(seed) if seed % 2 else with_gpus(random_pipeline(seed), seed)
    measure = list(AccuracyMeasure)[seed % 3]
    assert measure is not AccuracyMeasure.RANK
    weights = Weights(alpha=10.0, beta=0.5, delta=1e-6)
    best, _ = every_plan(pipeline, rate, measure, weights)
    proposals = [ipa(pipeline, name, measure=measure, weights=weights).decide(rate, NOTHING) for name in SOLVERS]
    for proposal in proposals:
        if best == -math.inf:
            assert proposal.status is Status.DEGRADED
            assert proposal.reason
            assert proposal.cost == pytest.approx(proposals[0].cost)
        else:
            assert proposal.status is Status.OPTIMAL
            assert proposal.objective == pytest.approx(best, abs=1e-7)
            assert proposal.latency <= pipeline.slo + 1e-9
        assert within_limits(pipeline, proposal.plan)


def calibrated_delay(pipeline: Pipeline, option: tuple[Variant, int, int, int], load: float) -> float:
    """Latency and tail of one option (variant, cores, batch, replicas), written out from the formula's docstring."""
    variant, cores, batch, replicas = option
    z = NormalDist().inv_cdf(pipeline.percentile / 100)
    latency, rate = variant.latency(cores, batch), variant.throughput(cores, batch)
    ratio, capacity = latency * rate / batch, replicas * rate
    spread = z - math.sqrt(max(z * z - 2 * math.log(ratio), 0)) if ratio > 1 else 0.0
    load = min(load, 0.995 * capacity)
    chance = (load / capacity) ** (math.sqrt(2 * (replicas + 1)) - 1)
    tail = math.log(max(chance / (1 - pipeline.percentile / 100), 1)) * math.exp(spread**2) / 2 / (capacity - load)
    return latency + max((batch - 1) / capacity, tail)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), rate=st.sampled_from([0.0, 5.0, 20.0, 60.0]), switching=st.sampled_from([0.0, 0.3]))
def test_calibrated_waits_and_switching_are_solved_exactly(seed: int, rate: float, switching: float) -> None:
    """Auto = HiGHS = brute force over spare replicas, with tails for waits, and start-ups charged against what runs, on
    GPUs too.
    """
    pipeline = random_pipeline(seed, stages=1 + seed % 2, chain=True)
    load_times = np.random.default_rng(seed).uniform(0, 5, 3).tolist()
    stages = tuple(
        dataclasses.replace(
            stage,
            variants=tuple(
                dataclasses.replace(v, load_time=seconds)
                for v, seconds in zip(stage.variants, load_times, strict=False)
            ),
        )
        for stage in pipeline.stages
    )
    pipeline = dataclasses.replace(pipeline, stages=stages, max_batch=2)
    pipeline = pipeline if seed % 3 else with_gpus(pipeline, seed)

    def each(variant: Variant, cores: int) -> float:
        return cores + pipeline.gpu_cores * variant.gpus

    weights = Weights(alpha=10.0, beta=0.5, delta=1e-6, switching=switching)
    fields = {"weights": weights, "queueing": Queueing.CALIBRATED}
    running = ipa(pipeline, "auto", **fields).decide(rate / 2, NOTHING).plan
    best = -math.inf
    tables = []
    for stage in pipeline.stages:
        base, load, rows = base_allocations(stage, [1, 2]), rate * stage.rate, []
        for v, batch, spare in itertools.product(stage.variants, (1, 2), range(4)):
            cores = base[v.name]
            replicas = max(1, math.ceil(load / v.throughput(cores, batch) - 1e-9)) + spare
            now = running[stage.name][0]
            kept = min(replicas, now.replicas) if (v.name, cores) == (now.variant, now.cores) else 0
            started = (replicas - kept) * each(v, cores) * v.load_time
            if replicas <= stage.max_replicas:
                rows.append(
                    (
                        (v, cores, batch, replicas),
                        calibrated_delay(pipeline, (v, cores, batch, replicas), load),
                        started,
                    )
                )
        tables.append(rows)
    for combination in itertools.product(*tables):
        cost = sum(each(option[0], option[1]) * option[3] for option, _, _ in combination)
        if sum(delay for _, delay, _ in combination) > pipeline.slo:
            continue
        if sum(option[1] * option[3] for option, _, _ in combination) > (pipeline.cores or math.inf):
            continue
        if pipeline.gpus is not None and sum(o[0].gpus * o[3] for o, _, _ in combination) > pipeline.gpus:
            continue
        value = 10.0 * math.prod(option[0].accuracy for option, _, _ in combination) - 0.5 * cost
        value -= 1e-6 * sum(option[2] for option, _, _ in combination) + switching * sum(s for _, _, s in combination)
        best = max(best, value)
    for solver in ("auto", "highs"):
        proposal = ipa(pipeline, solver, **fields).decide(rate, Observation(0.0, (), running))
        if best == -math.inf:
            assert proposal.status is Status.DEGRADED
            continue
        assert proposal.status is Status.OPTIMAL
        started = 0.0
        for stage in pipeline.stages:
            new, now = proposal.plan[stage.name][0], running[stage.name][0]
            kept = min(new.replicas, now.replicas) if (new.variant, new.cores) == (now.variant, now.cores) else 0
            variant = stage.variant(new.variant)
            started += (new.replicas - kept) * each(variant, new.cores) * variant.load_time
        assert proposal.objective - switching * started == pytest.approx(best, abs=1e-7)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), rate=st.sampled_from([100.0, 400.0, 2000.0]))
def test_a_degraded_plan_serves_the_most_load_then_costs_the_least(seed: int, rate: float) -> None:
    """No plan within the SLO and the limits serves more; of those that serve as much, none is cheaper. GPUs, where
    there are any, are used for it.
    """
    pipeline = dataclasses.replace(random_pipeline(seed, stages=2), max_batch=2)
    pipeline = pipeline if seed % 3 else with_gpus(pipeline, seed)
    algorithm = ipa(pipeline, "auto")
    proposal = algorithm.decide(rate, NOTHING)
    if (
        proposal.status is Status.OPTIMAL
        or "carries" not in proposal.reason
        or "within the limits" not in proposal.reason
    ):
        return
    served = _served(algorithm, proposal.plan)
    most, cheapest = 0.0, math.inf
    per_stage = []
    for options in algorithm.options:
        delays = options.filling(rate)
        rows = range(len(options.variants))
        counts = range(1, options.stage.max_replicas + 1)
        per_stage.append([(options, k, n, float(delays[k])) for k in rows for n in counts])
    for combination in itertools.product(*per_stage):
        delay = {options.stage.name: seconds for options, _, _, seconds in combination}
        if any(sum(delay[n] for n in path) > pipeline.slo for path in pipeline.paths):
            continue
        cores = sum(int(options.cores[k]) * n for options, k, n, _ in combination)
        gpus = sum(options.variants[k].gpus * n for options, k, n, _ in combination)
        cost = cores + pipeline.gpu_cores * gpus
        if cores > (pipeline.cores or math.inf) or (pipeline.gpus is not None and gpus > pipeline.gpus):
            continue
        carried = min(min(n * float(o.throughput[k]) / o.stage.rate for o, k, n, _ in combination), rate)
        if carried > most * (1 + 1e-9):
            most, cheapest = carried, cost
        elif carried > most * (1 - 1e-9):
            cheapest = min(cheapest, cost)
    assert min(served, rate) == pytest.approx(most, rel=1e-6)
    assert proposal.cost == pytest.approx(cheapest)


def _served(algorithm: Ipa, plan: Plan) -> float:
    loads = []
    for options in algorithm.options:
        allocation = plan[options.stage.name][0]
        row = options.row(allocation)
        assert row is not None
        loads.append(allocation.replicas * float(options.throughput[row]) / options.stage.rate)
    return min(loads)


def test_the_queue_term_is_charged_once_per_stage() -> None:
    """Q = (b - 1) / lambda, once (IPA): a batch of 4 at 10 requests/s waits 0.3 s, not 0.3 s per variant."""
    one = make_variant("one", 0.5, {(1, 1): (1.0, 1.0), (1, 4): (0.5, 20.0)})
    pipeline = Pipeline("p", (Stage("a", (one,)),), (), slo=0.85, max_batch=4)
    proposal = ipa(pipeline).decide(10.0, NOTHING)
    assert proposal.plan["a"][0].batch == 4
    assert proposal.latency == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [("product", 0.5 * 0.8 * 0.9), ("sum", 2.2), ("average", 2.2 / 3), ("rank", 1.0)],
)
def test_accuracy_measures_are_exact_for_three_stages(measure: str, expected: float) -> None:
    """All four measures, on more than two stages."""
    assert combine(
        [0.5, 0.8, 0.9] if measure != "rank" else [1.0, 1.0, 1.0], AccuracyMeasure(measure)
    ) == pytest.approx(expected)


def test_ranks_replace_accuracies_and_are_never_zero() -> None:
    """a_k = k / (K - 1), the lowest at 0.05, a single variant at 1 (IPA v3)."""
    points = {(1, 1): (0.1, 10.0)}
    variants = tuple(make_variant(n, a, points) for n, a in (("x", 0.9), ("y", 0.2), ("z", 0.5)))
    pipeline = Pipeline("p", (Stage("a", variants), Stage("b", variants[:1])), (("a", "b"),), slo=1.0, max_batch=1)
    many, single = prepare(pipeline, Choices(AccuracyMeasure.RANK, queueing=Queueing.PUBLISHED))
    assert dict(zip([v.name for v in many.variants], many.accuracy, strict=True)) == {"x": 1.0, "y": 0.05, "z": 0.5}
    assert single.accuracy.tolist() == [1.0]


def test_base_allocation_is_the_minimum_of_each_variant() -> None:
    """The least cores that reach the threshold within the stage SLO, per variant; never one count for all."""
    light = make_variant("light", 0.5, {(1, 1): (0.1, 10.0), (2, 1): (0.06, 17.0)})
    heavy = make_variant("heavy", 0.9, {(1, 1): (0.5, 2.0), (2, 1): (0.3, 3.3), (4, 1): (0.2, 5.0)})
    stage = Stage("a", (light, heavy), threshold=5.0)
    assert base_allocations(stage, [1]) == {"light": 1, "heavy": 4}
    assert base_allocations(dataclasses.replace(stage, slo=0.08), [1])["light"] == 2


def test_variable_allocation_is_never_worse_than_base() -> None:
    """Cores as a decision contain the base allocation as a special case."""
    for seed in range(30):
        pipeline = random_pipeline(seed)
        fixed = ipa(pipeline, "auto").decide(8.0, NOTHING)
        free = ipa(pipeline, "auto", variable_cores=True).decide(8.0, NOTHING)
        if fixed.status is Status.OPTIMAL:
            assert free.objective >= fixed.objective - 1e-9


def test_an_unreachable_slo_gives_the_fastest_plan_and_says_so() -> None:
    """Degraded, never silence: the least latency there is, and a reason with both figures."""
    slow = make_variant("slow", 0.9, {(1, 1): (2.0, 0.5)})
    less_slow = make_variant("less-slow", 0.2, {(1, 1): (1.0, 1.0)})
    pipeline = Pipeline("p", (Stage("a", (slow, less_slow)),), (), slo=0.5, max_batch=1)
    proposal = ipa(pipeline, "auto").decide(3.0, NOTHING)
    assert proposal.status is Status.DEGRADED
    assert proposal.plan == {"a": (Allocation("less-slow", 3, 1, 1),)}
    assert proposal.why["binding"] == "slo"
    assert "0.5" in proposal.reason
    assert "1 s" in proposal.reason


def test_a_fast_enough_plan_beyond_the_budget_leaves_the_one_that_serves_most() -> None:
    """The SLO can be met, but not on two cores: degraded, with the budget as the reason, by every solver."""
    slow = make_variant("slow", 0.5, {(1, 1): (1.0, 1.0)})
    fast = make_variant("fast", 0.9, {(4, 1): (0.1, 10.0)})
    pipeline = Pipeline("p", (Stage("a", (slow, fast), threshold=0.5),), (), slo=0.5, max_batch=1, cores=2)
    for solver in SOLVERS:
        proposal = ipa(pipeline, solver).decide(3.0, NOTHING)
        assert proposal.plan == {"a": (Allocation("slow", 2, 1, 1),)}
        assert proposal.reason == "no plan within the limits meets the SLO of 0.5 s"
        assert proposal.why["binding"] == "cores"


def test_the_explanation_names_what_binds_and_the_runner_up() -> None:
    """With an SLO that only just excludes the accurate variant, the SLO binds; without, nothing does."""
    fast = make_variant("fast", 0.5, {(1, 1): (0.1, 10.0)})
    good = make_variant("good", 0.9, {(1, 1): (0.3, 10.0)})
    pipeline = Pipeline("p", (Stage("a", (fast, good)),), (), slo=0.2, max_batch=1)
    bound = ipa(pipeline).decide(5.0, NOTHING)
    assert bound.why == {"binding": "slo", "runner_up": None}
    free = ipa(dataclasses.replace(pipeline, slo=1.0)).decide(5.0, NOTHING)
    assert free.why["binding"] == "none"
    assert free.why["runner_up"]["a"][0]["variant"] == "fast"
    weights = Weights(alpha=2.0, beta=0.0)
    dear = make_variant("good", 0.9, {(4, 1): (0.1, 10.0)})
    budget = Pipeline("p", (Stage("a", (fast, dear)),), (), slo=1.0, max_batch=1, cores=3)
    assert ipa(budget, weights=weights).decide(5.0, NOTHING).why["binding"] == "cores"
    one_replica = Pipeline("p", (Stage("a", (fast, good), max_replicas=1),), (), slo=1.0, max_batch=1)
    slower = make_variant("good", 0.9, {(1, 1): (0.3, 3.0)})
    few = dataclasses.replace(one_replica, stages=(Stage("a", (fast, slower), max_replicas=1),))
    assert ipa(one_replica, weights=weights).decide(5.0, NOTHING).why["binding"] == "none"
    assert ipa(few, weights=weights).decide(5.0, NOTHING).why["binding"] == "replicas"


def test_baselines_keep_their_variants() -> None:
    """FA2-low and FA2-high scale, but never switch a variant."""
    pipeline = random_pipeline(3, stages=3)
    for make, best in ((fa2_low, max), (fa2_high, min)):
        algorithm = make(pipeline, Settings(build_solver("auto")))
        for rate in (1.0, 50.0):
            plan = algorithm.decide(rate, NOTHING).plan
            for stage in pipeline.stages:
                wanted = best(stage.variants, key=lambda variant: variant.throughput(variant.cores[0], 1))
                assert plan[stage.name][0].variant == wanted.name
