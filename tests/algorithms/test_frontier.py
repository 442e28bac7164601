"""The trade of accuracy for cost, and the objectives that hold one of them to a limit: against brute force."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipa_seldon.algorithms import Baselines, Settings
from ipa_seldon.algorithms.baselines import fa2_high, fa2_low, rim
from ipa_seldon.algorithms.damping import MinimumGain
from ipa_seldon.algorithms.frontier import ratios
from ipa_seldon.algorithms.goals import AccuracyAtLeast, CostAtMost
from ipa_seldon.algorithms.ipa import Ipa
from ipa_seldon.bootstrap import build_solver
from ipa_seldon.errors import ConfigError
from ipa_seldon.experiments.decision_times import random_variant
from ipa_seldon.options import Weights
from ipa_seldon.pipeline import Pipeline, Stage
from ipa_seldon.plan import Allocation, Observation, Proposal, Status, plan_from_json
from ipa_seldon.programs import AccuracyMeasure
from ipa_seldon.queueing import Queueing
from tests.algorithms.test_ipa import make_variant
from tests.factories import random_pipeline, with_gpus

NOTHING = Observation(time=0.0, arrivals=(), plan={})
SOLVERS = ("auto", "highs", "gurobi", "exhaustive")
CLOSE = 1e-6
"""Twice what counts as equal, and the solvers' tolerances."""

seeds = st.integers(0, 2**31)
rates = st.sampled_from([60.0, 40.0, 20.0, 7.0, 0.0, 400.0])
measures = st.sampled_from(list(AccuracyMeasure))
solvers = st.sampled_from(SOLVERS)


@dataclass(frozen=True)
class Everything:
    """Every plan within the SLO and the limits: arrays of shape (n,)."""

    accuracy: NDArray[np.float64]
    cost: NDArray[np.float64]
    batches: NDArray[np.float64]

    def frontier(self) -> list[tuple[float, float]]:
        """Undominated (accuracy, cost), the cheapest first."""
        found: list[tuple[float, float]] = []
        for k in np.lexsort((-self.accuracy, self.cost)):
            if not found or self.accuracy[k] > found[-1][0] + CLOSE:
                found.append((float(self.accuracy[k]), float(self.cost[k])))
        return found

    def fewest_batches(self, accuracy: float, cost: float) -> float:
        """The least sum of batch sizes of the plans of that accuracy and cost."""
        return float(self.batches[(abs(self.accuracy - accuracy) < CLOSE) & (abs(self.cost - cost) < CLOSE)].min())


