"""Every solver finds what comparing all combinations finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_seldon.programs import AccuracyMeasure, Floats, MultipleChoice, SolveStatus
from ipa_seldon.solvers import Solver
from ipa_seldon.solvers.auto import AutoSolver
from ipa_seldon.solvers.exhaustive import ExhaustiveSolver
from ipa_seldon.solvers.gurobi import GurobiSolver
from ipa_seldon.solvers.highs import HighsSolver
from ipa_seldon.solvers.labels import label_setting
from tests.solvers.instances import CHAINS, DAGS, Paths, Size, large_problem, small_problem

SEEDS = range(240)
MEASURES = (AccuracyMeasure.SUM, AccuracyMeasure.PRODUCT)


@pytest.fixture(scope="module")
def gurobi() -> GurobiSolver:
    pytest.importorskip("gurobipy")
    return GurobiSolver()


def assert_solves(solver: Solver, problem: MultipleChoice, expected: float | None) -> None:
    """``expected`` is the optimal objective, None for an infeasible problem."""
    answer = solver.choose(problem)
    if expected is None:
        assert (answer.status, answer.choice) == (SolveStatus.INFEASIBLE, None)
        return
    assert answer.status is SolveStatus.OPTIMAL
    assert answer.gap == solver.gap == 0
    assert answer.choice is not None
    assert problem.feasible(answer.choice)
    assert answer.objective == pytest.approx(problem.objective(answer.choice), abs=1e-12)
    assert answer.objective == pytest.approx(expected, abs=1e-7)


def oracle(problem: MultipleChoice) -> float | None:
    answer = ExhaustiveSolver().choose(problem)
    return None if answer.choice is None else answer.objective


@pytest.mark.parametrize("seed", SEEDS)
def test_solvers_agree(seed: int, gurobi: GurobiSolver) -> None:
    """Auto = highs = gurobi = exhaustive on chains and DAGs, feasible or not, without a budget, with one, and with two
    for resources of which options that take less of the one take more of the other.
    """
    problem = small_problem(seed)
    expected = oracle(problem)
    for solver in (AutoSolver(), HighsSolver(), gurobi):
        assert_solves(solver, problem, expected)
    assert gurobi.name == "gurobi"


def test_the_small_problems_cover_every_case() -> None:
    """The agreement above is about something: every kind of problem occurs at least 20 times."""
    problems = [small_problem(seed) for seed in SEEDS]
    infeasible = [oracle(problem) is None for problem in problems]
    counts = {
        "infeasible": sum(infeasible),
        "feasible": len(problems) - sum(infeasible),
        "dag": sum(not problem.is_chain for problem in problems),
        "chain": sum(problem.is_chain for problem in problems),
        "budget": sum(len(problem.bounded) == 1 for problem in problems),
        "two budgets": sum(len(problem.bounded) == 2 for problem in problems),
        "two budgets, feasible": sum(
            len(problem.bounded) == 2 and not none for problem, none in zip(problems, infeasible, strict=True)
        ),
        "product": sum(problem.measure is AccuracyMeasure.PRODUCT for problem in problems),
        "sum": sum(problem.measure is AccuracyMeasure.SUM for problem in problems),
    }
    assert min(counts.values()) >= 20, counts


@st.composite
def problems(draw: st.DrawFn) -> MultipleChoice:
    paths: Paths = draw(st.sampled_from(CHAINS[:4] + DAGS[:4]))
    sizes = [draw(st.integers(1, 4)) for _ in range(1 + max(max(path) for path in paths))]

    def table(values: st.SearchStrategy[float]) -> tuple[Floats, ...]:
        return tuple(np.array([draw(values) for _ in range(size)]) for size in sizes)

    few = st.integers(0, 5).map(float)
    resources = draw(st.integers(1, 2))
    used = zip(*(table(few) for _ in range(resources)), strict=True)
    tenths = st.integers(0, 10).map(lambda k: k / 10)
    return MultipleChoice(
        accuracy=table(tenths),
        penalty=table(st.integers(-3, 9).map(float)),
        latency=table(tenths),
        used=tuple(map(np.stack, used)),
        paths=paths,
        slo=draw(st.integers(0, 25)) / 10,
        alpha=draw(st.sampled_from([0.0, 1.0, 7.0, 100.0])),
        measure=draw(st.sampled_from(MEASURES)),
        budgets=tuple(draw(st.just(np.inf) | st.integers(0, 15).map(float)) for _ in range(resources)),
    )


@given(problem=problems())
@settings(max_examples=200, deadline=None)
def test_auto_is_exact_where_ties_abound(problem: MultipleChoice) -> None:
    """Zero accuracies, equal options, gains instead of penalties and sums of tenths that just reach the SLO."""
    assert_solves(AutoSolver(), problem, oracle(problem))


@pytest.mark.parametrize("seed", SEEDS)
def test_widening_stays_exact(seed: int) -> None:
    """Rounds far too narrow, each pruned by the last one's choice, end at the optimum; one alone proves it or says
    that it cannot, and gives no wrong answer.
    """
    problem = small_problem(seed)
    expected = oracle(problem)
    widened = label_setting(problem, widths=(1, 2, 3, 10_000))
    assert widened is not None
    for answer in filter(None, (widened, label_setting(problem, widths=(1,)))):
        found = None if answer.choice is None else answer.objective
        assert found == (None if expected is None else pytest.approx(expected, abs=1e-9))


SPLIT: Paths = ((0, 1, 2, 3, 8), (0, 4, 5, 6, 7, 8))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("tight", [False, True], ids=["free", "budget"])
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("paths", [(), SPLIT], ids=["chain", "split"])
def test_auto_equals_highs_on_large_problems(paths: Paths, measure: AccuracyMeasure, tight: bool, seed: int) -> None:
    """9 stages of 24 options are beyond comparing all combinations; HiGHS still proves what auto answers."""
    problem = large_problem(Size(9, 6), measure, seed, paths, tight)
    expected = HighsSolver(time_limit=60).choose(problem)
    assert expected.status is SolveStatus.OPTIMAL
    assert_solves(AutoSolver(), problem, expected.objective)
