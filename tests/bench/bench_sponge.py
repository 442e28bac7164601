"""One decision of Sponge with a thousand requests queued, from the observation to an explained plan."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipa_seldon.bootstrap import build_algorithm
from ipa_seldon.config import read_config
from ipa_seldon.plan import Allocation, Observation, Status

YOLO = Path(__file__).parents[2] / "manifests" / "pipelines" / "yolo-sponge" / "pipeline.yaml"
QUEUED = 1000
CASES = [("sponge", "auto"), ("sponge-hv", "auto"), ("sponge", "highs"), ("sponge-hv", "highs")]
# Milliseconds a decision may take at the median on the project's 2-core reference machine; printed beside the figure.
BAR = 5


def observations(replicas: int, span: float) -> list[Observation]:
    """Ten seeded queues whose requests have up to ``span`` seconds left, behind so many pods."""
    rng = np.random.default_rng(11)
    running = {"yolo": (Allocation("yolov5s", replicas, 16, 8),)}
    queues = [tuple(rng.uniform(0.3, span, QUEUED).tolist()) for _ in range(10)]
    return [Observation(0.0, (), running, queue, tuple(rng.uniform(0.2, 1, 100).tolist())) for queue in queues]


@pytest.mark.parametrize(("algorithm", "solver"), CASES, ids=str)
@pytest.mark.parametrize("span", [1.0, 300.0], ids=["overload", "deadlines-kept"])
def bench_sponge(benchmark: Any, algorithm: str, solver: str, span: float) -> None:
    """Up to 16 cores and batches of 16; one pod, or up to eight of which four run."""
    built = build_algorithm(read_config(YOLO), algorithm, solver)
    turn = cycle(observations(4 if algorithm == "sponge-hv" else 1, span))
    status = Status.OPTIMAL if span > QUEUED / 20 else Status.DEGRADED

    def decide() -> None:
        assert built.decide(10.0, next(turn)).status is status

    benchmark.extra_info["bar_ms"] = BAR if solver == "auto" else None
    benchmark.pedantic(decide, rounds=200 if solver == "auto" else 10, warmup_rounds=3)