def everything(algorithm: Ipa, rate: float) -> Everything:
    """All combinations of all options, the dominated ones included."""
    pipeline, options, count = algorithm.pipeline, algorithm.options, len(algorithm.options)

    def along(stage: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values.reshape([-1 if t == stage else 1 for t in range(count)])

    replicas = [o.replicas(rate) for o in options]
    delays = [along(t, o.delay(rate, replicas[t])) for t, o in enumerate(options)]
    accuracies = [along(t, o.accuracy) for t, o in enumerate(options)]
    cores = sum(along(t, replicas[t] * o.cores) for t, o in enumerate(options))
    held = [np.array([variant.gpus for variant in o.variants], dtype=float) for o in options]
    gpus = sum(along(t, replicas[t] * held[t]) for t in range(count))
    # Rounded, so that sums of GPUs' costs that are equal are.
    cost = np.round(cores + pipeline.gpu_cores * gpus, 6)
    measure = algorithm.settings.measure
    if measure in (AccuracyMeasure.PRODUCT, AccuracyMeasure.RANK):
        accuracy = reduce(np.multiply, accuracies)
    else:
        accuracy = reduce(np.add, accuracies) / (count if measure is AccuracyMeasure.AVERAGE else 1)
    kept = np.ones(accuracy.shape, dtype=bool)
    for t, o in enumerate(options):
        kept &= along(t, replicas[t]) <= o.stage.max_replicas
    for path in algorithm.paths:
        kept &= sum(delays[t] for t in path) <= pipeline.slo + 1e-9
    if pipeline.cores is not None:
        kept &= cores <= pipeline.cores
    if pipeline.gpus is not None:
        kept &= gpus <= pipeline.gpus
    batches = np.broadcast_to(reduce(np.add, [along(t, o.batch) for t, o in enumerate(options)]), kept.shape)
    return Everything(accuracy[kept], np.broadcast_to(cost, kept.shape)[kept], batches[kept])


def varied(seed: int, stages: int | None = None) -> Pipeline:
    """A random pipeline; of two, one has three variants in every stage and an SLO that leaves much to trade; of the
    others some have variants on GPUs.
    """
    pipeline = random_pipeline(seed, stages)
    if seed % 2:
        return with_gpus(pipeline, seed) if seed % 3 else pipeline
    rng = np.random.default_rng(seed)
    richer = [
        dataclasses.replace(stage, variants=tuple(random_variant(rng, m, max_cores=2) for m in range(3)))
        for stage in pipeline.stages
    ]
    return dataclasses.replace(pipeline, stages=tuple(richer), slo=4 * pipeline.slo)


def keeps_its_promises(algorithm: Ipa, document: dict[str, Any] | None, rate: float) -> bool:
    """Whether a runner-up, where there is one, could have been taken."""
    worth = document and algorithm.evaluate(plan_from_json(document), rate)
    return not worth or worth.status is Status.OPTIMAL


def same(proposal: Proposal, accuracy: float, cost: float) -> bool:
    """Whether the plan lies there, as closely as accuracies are told apart."""
    return abs(proposal.accuracy - accuracy) < CLOSE and abs(proposal.cost - cost) < CLOSE


def trading(pipeline: Pipeline, solver: str, measure: AccuracyMeasure, **fields: object) -> Ipa:
    built = Settings(build_solver(solver), measure)
    return Ipa(pipeline, dataclasses.replace(built, **fields))  # type: ignore[arg-type]  # test shorthand


def pairs(proposals: list[Proposal]) -> list[tuple[float, float]]:
    return [(proposal.accuracy, proposal.cost) for proposal in proposals]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seeds, rates, measures, solvers, st.booleans(), st.sampled_from(Queueing))
def test_the_frontier_is_what_brute_force_finds(
    seed: int, rate: float, measure: AccuracyMeasure, solver: str, variable: bool, queueing: Queueing
) -> None:
    """The same undominated pairs of accuracy and cost, each with its smallest batches, for every solver and measure,
    base and variable cores, chains and DAGs; empty exactly where the load is infeasible.
    """
    stages = 1 + seed // 2 % 3
    algorithm = trading(varied(seed, stages), solver, measure, variable_cores=variable, queueing=queueing)
    every = everything(algorithm, rate)
    found = [point.proposal for point in algorithm.frontier(rate)]
    wanted = every.frontier()
    assert [cost for _, cost in pairs(found)] == pytest.approx([cost for _, cost in wanted])
    assert [accuracy for accuracy, _ in pairs(found)] == pytest.approx([a for a, _ in wanted], abs=CLOSE)
    assert bool(found) == (algorithm.decide(rate, NOTHING).status is Status.OPTIMAL)
    for proposal in found:
        assert proposal.status is Status.OPTIMAL
        batches = sum(allocation.batch for (allocation,) in proposal.plan.values())
        assert batches == every.fewest_batches(proposal.accuracy, proposal.cost)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(seeds, rates, measures, st.sampled_from(["auto", "highs"]))
def test_weights_select_a_plan_exactly_inside_its_range(
    seed: int, rate: float, measure: AccuracyMeasure, solver: str
) -> None:
    """IPA with alpha / beta just inside either end of a range decides for its plan, just outside for another one; the
    ranges follow each other without a gap, from 0 to infinity.
    """
    pipeline = varied(seed)
    points = trading(pipeline, solver, measure).frontier(rate)
    ranges = [(point, point.ratio) for point in points if point.ratio]
    ends = [end for _, ratio in ranges for end in ratio]
    assert not ends or (ends[0], ends[-1]) == (0.0, math.inf)
    assert ends[1:-1:2] == pytest.approx(ends[2::2])

    def chosen(ratio: float) -> Proposal:
        weights = Weights(alpha=ratio, beta=1.0, delta=1e-7)
        return trading(pipeline, solver, measure, weights=weights).decide(rate, NOTHING)

    for point, (lower, upper) in ranges:
        mine = (point.proposal.accuracy, point.proposal.cost)
        assert same(chosen(lower * 1.001 or min(upper, 1.0) / 2), *mine)
        assert same(chosen(min(upper * 0.999, lower + 1e4)), *mine)
        assert lower == 0 or not same(chosen(lower * 0.999), *mine)
        assert upper == math.inf or not same(chosen(upper * 1.001), *mine)


