"""One decision, from prepared profiles to plan: options, solving, explaining; stages x variants, a binding SLO."""

from __future__ import annotations

from typing import Any

import pytest

from ipa_seldon.algorithms import Settings
from ipa_seldon.algorithms.ipa import Ipa
from ipa_seldon.bootstrap import build_solver
from ipa_seldon.experiments.decision_times import NOTHING, RATE, binding_pipeline
from ipa_seldon.plan import Status
from ipa_seldon.programs import AccuracyMeasure

SIZES = {"5x5": (5, 5), "9x9": (9, 9), "20x10": (20, 10)}
# Milliseconds a decision may take at the median on the project's 2-core reference machine; printed beside the figure.
BARS = {
    ("auto", "9x9", "sum"): 5,
    ("auto", "9x9", "product"): 15,
    ("auto", "20x10", "product"): 40,
    ("highs", "9x9", "sum"): 100,
    ("highs", "9x9", "product"): 400,
}
CASES = [
    *(("auto", size, measure) for size in SIZES for measure in ("sum", "product")),
    *(("highs", size, measure) for size in ("5x5", "9x9") for measure in ("sum", "product")),
    ("gurobi", "5x5", "sum"),
    ("gurobi", "5x5", "product"),
]


@pytest.mark.parametrize(("solver", "size", "measure"), CASES, ids=str)
def bench_decision(benchmark: Any, solver: str, size: str, measure: str) -> None:
    """Median over instances; the bar, where there is one, is printed in the extra column."""
    algorithms = []
    for seed in range(10 if solver == "auto" else 3):
        prepared = binding_pipeline(*SIZES[size], seed, AccuracyMeasure(measure))
        algorithms.append(
            Ipa(prepared.pipeline, Settings(build_solver(solver), AccuracyMeasure(measure), prepared.settings.weights))
        )
    turn = iter(range(10**9))

    def decide() -> None:
        proposal = algorithms[next(turn) % len(algorithms)].decide(RATE, NOTHING)
        assert proposal.status is Status.OPTIMAL

    benchmark.extra_info["bar_ms"] = BARS.get((solver, size, measure))
    benchmark.pedantic(decide, rounds=50 if solver == "auto" else 9, warmup_rounds=2)
