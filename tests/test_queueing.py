"""Waiting-time formulas: by hand, at their limits, and against simulated queues."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from ipa_seldon.queueing import FULL, Queue, batch_wait, lognormal_spread, tail_wait
from tests.simulation.queues import simulated_tail


def queue(load: float, replicas: int = 1, batch: int = 1, capacity: float = 10.0, variability: float = 0.0) -> Queue:
    """One stage's queue; ``capacity`` is that of all replicas."""
    one = np.ones(1)
    return Queue(one * batch, one * replicas, load, one * capacity, one * variability)


def wait(percentile: float = 99.0, **fields: float) -> float:
    return float(tail_wait(queue(**fields), percentile)[0])  # type: ignore[arg-type]  # test shorthand


def test_the_published_wait_is_one_batch_at_the_load() -> None:
    """q(b) = (b - 1) / lambda, and nothing without load (IPA)."""
    assert batch_wait(np.array([1.0, 2.0, 8.0]), 5.0).tolist() == [0.0, 0.2, 1.4]
    assert batch_wait(np.array([8.0]), 0.0).tolist() == [0.0]


def test_one_exponential_server_waits_as_m_m_1() -> None:
    """P(wait > t) = rho exp(-(mu - lambda) t): at variability 1 and one replica the formula is exact."""
    mu, load = 10.0, 8.0
    tail = wait(load=load, variability=1.0)
    assert load / mu * math.exp(-(mu - load) * tail) == pytest.approx(0.01)


def test_a_constant_service_halves_the_wait() -> None:
    """Allen and Cunneen: (1 + v) / 2."""
    assert wait(load=8.0, variability=0.0) == pytest.approx(wait(load=8.0, variability=1.0) / 2)


def test_without_congestion_a_batch_waits_to_fill() -> None:
    """(b - 1) / capacity where nearly nobody waits for a replica."""
    assert wait(load=0.0, batch=4) == pytest.approx(0.3)
    assert wait(load=1e-6, batch=1) == 0.0


def test_waits_grow_with_the_load_and_stay_finite_beyond_it() -> None:
    """Monotone up to the capacity, constant from FULL of it on."""
    waits = [wait(load=load) for load in np.linspace(0.0, 9.9, 50)]
    assert waits == sorted(waits)
    assert wait(load=10.0) == wait(load=1e9) == wait(load=10.0 * FULL)


@pytest.mark.parametrize(("replicas", "batch", "load"), list(product((1, 4, 12), (1, 2, 4), (0.6, 0.8, 0.9))))
def test_latency_with_the_tail_is_safe_and_close(replicas: int, batch: int, load: float) -> None:
    """Batch latency and tail together lie between 5 % below and 35 % above the simulated 99th percentile; the published
    term is off by up to a factor of ten (`make bench` prints the table).
    """
    simulated, latency, variability, capacity = simulated_tail(replicas, batch, load)
    predicted = latency + wait(
        load=load * capacity, replicas=replicas, batch=batch, capacity=capacity, variability=variability
    )
    assert 0.95 < predicted / simulated < 1.35


def test_the_lognormal_spread_hits_its_percentile() -> None:
    """exp(z s - s^2 / 2) is the ratio; no spread for a ratio of at most 1; the widest beyond what is possible."""
    spread = lognormal_spread(1.5, 99)
    assert math.exp(2.3263478740 * spread - spread**2 / 2) == pytest.approx(1.5)
    assert lognormal_spread(0.9, 99) == 0.0
    assert lognormal_spread(1e9, 99) == pytest.approx(2.3263478740)