def test_the_ranges_of_weights() -> None:
    """By hand: (0.5, 1) to (0.9, 5) costs 10 cores per unit of accuracy; what lies on that line or below it has no
    range.
    """
    assert ratios([(0.5, 1), (0.9, 5)]) == [(0.0, pytest.approx(10)), (pytest.approx(10), math.inf)]
    on_the_line = ratios([(0.5, 1), (0.7, 3), (0.9, 5)])
    below = ratios([(0.5, 1), (0.6, 3), (0.9, 5)])
    assert on_the_line[1] is None
    assert below[1] is None
    assert ratios([(0.5, 1)]) == [(0.0, math.inf)]
    assert ratios([]) == []


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seeds, rates, measures, solvers, st.floats(0, 1.2))
def test_the_most_accurate_plan_within_a_cost(
    seed: int, rate: float, measure: AccuracyMeasure, solver: str, part: float
) -> None:
    """The highest accuracy on at most so many cores, the cheapest among equals, then the smallest batches; its worth is
    its accuracy. Where the cores do not carry the load, a degraded plan within them that says that the cost binds.
    """
    pipeline = varied(seed, 1 + seed // 2 % 3)
    free = trading(pipeline, solver, measure)
    every = everything(free, rate)
    least = round(sum(float(o.cores.min()) for o in free.options))
    cores = max(least, round(part * max(every.cost, default=20.0)))
    algorithm = trading(pipeline, solver, measure, constraint=CostAtMost(cores))
    proposal = algorithm.decide(rate, NOTHING)
    affordable = [pair for pair in every.frontier() if pair[1] <= cores + CLOSE]
    assert proposal.cost <= cores + CLOSE
    assert proposal.objective == proposal.accuracy
    if affordable:
        best = affordable[-1]
        assert proposal.status is Status.OPTIMAL
        assert same(proposal, *best)
        batches = sum(allocation.batch for (allocation,) in proposal.plan.values())
        assert batches == every.fewest_batches(*best)
        assert keeps_its_promises(algorithm, proposal.why["runner_up"], rate)
    else:
        assert proposal.status is Status.DEGRADED
        assert proposal.reason
        tighter = pipeline.cores is None or cores <= pipeline.cores
        scarce = {"cost", "cores", "gpus"} if pipeline.on_gpus else {"cost" if tighter else "cores"}
        assert proposal.why["binding"] in scarce | {"slo"}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seeds, rates, measures, solvers, st.floats(0.2, 1.2))
