"""Every solver picks the option that going through them one by one picks, ties included."""

from __future__ import annotations

from dataclasses import replace
from math import floor

import numpy as np
import pytest

from ipa_seldon.formulation import formulate_deadlines
from ipa_seldon.programs import Deadlines, SolveStatus
from ipa_seldon.solvers.auto import AutoSolver
from ipa_seldon.solvers.exhaustive import ExhaustiveSolver
from ipa_seldon.solvers.gurobi import GurobiSolver
from ipa_seldon.solvers.highs import HighsSolver

SEEDS = range(240)


def small_deadlines(seed: int) -> Deadlines:
    """Up to 60 options and 30 requests; every second problem on a coarse grid, so that equal options, equal deadlines
    and batches that end just in time are common. About a quarter is infeasible.
    """
    rng = np.random.default_rng(seed)
    options, requests, coarse = int(rng.integers(1, 60)), int(rng.integers(1, 30)), bool(rng.random() < 0.5)
    slots = rng.integers(1, 9, options).astype(float)
    latency = rng.integers(1, 9, options) / 8 if coarse else rng.uniform(0.1, 1, options)
    due = np.sort(rng.integers(1, 20, requests) / 4 if coarse else rng.uniform(0.2, 5, requests))
    return Deadlines(
        latency=latency,
        slots=slots,
        capacity=slots / latency,
        load=float(rng.choice([0.0, 4.0, 16.0, 64.0])),
        ahead=np.arange(requests) + (0.0 if coarse else rng.uniform(0, 4) * np.maximum(0, due - 2)),
        lead=rng.integers(0, 2, requests).astype(float),
        due=due,
    )


def one_by_one(problem: Deadlines) -> tuple[int, ...] | None:
    """Straight from the definition, with no more than floats."""
    for k, (latency, slots, capacity) in enumerate(
        zip(problem.latency.tolist(), problem.slots.tolist(), problem.capacity.tolist(), strict=True)
    ):
        requests = zip(problem.ahead.tolist(), problem.lead.tolist(), problem.due.tolist(), strict=True)
        in_time = all((lead + floor(ahead / slots) + 1) * latency <= due + 1e-9 for ahead, lead, due in requests)
        if in_time and capacity >= problem.load - 1e-9:
            return (k,)
    return None


@pytest.fixture(scope="module")
def gurobi() -> GurobiSolver:
    pytest.importorskip("gurobipy")
    return GurobiSolver()


@pytest.mark.parametrize("seed", SEEDS)
def test_solvers_agree(seed: int, gurobi: GurobiSolver) -> None:
    """Auto = highs = gurobi = exhaustive = one by one, feasible or not."""
    problem = small_deadlines(seed)
    expected = one_by_one(problem)
    for solver in (AutoSolver(), ExhaustiveSolver(), HighsSolver(), gurobi):
        answer = solver.meet(problem)
        assert answer.choice == expected, solver.name
        assert answer.status is (SolveStatus.INFEASIBLE if expected is None else SolveStatus.OPTIMAL)
        if answer.choice is not None:
            assert answer.objective == -answer.choice[0]
    assert gurobi.name == "gurobi"


def test_the_problems_cover_every_case() -> None:
    """The agreement above is about something: first options, later ones and none, 30 times each."""
    choices = [one_by_one(small_deadlines(seed)) for seed in SEEDS]
    assert min(choices.count(None), choices.count((0,)), sum(choice not in (None, (0,)) for choice in choices)) >= 30


@pytest.mark.parametrize("seed", SEEDS)
def test_redundant_requests_are_left_out_of_the_program(seed: int) -> None:
    """An option ends all requests in time when it does the tightest, of which there is at most one for each number of
    slots: with the others left out every option is as feasible as before.
    """
    problem = small_deadlines(seed)
    kept = problem.tightest
    assert len(kept) <= len(set(problem.slots.tolist()))
    assert len(formulate_deadlines(problem).rows) == 2 + len(kept)
    fewer = replace(problem, ahead=problem.ahead[kept], lead=problem.lead[kept], due=problem.due[kept])
    assert fewer.feasible.tolist() == problem.feasible.tolist()


def test_by_hand() -> None:
    """Two pods' slots end five requests in three batches; what misses is named, and the load counts."""
    problem = Deadlines(
        latency=np.array([0.5, 0.4]),
        slots=np.array([2.0, 2.0]),
        capacity=np.array([4.0, 5.0]),
        load=3.0,
        ahead=np.arange(5.0),
        lead=np.zeros(5),
        due=np.array([0.5, 0.5, 1.0, 1.2, 1.2]),
    )
    assert problem.ends(0).tolist() == [0.5, 0.5, 1.0, 1.0, 1.5]
    assert problem.missed(0).tolist() == [4]
    assert problem.missed(1).tolist() == []
    assert ExhaustiveSolver().meet(problem).choice == (1,)
    assert ExhaustiveSolver().meet(replace(problem, load=6.0)).choice is None
