"""Single queues simulated to their steady state."""

from __future__ import annotations

import math

import numpy as np

from ipa_seldon.queueing import lognormal_spread
from ipa_seldon.simulation.engine import NEVER, Batching, Serving, Station
from ipa_seldon.simulation.service import Service, lognormal

RATIO = 1.3
"""The 99th percentile of a service time over its mean."""


def simulated_tail(
    replicas: int, batch: int, load: float, gain: float = 0.3, requests: int = 40_000
) -> tuple[float, float, float, float]:
    """The simulated 99th percentile of the latency (seconds), the 99th percentile of a full batch's service time, its
    squared coefficient of variation, and the capacity (requests/s).

    ``load`` is a share of the capacity. A batch of k takes ``gain + (1 - gain) k`` seconds.
    """
    means = [0.0, *(gain + (1 - gain) * size for size in range(1, batch + 1))]
    capacity = replicas * batch / means[batch]
    moments = np.cumsum(np.random.default_rng(1).exponential(1 / (load * capacity), requests))
    station = Station([NEVER] * requests, np.random.default_rng(2))
    station.reserve = -NEVER
    serving = Serving(Service(means, lognormal(RATIO, 99)), Batching(batch, (batch - 1) / capacity), 0)
    station.serve(serving, [0.0] * replicas, 0.0)
    done = station.advance(NEVER, [(moment, [x], 0) for x, moment in enumerate(moments.tolist())])
    served = [(x, ends) for ends, members, _ in done for x in members]
    latencies = np.array([ends - moments[x] for x, ends in served[requests // 10 :]])
    variability = math.exp(lognormal_spread(RATIO, 99) ** 2) - 1
    return float(np.percentile(latencies, 99)), RATIO * means[batch], variability, capacity