def test_the_cheapest_plan_that_is_accurate_enough(
    seed: int, rate: float, measure: AccuracyMeasure, solver: str, part: float
) -> None:
    """The lowest cost with at least the accuracy, the most accurate among equals; its worth is minus its cost. Where no
    plan is accurate enough: the most accurate one, degraded, and accuracy binds.
    """
    pipeline = varied(seed, 1 + seed // 2 % 3)
    frontier = everything(trading(pipeline, solver, measure), rate).frontier()
    wanted = part * max((accuracy for accuracy, _ in frontier), default=0.5)
    algorithm = trading(pipeline, solver, measure, constraint=AccuracyAtLeast(wanted))
    proposal = algorithm.decide(rate, NOTHING)
    assert proposal.objective == -proposal.cost
    if not frontier:
        assert proposal.status is Status.DEGRADED
        assert proposal.why["binding"] != "accuracy"
        return
    best = next((pair for pair in frontier if pair[0] >= wanted), frontier[-1])
    assert same(proposal, *best)
    evaluated = algorithm.evaluate(proposal.plan, rate)
    assert evaluated is not None
    assert evaluated.status is proposal.status
    if best[0] >= wanted:
        assert proposal.status is Status.OPTIMAL
        assert keeps_its_promises(algorithm, proposal.why["runner_up"], rate)
    else:
        assert proposal.status is Status.DEGRADED
        assert proposal.why == {"binding": "accuracy", "runner_up": None}
        assert f"{wanted:.4g}" in proposal.reason


def three_variants(cores: int | None = None) -> Pipeline:
    """One stage; a replica of ``low`` carries 20 requests/s on 1 core, of ``mid`` 10 on 2, of ``high`` 8 on 4."""
    variants = (
        make_variant("low", 0.5, {(1, 1): (0.05, 20.0)}),
        make_variant("mid", 0.7, {(2, 1): (0.1, 10.0)}),
        make_variant("high", 0.9, {(4, 1): (0.125, 8.0)}),
    )
    return Pipeline("p", (Stage("a", variants),), (), slo=1.0, max_batch=1, cores=cores)


def constrained(constraint: CostAtMost | AccuracyAtLeast, cores: int | None = None) -> Ipa:
    built = Settings(build_solver("auto"), queueing=Queueing.PUBLISHED, constraint=constraint)
    return Ipa(three_variants(cores), built)


def test_the_explanation_of_a_constraint() -> None:
    """What binds is the constraint that keeps a better plan out, by the name it was given; the runner-up keeps it."""

    def why(constraint: CostAtMost | AccuracyAtLeast, cores: int | None = None) -> tuple[str, str | None]:
        found = constrained(constraint, cores).decide(5.0, NOTHING).why
        return found["binding"], found["runner_up"] and found["runner_up"]["a"][0]["variant"]

    assert why(CostAtMost(3)) == ("cost", "low")
    assert why(CostAtMost(3), cores=2) == ("cores", "low")
    assert why(CostAtMost(9)) == ("none", "mid")
    assert why(AccuracyAtLeast(0.6)) == ("accuracy", "high")
    assert why(AccuracyAtLeast(0.8)) == ("accuracy", None)
    assert why(AccuracyAtLeast(0.1)) == ("none", "mid")
    assert why(AccuracyAtLeast(0.95)) == ("accuracy", None)


def test_a_cost_too_low_for_the_load_is_a_degraded_plan() -> None:
    """As with a budget in the limits: the most load served, never beyond the cost."""
    proposal = constrained(CostAtMost(3)).decide(65.0, NOTHING)
    assert (proposal.status, proposal.cost, proposal.served) == (Status.DEGRADED, 3, 60.0)
    assert proposal.why["binding"] == "cost"
    assert "serves 60" in proposal.reason


def test_a_budget_below_one_replica_per_stage_is_refused() -> None:
    """Nothing could run: the error has the key, the value and the least that is accepted."""
    with pytest.raises(ConfigError, match=r"spec\.limits\.cores: 1: accepted: at least 4"):
        fa2_high(three_variants(cores=1), Settings(build_solver("auto")))
    with pytest.raises(ConfigError, match=r"spec\.objective\.cost_at_most: 3: accepted: at least 4"):
        fa2_high(three_variants(cores=9), Settings(build_solver("auto"), constraint=CostAtMost(3)))


def test_a_plan_that_breaks_the_constraint_is_degraded() -> None:
    """What runs may have been chosen under another objective: its worth says which promise it breaks."""
    low, mid, high = (constrained(AccuracyAtLeast(a)).decide(5.0, NOTHING).plan for a in (0.5, 0.7, 0.9))
    cases = [
        (constrained(AccuracyAtLeast(0.6)), low, "accuracy 0.5 is below 0.6"),
        (constrained(AccuracyAtLeast(0.7)), mid, ""),
        (constrained(CostAtMost(3)), high, "4 cores exceed the budget of 3"),
        (constrained(CostAtMost(4)), high, ""),
    ]
    for algorithm, plan, reason in cases:
        proposal = algorithm.evaluate(plan, 5.0)
        assert proposal is not None
        assert proposal.reason == reason
        assert proposal.status is (Status.DEGRADED if reason else Status.OPTIMAL)


def test_the_baselines_have_a_frontier_and_constraints() -> None:
    """They keep their variants, so that only cost is left to trade; an accuracy they do not have degrades them."""
    for make, variant, cost in ((fa2_low, "low", 1), (fa2_high, "high", 4)):
        built = Settings(build_solver("auto"), constraint=AccuracyAtLeast(0.8))
        algorithm = make(three_variants(), built)
        assert isinstance(algorithm, Ipa)
        (point,) = algorithm.frontier(5.0)
        assert (point.proposal.plan["a"][0].variant, point.proposal.cost) == (variant, cost)
        assert algorithm.decide(5.0, NOTHING).status is (Status.OPTIMAL if variant == "high" else Status.DEGRADED)


@pytest.mark.parametrize("solver", SOLVERS)
def test_accuracies_hardly_apart_stay_apart(solver: str) -> None:
    """Of 16 plans, some 1e-5 apart in accuracy, at costs up to 1000 cores, none is taken for another."""
    stages = tuple(
        Stage(
            name,
            tuple(make_variant(f"v{k}", 0.5 + step * k, {(cores * (k + 1), 1): (0.1, 10.0)}) for k in range(4)),
        )
        for name, step, cores in (("a", 1e-5, 1), ("b", 0.1, 100))
    )
    pipeline = Pipeline("p", stages, (("a", "b"),), slo=1.0, max_batch=1)
    algorithm = trading(pipeline, solver, AccuracyMeasure.PRODUCT, queueing=Queueing.PUBLISHED)
    found = [(point.proposal.accuracy, point.proposal.cost) for point in algorithm.frontier(20.0)]
    wanted = [
        ((0.5 + 1e-5 * a) * (0.5 + 0.1 * b), 2 * (a + 1) + 200 * (b + 1))
        for b, a in itertools.product(range(4), range(4))
    ]
    assert [cost for _, cost in found] == [cost for _, cost in wanted]
    assert [accuracy for accuracy, _ in found] == pytest.approx([accuracy for accuracy, _ in wanted], abs=1e-9)


@pytest.mark.parametrize(
    ("constraint", "running", "better", "gained", "broken"),
    [
        (CostAtMost(4), Allocation("mid", 1, 2, 1), "high", 0.2, Allocation("high", 2, 4, 1)),
        (AccuracyAtLeast(0.6), Allocation("high", 1, 4, 1), "mid", 2.0, Allocation("low", 1, 1, 1)),
    ],
)
def test_a_minimum_gain_is_counted_in_accuracy_or_cores(
    constraint: CostAtMost | AccuracyAtLeast, running: Allocation, better: str, gained: float, broken: Allocation
) -> None:
    """A switch that gains as much goes through, one that gains less is held; but a plan that breaks the constraint is
    replaced whatever that gains.
    """

    def decided(gain: float, runs: Allocation) -> Proposal:
        return MinimumGain(constrained(constraint), gain).decide(5.0, Observation(0.0, (), {"a": (runs,)}))

    taken, held = decided(gained * 0.99, running), decided(gained * 1.01, running)
    assert (taken.held, taken.plan["a"][0].variant) == (False, better)
    assert (held.held, held.plan) == (True, {"a": (running,)})
    assert not decided(100.0, broken).held


@pytest.mark.parametrize("constraint", [CostAtMost(2), AccuracyAtLeast(0.6)])
def test_starting_up_only_decides_among_plans_as_accurate_and_as_cheap(
    constraint: CostAtMost | AccuracyAtLeast,
) -> None:
    """Of twins the one that runs stays, whichever it is; a dear start is no reason to miss the goal."""
    stage = three_variants().stages[0]
    low, mid, _ = (dataclasses.replace(variant, load_time=100.0) for variant in stage.variants)
    twins = (low, mid, dataclasses.replace(mid, name="twin"))
    pipeline = dataclasses.replace(three_variants(), stages=(dataclasses.replace(stage, variants=twins),))
    weights = Weights(switching=5.0)
    algorithm = trading(pipeline, "auto", AccuracyMeasure.PRODUCT, weights=weights, constraint=constraint)
    for running in ("mid", "twin"):
        observed = Observation(0.0, (), {"a": (Allocation(running, 1, 2, 1),)})
        assert algorithm.decide(5.0, observed).plan == observed.plan
    observed = Observation(0.0, (), {"a": (Allocation("low", 1, 1, 1),)})
    assert algorithm.decide(5.0, observed).accuracy == 0.7


def test_fixed_replicas_keep_to_a_cost_and_stay_as_accurate_as_can_be() -> None:
    """RIM leaves cost aside: a least accuracy changes nothing, a limit on cost holds."""

    def chosen(constraint: CostAtMost | AccuracyAtLeast | None) -> tuple[str, float]:
        built = Settings(build_solver("auto"), baselines=Baselines(replicas={"a": 2}), constraint=constraint)
        proposal = rim(three_variants(), built).decide(5.0, NOTHING)
        return proposal.plan["a"][0].variant, proposal.cost

    assert chosen(None) == chosen(AccuracyAtLeast(0.6)) == ("high", 8)
    assert chosen(CostAtMost(5)) == ("mid", 4)
