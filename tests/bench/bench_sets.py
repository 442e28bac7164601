"""One decision of InfAdapter, from capacities to an explained plan; five variants."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from ipa_seldon.algorithms import SetSettings, Settings
from ipa_seldon.algorithms.infadapter import InfAdapter
from ipa_seldon.bootstrap import build_solver
from ipa_seldon.config import read_config
from ipa_seldon.plan import Allocation, Observation, Status

RESNET = Path(__file__).parents[2] / "manifests" / "pipelines" / "resnet" / "pipeline.yaml"
RUNNING = {"resnet": (Allocation("resnet50", 1, 8, 1, 0.5), Allocation("resnet152", 1, 4, 1, 0.5))}
# Milliseconds a decision may take at the median on the project's 2-core reference machine; printed beside the figure.
BARS = {20: 30, 200: 250}


@pytest.mark.parametrize("budget", BARS)
@pytest.mark.parametrize("solver", ["auto", "highs", "gurobi"])
def bench_set(benchmark: Any, solver: str, budget: int) -> None:
    """Median over loads from a twentieth of what the budget carries to nearly all of it."""
    pipeline = read_config(RESNET).pipeline
    algorithm = InfAdapter(pipeline, Settings(build_solver(solver), sets=SetSettings(budget=budget)))
    loads = cycle([budget * load for load in (1, 2, 3, 4, 5, 7, 10, 13, 16, 19)])

    def decide() -> None:
        proposal = algorithm.decide(next(loads), Observation(0.0, (), RUNNING))
        assert proposal.status is Status.OPTIMAL

    benchmark.extra_info["bar_ms"] = BARS[budget] if solver == "auto" else None
    benchmark.pedantic(decide, rounds=50 if solver == "auto" else 10, warmup_rounds=2)
