"""The simulator against closed forms of queueing theory, and Little's law."""

from __future__ import annotations

import pytest

from tests.simulation.closed_forms import QUEUES, Queue, in_system, simulate

WITHIN = 0.03


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: f"{queue.name} at {queue.utilisation}")
def test_mean_wait_and_littles_law(queue: Queue) -> None:
    """The mean wait is the closed form's. Between a tenth and nine tenths of the run, the mean number in the system,
    integrated over time, is the rate times the mean time in it of those who came then, and the closed form's.
    """
    run = simulate(queue, seed=0)
    assert run.wait == pytest.approx(queue.wait, rel=WITHIN)
    window = (0.1 * run.arrivals[-1], 0.9 * run.arrivals[-1])
    inside = (run.arrivals >= window[0]) & (run.arrivals < window[1])
    number = in_system(run.arrivals, run.finished, window)
    rate = inside.sum() / (window[1] - window[0])
    assert number == pytest.approx(rate * (run.finished - run.arrivals)[inside].mean(), rel=WITHIN)
    assert number == pytest.approx(queue.rate * (queue.wait + 1.0), rel=WITHIN)
