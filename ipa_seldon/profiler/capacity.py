"""The most load that one pod of a variant takes within an SLO: bisection over trials of an open-loop load.

All trials of a point send the same requests with the same random gaps, only faster or slower, so that more load never
makes waits shorter; what noise is left is the machine's. A trial is long enough to tell: hundreds of requests, and as
many SLOs that an overload by the tolerance alone piles up a wait of one SLO before it ends.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np

from ipa_seldon.loadgen import Payload, RequestOutcome, RequestRecord
from ipa_seldon.loadgen.sender import Sender, Target
from ipa_seldon.profiler.bench import Bench, Effort, rounds
from ipa_seldon.profiler.clients import Clients, PointTimeoutError
from ipa_seldon.profiler.table import CapacityRow, Point

TOLERANCE = 0.04
"""How far above a capacity the load lies that was seen to be too much, as a fraction of it."""
LEAST_REQUESTS = 300
"""Requests that a trial counts at least: a p99 is then one of the four slowest."""
WARM_UP = 0.1
"""Requests before those that count, as a fraction of them."""
LOADS = 3
"""Times that a variant is loaded to tell how long that takes."""
ESTIMATE_SECONDS = 3.0
FIRST = 0.95
"""The first load to be tried, as a fraction of what the variant serves when it is never idle."""
STRIDE = 0.08
"""How far, as a fraction, the second load is from the first; then twice as far, until the capacity lies between."""
LEAST = 0.02
"""The load, as a fraction of the first estimate, at which the search for one that is not too much is given up."""
LEAD = 0.1
"""Seconds from laying out a trial to its first request."""


@dataclass(frozen=True)
class Goal:
    """``percentile`` per cent of the requests within ``slo`` seconds. A capacity is found to the fraction
    ``tolerance``; ``seed`` draws the arrivals.
    """

    slo: float
    percentile: float = 99.0
    tolerance: float = TOLERANCE
    seed: int = 0


def measure_capacity(bench: Bench, point: Point, goal: Goal, effort: Effort) -> CapacityRow:
    """The capacity of one pod, in trials of at least ``effort.seconds``; raises what ``Bench.serving`` does."""
    with bench.serving(point, effort.timeout) as clients:
        load_time = median(bench.load_seconds(point, clients) for _ in range(LOADS))
        alone = rounds(clients, Effort(ESTIMATE_SECONDS, percentile=goal.percentile))
        trials = Trials(clients, goal, alone.throughput, effort.seconds)
        capacity = 0.0
        if alone.latency <= goal.slo:
            capacity = highest_rate(trials.holds, alone.throughput, goal.tolerance)
        return CapacityRow(capacity, load_time, trials.counted)


def highest_rate(holds: Callable[[float], bool], estimate: float, tolerance: float = TOLERANCE) -> float:
    """The highest rate that was seen to hold, where one higher by the fraction ``tolerance`` or less did not; 0 when
    none above LEAST of the ``estimate`` (above 0) holds.
    """
    held, failed = 0.0, math.inf
    rate, stride = FIRST * estimate, STRIDE
    while failed > held * (1 + tolerance):
        if holds(rate):
            held = rate
        else:
            failed = rate
        if held and failed < math.inf:
            rate = (held + failed) / 2
            continue
        if failed <= LEAST * estimate:
            return 0.0
        rate *= 1 + stride if held else 1 - stride
        stride = min(2 * stride, 0.5)
    return held


class Trials:
    """Open-loop loads on ``clients``' pod, which serves about ``estimate`` requests/s when it is never idle; each is of
    ``counted`` requests, ``seconds`` or more at the estimate, after a warm-up.
    """

    def __init__(self, clients: Clients, goal: Goal, estimate: float, seconds: float) -> None:
        self._clients = clients
        self._target = Target(clients.url, goal.slo, 2 * goal.slo, clients.path)
        self._payloads = [Payload(body) for body in clients.bodies]
        self.counted = max(LEAST_REQUESTS, math.ceil(estimate * max(seconds, goal.slo / goal.tolerance)))
        self._warm_up = math.ceil(WARM_UP * self.counted)
        self._misses_allowed = int(self.counted * (100 - goal.percentile) / 100 + 1e-9)
        gaps = np.random.default_rng(goal.seed).exponential(size=self._warm_up + self.counted)
        # Few random gaps are, on average, some per cent longer or shorter than they should be: that much off the rate.
        self._arrivals = gaps.cumsum() / gaps.mean()

    def holds(self, rate: float) -> bool:
        """Whether ``rate`` requests/s meet the goal. A request that fails misses the SLO, and a trial ends once enough
        have. PointTimeoutError where there is no time for another trial.
        """
        if time.monotonic() + self._arrivals[-1] / rate > self._clients.deadline:
            raise PointTimeoutError(f"no time for a trial at {rate:.4g} requests/s")
        missed = asyncio.run(self._missed(rate))
        # It is answered when nothing that this trial has queued is left.
        self._clients.send(0)
        return missed <= self._misses_allowed

    async def _missed(self, rate: float) -> int:
        """Requests that missed the SLO, as far as it takes to tell."""
        missed, enough = 0, asyncio.Event()

        def count(record: RequestRecord) -> None:
            nonlocal missed
            missed += record.index >= self._warm_up and record.outcome is not RequestOutcome.COMPLETED
            if missed > self._misses_allowed:
                enough.set()

        due = time.time() + LEAD + self._arrivals / rate
        await Sender(self._target, self._payloads, count).send(due.tolist(), enough)
        return missed
