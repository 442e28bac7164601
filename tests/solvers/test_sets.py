"""Every solver finds the set of variants that comparing all of them finds, also among equals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ipa_seldon.errors import SolverError
from ipa_seldon.formulation import formulate_set
from ipa_seldon.programs import SolveStatus, VariantSet
from ipa_seldon.solvers.auto import AutoSolver
from ipa_seldon.solvers.exhaustive import ExhaustiveSolver
from ipa_seldon.solvers.gurobi import GurobiSolver
from ipa_seldon.solvers.highs import HighsSolver
from ipa_seldon.solvers.sets import set_labels
from tests.solvers.sets import limited_set, small_set

SEEDS = range(240)

# Two variants; the accurate one takes a quarter of the load per core, the other half of it.
BY_HAND = VariantSet(
    accuracy=np.array([0.9, 0.5]),
    portion=(np.array([0.0, 0.25, 0.5, 0.75, 1.0]), np.array([0.0, 0.5, 1.0])),
    cores=(np.arange(5.0), np.arange(3.0)),
    penalty=(0.05 * np.arange(5), 0.05 * np.arange(3)),
    loading=(np.array([0.0, 1, 1, 1, 1]), np.array([0.0, 0.5, 0.5])),
    alpha=1.0,
    gamma=0.0,
    budget=4.0,
)


@pytest.fixture(scope="module")
def gurobi() -> GurobiSolver:
    pytest.importorskip("gurobipy")
    return GurobiSolver()


@pytest.mark.parametrize("make", [small_set, limited_set])
@pytest.mark.parametrize("seed", SEEDS)
def test_solvers_agree(seed: int, make: Callable[[int], VariantSet], gurobi: GurobiSolver) -> None:
    """Auto = highs = gurobi = exhaustive, feasible or not: the very same choice, whatever ties there are."""
    problem = make(seed)
    expected = ExhaustiveSolver().share(problem)
    for solver in (AutoSolver(), HighsSolver(), gurobi):
        answer = solver.share(problem)
        assert (answer.status, answer.choice) == (expected.status, expected.choice), solver.name
        if answer.choice is not None:
            assert problem.feasible(answer.choice)
            assert answer.objective == problem.objective(answer.choice)
    assert gurobi.name == "gurobi"


def test_the_small_sets_cover_every_case() -> None:
    """The agreement above is about something: sets of one, two and more, and infeasible loads, 10 times each, where
    there are limits too; and these change the choice 30 times.
    """
    chosen = {}
    for make in (small_set, limited_set):
        answers = chosen[make] = [ExhaustiveSolver().share(make(seed)).choice for seed in SEEDS]
        sizes = [np.count_nonzero(choice) if choice else 0 for choice in answers]
        assert min(np.bincount(np.minimum(sizes, 3))) >= 10, np.bincount(sizes)
    assert sum(one != other for one, other in zip(*chosen.values(), strict=True)) >= 30


@pytest.mark.parametrize("make", [small_set, limited_set])
@pytest.mark.parametrize("seed", SEEDS)
def test_widening_stays_exact(seed: int, make: Callable[[int], VariantSet]) -> None:
    """Rounds far too narrow, each pruned by the last one's choice, end at the optimum; one alone proves it or says
    that it cannot, and gives no wrong answer.
    """
    problem = make(seed)
    expected = ExhaustiveSolver().share(problem).choice
    widened = set_labels(problem, widths=(1, 2, 3, 10_000))
    assert widened is not None
    assert widened.choice == expected
    alone = set_labels(problem, widths=(1,))
    assert alone is None or alone.choice == expected


@pytest.mark.parametrize(
    ("change", "choice", "objective"),
    [
        ({}, (4, 0), 0.7),  # 0.9 - 4 * 0.05
        ({"budget": 3.0}, (2, 1), 0.55),  # (0.9 + 0.5) / 2 - 3 * 0.05
        ({"budget": 3.0, "gamma": 0.4}, (0, 2), 0.2),  # 0.5 - 2 * 0.05 - 0.4 * 0.5
        ({"budget": 1.0}, None, None),
        ({"budget": 3.0, "pods": 1}, (0, 2), 0.4),  # 0.5 - 2 * 0.05
        (
            {"budget": 3.0, "cores": (np.arange(5.0), np.array([0.0, 0, 2]))},
            (3, 1),
            0.6,
        ),  # 0.75 * 0.9 + 0.25 * 0.5 - 0.2
        ({"budget": 2.0, "cores": (np.arange(5.0), np.array([0.0, 0, 2]))}, (2, 1), 0.55),
    ],
)
def test_by_hand(change: dict[str, Any], choice: tuple[int, ...] | None, objective: float | None) -> None:
    """Accuracy, cores, loading, the number of pods and what runs already, each decisive once."""
    answer = ExhaustiveSolver().share(replace(BY_HAND, **change))
    assert answer.choice == choice
    assert answer.status is (SolveStatus.INFEASIBLE if choice is None else SolveStatus.OPTIMAL)
    if objective is not None:
        assert answer.objective == pytest.approx(objective)


def test_the_accurate_take_what_they_sustain() -> None:
    """Shares sum to 1, also where the pods take a part of the load only."""
    assert BY_HAND.shares((3, 2)).tolist() == [0.75, 0.25]
    assert BY_HAND.shares((1, 1)).tolist() == pytest.approx([1 / 3, 2 / 3])


def test_near_choices_differ_in_two_variants() -> None:
    """Every pair of options; with a single variant each of its options."""
    (picks,) = BY_HAND.near((1, 1))
    assert picks.shape == (2, 15)
    alone = replace(BY_HAND, accuracy=np.array([0.9]), portion=BY_HAND.portion[:1], cores=BY_HAND.cores[:1])
    assert [near.tolist() for near in alone.near((2,))] == [[[0, 1, 2, 3, 4]]]


def test_a_program_holds_a_set() -> None:
    """The integer program's optimum is the choice's objective, in its scale."""
    solution = HighsSolver().solve(formulate_set(BY_HAND))
    assert solution.objective == pytest.approx(1e3 * 0.7)


def test_absurd_sizes_are_refused() -> None:
    """Beyond 20 million combinations one line says so and names the solvers that will do."""
    many = np.arange(400.0)
    large = VariantSet(
        np.array([0.9, 0.8, 0.7]), (many / 400,) * 3, (many,) * 3, (many / 400,) * 3, (many * 0,) * 3, 1.0, 0.0, 400.0
    )
    with pytest.raises(SolverError, match="at most 2e\\+07; use auto or highs"):
        ExhaustiveSolver().share(large)


def test_auto_asks_highs_where_labels_give_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is exact all the same, and the name says whose it is."""
    monkeypatch.setattr("ipa_seldon.solvers.auto.set_labels", lambda _: None)
    solver = AutoSolver()
    assert solver.share(BY_HAND).choice == (4, 0)
    assert solver.name == "highs"
