"""The oracle itself: right on a problem solved by hand, and modest about its reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ipa_seldon.errors import SolverError
from ipa_seldon.programs import AccuracyMeasure, MultipleChoice, SolveStatus
from ipa_seldon.solvers.exhaustive import CHUNK, ExhaustiveSolver
from tests.solvers.instances import Size, large_problem

# Two stages, three variants each. Within 1.0 s the pairs (0,0) (0,1) (0,2) (1,0) (1,1) (2,0) are possible.
BY_HAND = MultipleChoice(
    accuracy=(np.array([0.5, 0.81, 0.9]), np.array([0.6, 0.75, 1.0])),
    penalty=(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0])),
    latency=(np.array([0.1, 0.5, 0.8]), np.array([0.2, 0.5, 0.9])),
    used=(np.array([[1.0, 2.0, 4.0], [2.0, 0.0, 0.0]]), np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 1.0]])),
    paths=((0, 1),),
    slo=1.0,
    alpha=10.0,
    measure=AccuracyMeasure.SUM,
    budgets=(np.inf, np.inf),
)


@pytest.mark.parametrize(
    ("change", "choice", "objective"),
    [
        ({}, (1, 1), 11.6),  # 10 * (0.81 + 0.75) - 4
        ({"measure": AccuracyMeasure.PRODUCT, "alpha": 8.0}, (1, 0), 0.888),  # 8 * 0.81 * 0.6 - 3
        ({"budgets": (2.0, np.inf)}, (0, 0), 9.0),
        ({"budgets": (np.inf, 0.0)}, (1, 0), 11.1),  # the second resource rules out all but two pairs
        ({"budgets": (2.0, 1.0)}, None, None),
        ({"slo": 0.2}, None, None),
        ({"budgets": (1.0, np.inf)}, None, None),
        ({"paths": ((0,), (1,)), "alpha": 100.0}, (2, 2), 183.0),  # stages side by side: each has the whole SLO
    ],
)
def test_by_hand(change: dict[str, object], choice: tuple[int, ...] | None, objective: float | None) -> None:
    """SLO, budgets, paths and both measures, each decisive once."""
    answer = ExhaustiveSolver().choose(replace(BY_HAND, **change))  # type: ignore[arg-type]  # fields by name
    assert answer.choice == choice
    assert answer.status is (SolveStatus.INFEASIBLE if choice is None else SolveStatus.OPTIMAL)
    if objective is not None:
        assert answer.objective == pytest.approx(objective)


def test_every_chunk_counts() -> None:
    """The best of more combinations than fit one chunk is found wherever it lies."""
    sizes = (8, 8, 8, 8, 8, 8)
    last = tuple(np.arange(size, dtype=float) for size in sizes)
    zero = tuple(np.zeros(size) for size in sizes)
    used = tuple(np.zeros((1, size)) for size in sizes)
    problem = MultipleChoice(last, zero, zero, used, (tuple(range(6)),), 1.0, 1.0, AccuracyMeasure.SUM)
    assert CHUNK < 8**6
    assert ExhaustiveSolver().choose(problem).choice == (7,) * 6


def test_absurd_sizes_are_refused() -> None:
    """Beyond 20 million combinations one line says so and names the solvers that will do."""
    with pytest.raises(SolverError, match="at most 2e\\+07; use auto or highs"):
        ExhaustiveSolver().choose(large_problem(Size(9, 9), AccuracyMeasure.SUM, seed=0))
