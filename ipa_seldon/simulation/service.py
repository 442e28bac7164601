"""How long batches take on one replica: the mean from a profile, and a distribution around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.pipeline import Variant
from ipa_seldon.queueing import lognormal_spread

POINTS = 4096
"""Values that stand for a distribution: its quantiles at the middles of as many equal steps."""


@dataclass(frozen=True, eq=False)
class Service:
    """A batch of k requests takes ``means[k]`` seconds (``means[0]`` is not used) times a value drawn from ``factors``,
    whose mean is 1; without factors it takes just the mean.
    """

    means: Sequence[float]
    factors: Sequence[float] | NDArray[np.float64]


Services = Mapping[tuple[str, str], Service]
"""Measured service times by (stage, variant)."""


def service_of(variant: Variant, cores: int, batch: int, percentile: float) -> Service:
    """What a profile says of batches of up to ``batch`` requests on ``cores`` cores.

    A replica that is never idle completes ``throughput`` requests/s, so a batch of k takes ``k / throughput`` seconds
    on average; the profile's latency is the same time at ``percentile``.
    """
    means = [0.0, *(size / variant.throughput(cores, size) for size in range(1, batch + 1))]
    return Service(means, lognormal(variant.latency(cores, batch) / means[batch], percentile))


def service_by_core(variant: Variant) -> Service:
    """What a capacity says of a request on a core of its own: ``1 / core_rate`` seconds, always the same, as this fits
    published capacities best (docs/simulation.md).
    """
    return Service((0.0, 1 / variant.core_rate), ())


def lognormal(ratio: float, percentile: float) -> NDArray[np.float64]:
    """Factors of mean 1 that are ``ratio`` at ``percentile``, shape (POINTS,), or none where the ratio is at most 1."""
    spread = lognormal_spread(ratio, percentile)
    if spread == 0:
        return np.empty(0)
    normal = np.array([NormalDist().inv_cdf(p) for p in _middles()])
    return _of_mean_one(np.exp(spread * normal))


def exponential() -> NDArray[np.float64]:
    """Factors of an exponential distribution of mean 1, shape (POINTS,): the M of M/M/1."""
    return _of_mean_one(-np.log1p(-_middles()))


def measured(seconds: Sequence[float]) -> NDArray[np.float64]:
    """Factors from measured service times of one variant (seconds, at least one), relative to their mean."""
    return _of_mean_one(np.asarray(seconds, dtype=float))


def measured_service(batches: Sequence[tuple[int, float]], largest: int) -> Service:
    """From size and seconds of measured batches of one variant (at least one), for batches of up to ``largest``.

    A size that was never measured takes as much per request as its neighbours, in proportion to how near they are. The
    factors are those of all sizes together.
    """
    sizes = np.array([size for size, _ in batches])
    seconds = np.array([taken for _, taken in batches])
    known = np.unique(sizes)
    per_request = [seconds[sizes == size].mean() / size for size in known]
    wanted = np.arange(largest + 1)
    means = np.interp(wanted, known, per_request) * wanted
    return Service(means.tolist(), measured((seconds / means[sizes]).tolist()))


def _middles() -> NDArray[np.float64]:
    return (np.arange(POINTS) + 0.5) / POINTS


def _of_mean_one(values: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = values / values.mean()
    return scaled
