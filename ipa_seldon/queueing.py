"""Waiting-time formulas."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.pipeline import Variant
from ipa_seldon.plan import Allocation

HELD_BACK = 2.0
"""A queue gives a request up when less time is left than the service times still to come, held at this multiple of
their mean: with the mean itself every second request that leaves a full queue at the last moment would be late, having
cost as much as one in time."""

HELD_BACK_BY_DEADLINE = 1.0
"""The same where an algorithm by deadlines plans to serve requests at the last moment: no more than the service times
themselves, or what it counts on as served in time would be given up.
"""

LET_IN = 2
"""Batches per replica that a gateway lets into a stage: one runs, one stands ready, so that no replica is ever idle."""

FULL = 0.995
"""Share of the capacity above which a wait is no longer told apart: no steady state is near."""


class Queueing(StrEnum):
    """How a plan reckons waits: ``published``, IPA's (b - 1) / lambda, or ``calibrated``, see tail_wait."""

    PUBLISHED = "published"
    CALIBRATED = "calibrated"


@dataclass(frozen=True)
class Queue:
    """Stages' queues, as arrays of one shape: the ``batch``, the ``replicas``, the ``load`` and the ``capacity`` of all
    replicas (requests/s), and the ``variability`` (squared coefficient of variation) of the time a batch takes.
    """

    batch: NDArray[np.float64]
    replicas: NDArray[np.float64]
    load: float
    capacity: NDArray[np.float64]
    variability: NDArray[np.float64]


def batch_wait(batch: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """Seconds the first request of a batch waits for the others: ``q(b) = (b - 1) / lambda``, 0 without load.

    IPA (arXiv 2308.12871), the queueing model of section 4.2; charged once per stage.
    """
    return (batch - 1.0) / rate if rate > 0 else np.zeros_like(batch)


def tail_wait(queue: Queue, percentile: float) -> NDArray[np.float64]:
    """Seconds that ``percentile`` per cent of the requests wait at most before their batch starts, shape (k,).

    ``max((b - 1) / (n h), (1 + v) / (2 (n h - lambda)) * log(P / (1 - p)))``: the longest a batch may wait to fill, or
    the exponential tail of a queue with n servers, whichever is longer. P, the chance to wait at all, is Sakasegawa's
    ``rho^(sqrt(2 (n + 1)) - 1)``; ``(1 + v) / 2`` is Allen and Cunneen's correction for service times whose squared
    coefficient of variation is v. Exact for M/M/1 but for P's power; calibrated against the simulator (`make bench`
    prints the errors). From FULL of its capacity on a queue is taken to be that full.
    """
    load = np.minimum(queue.load, FULL * queue.capacity)
    to_wait = (load / queue.capacity) ** (np.sqrt(2 * (queue.replicas + 1)) - 1)
    decay = (1 + queue.variability) / (2 * (queue.capacity - load))
    congestion = decay * np.log(np.maximum(to_wait / (1 - percentile / 100), 1.0))
    return np.maximum((queue.batch - 1) / queue.capacity, congestion)


def lognormal_spread(ratio: float, percentile: float) -> float:
    """The sigma of a lognormal distribution of mean 1 that is ``ratio`` at ``percentile``; 0 where that is at most 1.

    With z the percentile of the standard normal, ``log(ratio) = z s - s^2 / 2``. A ratio beyond what any such
    distribution reaches gets the widest that is at its highest there, s = z.
    """
    z = NormalDist().inv_cdf(percentile / 100)
    return z - sqrt(max(z * z - 2 * log(ratio), 0.0)) if ratio > 1 and z > 0 else 0.0


def queue_delay(variant: Variant, allocation: Allocation) -> float:
    """How long (seconds) the first request of a batch waits for the others, at most.

    ``(batch - 1) / (replicas * throughput)``: the time in which the rest of a batch arrives when the load is all the
    stage can carry. The plan charged ``(batch - 1) / load`` for that wait (IPA's queue term), which is never less.
    """
    if allocation.batch == 1:
        return 0.0
    capacity = allocation.replicas * variant.throughput(allocation.cores, allocation.batch)
    return (allocation.batch - 1) / capacity
