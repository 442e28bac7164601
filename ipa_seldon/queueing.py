"""Waiting-time formulas."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.pipeline import Variant
from ipa_seldon.plan import Allocation

HELD_BACK = 2.0
"""A queue gives a request up when less time is left than the service times still to come, held at this multiple of
their mean: with the mean itself every second request that leaves a full queue at the last moment would be late, having
cost as much as one in time."""


def batch_wait(batch: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """Seconds the first request of a batch waits for the others: ``q(b) = (b - 1) / lambda``, 0 without load.

    IPA (arXiv 2308.12871), the queueing model of section 4.2; charged once per stage.
    """
    return (batch - 1.0) / rate if rate > 0 else np.zeros_like(batch)


def queue_delay(variant: Variant, allocation: Allocation) -> float:
    """How long (seconds) the first request of a batch waits for the others, at most.

    ``(batch - 1) / (replicas * throughput)``: the time in which the rest of a batch arrives when the load is all the
    stage can carry. The plan charged ``(batch - 1) / load`` for that wait (IPA's queue term), which is never less.
    """
    if allocation.batch == 1:
        return 0.0
    capacity = allocation.replicas * variant.throughput(allocation.cores, allocation.batch)
    return (allocation.batch - 1) / capacity
