"""Solving alone, without making options: chains and a graph of two branches, with and without a budget."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pytest

from ipa_seldon.bootstrap import build_solver
from ipa_seldon.programs import AccuracyMeasure, SolveStatus
from tests.solvers.instances import Paths, Size, large_problem

SPLIT: Paths = ((0, 1, 2, 3, 8), (0, 4, 5, 6, 7, 8))
SHAPES: dict[str, tuple[Size, Paths, bool]] = {
    "chain-9x9": (Size(9, 9), (), False),
    "chain-9x9-budget": (Size(9, 9), (), True),
    "split-9x9": (Size(9, 9), SPLIT, False),
    "chain-20x10": (Size(20, 10), (), False),
    "chain-20x10-alike": (Size(20, 10, 0.05), (), False),
}
# HiGHS and Gurobi need seconds to minutes for products over 20 stages.
CASES = [
    *(("auto", shape, measure) for shape in SHAPES for measure in ("sum", "product")),
    *((solver, "chain-9x9", measure) for solver in ("highs", "gurobi") for measure in ("sum", "product")),
]


@pytest.mark.parametrize(("solver", "shape", "measure"), CASES, ids=str)
def bench_solver(benchmark: Any, solver: str, shape: str, measure: str) -> None:
    """Median over instances with a binding SLO; dominated options are left in."""
    size, paths, tight = SHAPES[shape]
    chosen = build_solver(solver)
    problems = [large_problem(size, AccuracyMeasure(measure), seed, paths, tight) for seed in range(5)]
    turn = cycle(problems)

    def solve() -> None:
        assert chosen.choose(next(turn)).status is SolveStatus.OPTIMAL

    benchmark.pedantic(solve, rounds=25 if solver == "auto" else 5, warmup_rounds=1)
