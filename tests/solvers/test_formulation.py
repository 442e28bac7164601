"""A multiple-choice problem survives its translation to an integer program and back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipa_seldon.formulation import decode, formulate, option
from ipa_seldon.programs import AccuracyMeasure, SolveStatus
from ipa_seldon.solvers.exhaustive import ExhaustiveSolver
from ipa_seldon.solvers.highs import HighsSolver
from tests.solvers.instances import LAYERED, Size, large_problem, uniform_problem


@pytest.mark.parametrize("measure", [AccuracyMeasure.SUM, AccuracyMeasure.PRODUCT])
def test_five_stages_of_five_variants_fit_the_size_limited_licence(measure: AccuracyMeasure) -> None:
    """2,000 variables and 2,000 rows are enough, with room to spare, even when nothing was dropped before."""
    program = formulate(large_problem(Size(5, 5), measure, seed=0, tight=True))
    assert len(program.variables) < 200
    assert len(program.rows) < 200


def test_many_paths_cost_one_row_per_edge() -> None:
    """Paths multiply from layer to layer; node potentials grow only with the edges."""
    problem = replace(uniform_problem(LAYERED, 3, 3.0, 0), measure=AccuracyMeasure.SUM)
    roots, edges, one_per_stage = 2, 16, 10
    assert len(formulate(problem).rows) == roots + edges + one_per_stage < len(LAYERED)


@pytest.mark.parametrize(("slo", "feasible"), [(0.5, False), (2.8, True), (3.2, True)])
@pytest.mark.parametrize("seed", range(3))
def test_node_potentials_bound_every_path(slo: float, feasible: bool, seed: int) -> None:
    """The choice made with potentials is the best of all that meet the SLO on each of the 32 paths."""
    problem = uniform_problem(LAYERED, 3, slo, seed)
    expected, found = ExhaustiveSolver().choose(problem), HighsSolver().choose(problem)
    assert found.status is expected.status is (SolveStatus.OPTIMAL if feasible else SolveStatus.INFEASIBLE)
    if found.choice is not None:
        assert problem.feasible(found.choice)
        assert found.objective == pytest.approx(expected.objective, abs=1e-7)


def test_decoding_goes_by_index() -> None:
    """Option 1 and option 11 of stage 1 and stage 11 are never confused, whatever their names look like."""
    problem = uniform_problem((tuple(range(12)),), 12, 1e3, 0)
    choice = (11, 1, 0, 10, 2, 3, 4, 1, 11, 9, 8, 11)
    values = dict.fromkeys(formulate(problem).variables, 1e-10)
    values |= {option(stage, index): 1 - 1e-10 for stage, index in enumerate(choice)}
    assert decode(problem, values) == choice


def test_solved_values_are_the_objective() -> None:
    """The program's own objective, prefix products and all, is the objective of the decoded choice."""
    problem = large_problem(Size(5, 5), AccuracyMeasure.PRODUCT, seed=1)
    solution = HighsSolver().solve(formulate(problem))
    assert solution.values is not None
    assert solution.objective == pytest.approx(problem.objective(decode(problem, solution.values)), abs=1e-7)
