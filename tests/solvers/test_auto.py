"""auto answers by label-setting where that is exact, else by HiGHS, and says which."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ipa_seldon.plugins import load
from ipa_seldon.programs import AccuracyMeasure, Floats, SolveStatus
from ipa_seldon.solvers import SOLVERS, Solver
from ipa_seldon.solvers.auto import AutoSolver
from ipa_seldon.solvers.exhaustive import ExhaustiveSolver
from ipa_seldon.solvers.labels import label_setting
from tests.solvers.instances import LAYERED, Size, large_problem, small_problem, uniform_problem

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("measure", [AccuracyMeasure.SUM, AccuracyMeasure.PRODUCT])
@pytest.mark.parametrize("spread", [1.0, 0.05], ids=["different", "near-identical"])
def test_labels_answer_for_chains(measure: AccuracyMeasure, spread: float) -> None:
    """20 x 10 needs no MIP solver, not even with near-identical variants, its worst case."""
    solver = AutoSolver()
    answer = solver.choose(large_problem(Size(20, 10, spread), measure, seed=0))
    assert (answer.status, solver.name) == (SolveStatus.OPTIMAL, "labels")


def test_highs_answers_where_labels_do_not() -> None:
    """32 paths are too many respects for labels; the answer is exact all the same, and the name changes back."""
    problem = uniform_problem(LAYERED, 3, 3.0, 0)
    solver = AutoSolver()
    assert solver.choose(problem).objective == pytest.approx(ExhaustiveSolver().choose(problem).objective, abs=1e-7)
    assert solver.name == "highs"
    solver.choose(small_problem(0))
    assert solver.name == "labels"


@pytest.mark.parametrize("seed", range(10))
def test_an_infinite_slo_is_no_limit(seed: int) -> None:
    """Labels answer as comparing all combinations does where every latency is allowed."""
    problem = replace(small_problem(seed), slo=np.inf)
    answer, expected = AutoSolver().choose(problem), ExhaustiveSolver().choose(problem)
    assert answer.status is expected.status
    assert answer.objective == pytest.approx(expected.objective, abs=1e-9, nan_ok=True)


def test_a_negative_alpha_is_not_for_labels() -> None:
    """The bounds hold for alpha >= 0 only; labels decline instead of answering wrongly."""
    problem = replace(small_problem(1), alpha=-3.0, slo=100.0, budgets=(np.inf,))
    assert label_setting(problem) is None
    assert AutoSolver().choose(problem).objective == pytest.approx(
        ExhaustiveSolver().choose(problem).objective, abs=1e-7
    )


@pytest.mark.parametrize("name", SOLVERS)
def test_a_stage_without_options_is_infeasible(name: str) -> None:
    """Every solver says so, none breaks down."""
    problem = small_problem(2)

    def emptied(arrays: tuple[Floats, ...]) -> tuple[Floats, ...]:
        return (arrays[0][..., :0], *arrays[1:])

    empty = replace(
        problem,
        accuracy=emptied(problem.accuracy),
        penalty=emptied(problem.penalty),
        latency=emptied(problem.latency),
        used=emptied(problem.used),
    )
    if name == "gurobi":
        pytest.importorskip("gurobipy")
    solver: Solver = load("solver", name, SOLVERS)()
    assert solver.choose(empty).status is SolveStatus.INFEASIBLE


def test_auto_loads_no_mip_solver() -> None:
    """Start-up stays fast: deciding for a chain imports neither highspy nor gurobipy."""
    script = (
        "import sys\n"
        "from ipa_seldon.solvers.auto import AutoSolver\n"
        "from tests.solvers.instances import small_problem\n"
        "AutoSolver().choose(small_problem(0))\n"
        "assert not {'highspy', 'gurobipy', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)
