"""How far waits are off: the calibrated tail and the published term against simulated queues."""

from __future__ import annotations

import sys
from itertools import product

import numpy as np
import pytest

from ipa_seldon.queueing import Queue, batch_wait, tail_wait
from tests.simulation.queues import simulated_tail


def bench_waits(capsys: pytest.CaptureFixture[str]) -> None:
    """Predicted over simulated 99th percentile of the latency, over replicas, batches, loads and gains of batching."""
    ratios: dict[str, list[float]] = {"calibrated": [], "published": []}
    for replicas, batch, load, gain in product((1, 2, 4, 12, 30), (1, 2, 4, 8), (0.3, 0.6, 0.8, 0.9, 0.95), (0.0, 0.3)):
        simulated, latency, variability, capacity = simulated_tail(replicas, batch, load, gain)
        size, count = np.array([float(batch)]), np.array([float(replicas)])
        queue = Queue(size, count, load * capacity, np.array([capacity]), np.array([variability]))
        ratios["calibrated"].append((latency + float(tail_wait(queue, 99.0)[0])) / simulated)
        ratios["published"].append((latency + float(batch_wait(size, load * capacity)[0])) / simulated)
    with capsys.disabled():
        sys.stdout.write(f"\nlatency, predicted over simulated p99 ({len(ratios['published'])} queues)\n")
        for name, values in ratios.items():
            marks = " ".join(f"p{p} {np.percentile(values, p):.2f}" for p in (0, 5, 50, 95, 100))
            sys.stdout.write(f"  {name}: {marks}\n")
