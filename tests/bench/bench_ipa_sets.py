"""One decision over sets of variants in every stage, from prepared profiles to an explained plan."""

from __future__ import annotations

from itertools import cycle, pairwise
from typing import Any

import numpy as np
import pytest

from ipa_seldon.algorithms import Settings
from ipa_seldon.algorithms.goals import CostAtMost
from ipa_seldon.algorithms.ipa import Ipa
from ipa_seldon.algorithms.ipa_sets import ipa_sets
from ipa_seldon.bootstrap import build_solver
from ipa_seldon.experiments.decision_times import NOTHING
from ipa_seldon.options import Weights
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Proposal, Status
from ipa_seldon.profiles import Measurement, Profile
from ipa_seldon.programs import AccuracyMeasure

STAGES, VARIANTS, RATE = 3, 5, 60.0
WEIGHTS = Weights(alpha=20.0 * STAGES, beta=0.5)
LIMITS = ("slo", "slo and budget", "cost_at_most")
# Milliseconds a decision may take at the median on the project's 2-core reference machine; printed beside the figure.
BAR = 1000


def variant(rng: np.random.Generator, index: int) -> Variant:
    """Heavier and more accurate with ``index``; profiled on each of 1 to 8 cores, in batches of 1, 2, 4 and 8."""
    unit = float(rng.uniform(0.02, 0.06)) * (1 + index * float(rng.uniform(0.3, 0.9)))
    points = {}
    for cores in range(1, 9):
        for batch in (1, 2, 4, 8):
            latency = unit * (0.3 + 0.7 * batch**0.9) / cores**0.8 * float(rng.uniform(0.95, 1.05))
            points[cores, batch] = Measurement(latency, batch / latency * float(rng.uniform(0.9, 1.1)))
    profile = Profile(points)
    accuracy = 0.4 + 0.12 * index + float(rng.uniform(0, 0.05))
    return Variant(f"v{index}", accuracy, index + 1, profile.cores, profile.latency, profile.throughput)


def demanding(seed: int, measure: AccuracyMeasure, limits: str) -> Ipa:
    """A chain whose SLO, and where wanted budget, lie between what the cheapest plan takes and what the best would."""
    rng = np.random.default_rng(seed)
    stages = tuple(Stage(f"s{t}", tuple(variant(rng, m) for m in range(VARIANTS))) for t in range(STAGES))
    edges = tuple(pairwise(stage.name for stage in stages))

    def alone(slo: float, weights: Weights) -> Proposal:
        chosen = Settings(build_solver("auto"), measure, weights, variable_cores=True)
        return Ipa(Pipeline("bench", stages, edges, slo), chosen).decide(RATE, NOTHING)

    shortest = sum(min(v.latency(8, 1) for v in stage.variants) for stage in stages)
    slo = shortest + 0.4 * (alone(1e9, WEIGHTS).latency - shortest)
    budget = int(alone(slo, WEIGHTS).cost + alone(slo, Weights(1e-6, 1.0, 1e-9)).cost) // 2
    pipeline = Pipeline("bench", stages, edges, slo, cores=budget if limits == "slo and budget" else None)
    constraint = CostAtMost(budget) if limits == "cost_at_most" else None
    return ipa_sets(
        pipeline, Settings(build_solver("auto"), measure, WEIGHTS, variable_cores=True, constraint=constraint)
    )


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("measure", ["sum", "product"])
def bench_sets_in_stages(benchmark: Any, measure: str, limits: str) -> None:
    """Median and worst over ten chains of 3 stages x 5 variants, shares in twentieths."""
    algorithms = cycle([demanding(seed, AccuracyMeasure(measure), limits) for seed in range(10)])

    def decide() -> None:
        assert next(algorithms).decide(RATE, NOTHING).status is Status.OPTIMAL

    benchmark.extra_info["bar_ms"] = BAR
    benchmark.pedantic(decide, rounds=30, warmup_rounds=2)
