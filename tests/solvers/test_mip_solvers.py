"""HiGHS and Gurobi take any integer program and are exact enough for tie-breaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ipa_seldon.errors import SolverError
from ipa_seldon.programs import AccuracyMeasure, IntegerProgram, MultipleChoice, Row, SolveStatus, Variable
from ipa_seldon.solvers.auto import AutoSolver
from ipa_seldon.solvers.gurobi import GurobiSolver
from ipa_seldon.solvers.highs import HighsSolver
from tests.solvers.instances import Size, large_problem

MipSolver = HighsSolver | GurobiSolver


@pytest.fixture(params=["highs", "gurobi"])
def solver(request: pytest.FixtureRequest) -> MipSolver:
    if request.param == "highs":
        return HighsSolver()
    pytest.importorskip("gurobipy")
    return GurobiSolver()


WHOLE = Variable(0, 10)


def test_any_program(solver: MipSolver) -> None:
    """Whole and continuous variables, rows bounded on either side, on both and by equality."""
    program = IntegerProgram(
        variables={"x": WHOLE, "y": WHOLE, "z": Variable(-5, 5, integer=False)},
        objective={"x": 3, "y": 2, "z": 1},
        rows=(
            Row({"x": 2, "y": 1}, upper=7.5),
            Row({"x": 1, "y": -1}, lower=-1, upper=2),
            Row({"z": 1, "x": -0.5}, lower=0, upper=0),
            Row({"y": 1}, lower=1),
        ),
    )
    solution = solver.solve(program)
    assert solution.status is SolveStatus.OPTIMAL
    assert solution.values == pytest.approx({"x": 2, "y": 3, "z": 1})
    assert solution.objective == pytest.approx(13)


def test_infeasible_program(solver: MipSolver) -> None:
    """Infeasibility is a value, also for a row without coefficients (a stage without options)."""
    for row in (Row({"x": 2}, 3, 3), Row({}, 1, 1)):
        solution = solver.solve(IntegerProgram({"x": WHOLE}, {"x": 1}, (row,)))
        assert (solution.status, solution.values) == (SolveStatus.INFEASIBLE, None)


def test_unbounded_program(solver: MipSolver) -> None:
    """A program without a best solution is a fault of its author, told as a SolverError."""
    program = IntegerProgram({"x": Variable(0, float("inf"))}, {"x": 1}, (Row({"x": 1}, lower=1),))
    with pytest.raises(SolverError, match=f"solver {solver.name}"):
        solver.solve(program)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_gap_is_closed_however_large_the_objective(solver: MipSolver, seed: int) -> None:
    """At -4,500 the solvers' usual relative gap of 1e-4 would forgive a loss of 0.45; none is forgiven."""
    problem = large_problem(Size(9, 9, 0.1), AccuracyMeasure.PRODUCT, seed)
    problem = replace(problem, penalty=tuple(penalty + 500.0 for penalty in problem.penalty))
    assert solver.choose(problem).objective == pytest.approx(AutoSolver().choose(problem).objective, abs=1e-7)


@pytest.mark.parametrize("offset", [0.0, 5000.0])
def test_tie_breaks_are_honoured(solver: MipSolver, offset: float) -> None:
    """Penalties that differ by 1e-6 decide, however large the objective: every stage takes its middle option."""
    penalty = np.array([2e-6, 1e-6, 4e-6]) + offset
    same = np.full(3, 0.9)
    stages = 6
    problem = MultipleChoice(
        (same,) * stages, (penalty,) * stages, (same,) * stages, (same[None, :],) * stages,
        paths=(tuple(range(stages)),), slo=6.0, alpha=100.0, measure=AccuracyMeasure.PRODUCT,
    )  # fmt: skip
    assert solver.choose(problem).choice == (1,) * stages


def test_time_limit_reports_the_gap() -> None:
    """A search that is cut short answers with its best choice so far and says how far from proven it is."""
    problem = large_problem(Size(20, 10), AccuracyMeasure.PRODUCT, seed=0)
    solver = HighsSolver(time_limit=1.0)
    answer = solver.choose(problem)
    assert answer.status is SolveStatus.FEASIBLE
    assert answer.choice is not None
    assert problem.feasible(answer.choice)
    assert solver.gap == answer.gap > 1e-3


@pytest.mark.parametrize("kind", [HighsSolver, GurobiSolver])
def test_time_limit_without_a_solution(kind: type[MipSolver]) -> None:
    """No time, no choice: one clear line instead of a made-up plan."""
    problem = large_problem(Size(20, 10), AccuracyMeasure.PRODUCT, seed=0)
    with pytest.raises(SolverError, match="no solution within the time limit of 0 s"):
        kind(time_limit=0).choose(problem)


def test_no_output(solver: MipSolver, capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output belongs to the command's answer: no banner, no licence text, no log."""
    solver.choose(large_problem(Size(3, 3), AccuracyMeasure.PRODUCT, seed=0))
    assert capfd.readouterr().out == ""
