"""The network between clients and server: how long requests are on it, and what of their SLO it leaves. Pure and
seeded.

Every request has the whole bandwidth to itself: each comes from a client of its own (Sponge, EuroMLSys 2024).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.errors import ConfigError
from ipa_seldon.simulation.pipeline import Requests

Floats = NDArray[np.float64]

LONGEST = 86_400
"""Seconds that a request may take over the network at its mean bandwidth; longer is taken for a mistake."""

# The 4G downlink of a phone on a bus, as measured in a log of 360 s, in bytes/s: mean, standard deviation, least and
# most (in MiB/s 0.41 to 6.67: Sponge publishes 0.4 to 6.7). Its distribution is close to normal (skewness 0.31,
# kurtosis 2.8), its autocorrelation over k = 1 to 20 s close to 0.78 * 0.84**k (0.67, 0.55, 0.45 for 1, 2, 3 s): a slow
# part that goes by places, and a fast one without memory.
MEAN, DEVIATION, LEAST, MOST = 3.475e6, 1.274e6, 0.432e6, 6.999e6
SLOW, MEMORY = 0.78, 0.84
FAST = 1 - SLOW


@dataclass(frozen=True)
class Movement:
    """How a client moves: ``slow``, what places add to the variance, as a share of that on a bus, and ``memory``, how
    much of what a place does is left in the next second (a correlation).
    """

    slow: float
    memory: float


PATTERNS: Mapping[str, Movement] = {
    "4g-bus": Movement(SLOW, MEMORY),
    # Not measured. On foot (5 km/h) the same places pass more slowly than in a bus (18 km/h)...
    "4g-foot": Movement(SLOW, MEMORY ** (5 / 18)),
    # ... and at rest, at a place of the same mean, only the fast part is left.
    "4g-static": Movement(0.0, 0.0),
}

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "KiB": 2**10, "MiB": 2**20}
_SIZE = r"(\d+\.?\d*)\s*([KM]i?B|B)"
_PART = re.compile(rf"\s*{_SIZE}(?:-{_SIZE})?(?::(\d+\.?\d*))?\s*")


@dataclass(frozen=True)
class SizeRange:
    """Requests of ``least`` to ``most`` bytes, each size alike; ``weight``: how many of them beside other ranges."""

    least: float
    most: float
    weight: float


def pattern_bandwidth(name: str, duration: int, seed: int) -> Floats:
    """Bytes/s of each second of a named pattern, shape (duration,), from LEAST to MOST.

    An autoregressive part of order 1 and white noise, both normal: the mean is MEAN, the variance ``slow`` + FAST of
    DEVIATION squared, the autocovariance over k seconds ``slow * memory**k`` of it, but for what the limits take (on a
    bus about 1 % of the deviation). ConfigError for an unknown name.
    """
    if name not in PATTERNS:
        raise ConfigError(
            f"network: {name!r}: accepted: a CSV file 'second,bytes_per_second', or one of {', '.join(PATTERNS)}"
        )
    movement = PATTERNS[name]
    # Not the streams of load, arrivals and service times, where all have one seed.
    generator = np.random.default_rng((seed, 4))
    slow = movement.slow**0.5 * _autoregression(movement.memory, duration, generator)
    fast = FAST**0.5 * generator.normal(size=duration)
    bandwidth: Floats = np.clip(MEAN + DEVIATION * (slow + fast), LEAST, MOST)
    return bandwidth


def sizes_of(text: str) -> tuple[SizeRange, ...]:
    """The sizes that requests have: ``200KB``, ``100KB-500KB``, or several of these with commas between, each with a
    weight where they are not alike, ``200KB:3,500KB:1``. Units are B, KB and MB (of 1000), KiB and MiB (of 1024).

    ConfigError for anything else.
    """
    sizes = []
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise _no_size(part)
        least, unit, most, unit_of_most, weight = match.groups()
        smallest = float(least) * _UNITS[unit]
        largest = float(most) * _UNITS[unit_of_most] if most else smallest
        sizes.append(SizeRange(smallest, largest, float(weight or 1)))
        if not (0 < smallest <= largest < inf and 0 < sizes[-1].weight < inf):
            raise _no_size(part)
    return tuple(sizes)


def _no_size(part: str) -> ConfigError:
    return ConfigError(
        f"size: {part.strip()!r}: accepted: bytes above 0 such as 200KB, from-to such as 100KB-500KB, "
        "or several with commas between and weights, 200KB:3,500KB:1"
    )


@dataclass(frozen=True, eq=False)
class Network:
    """``bandwidth`` (bytes/s of each second, repeated from its start when it ends) for requests of ``sizes``.

    ConfigError where a request takes more than LONGEST at the mean bandwidth, or for ever.
    """

    bandwidth: Floats
    sizes: tuple[SizeRange, ...]

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):
            mean = float(self.bandwidth.mean())
        largest = max(size.most for size in self.sizes)
        if not (isfinite(mean) and largest <= LONGEST * mean):
            raise ConfigError(
                f"network: {mean:g} bytes/s on average for requests of {largest:g} bytes; "
                "accepted: what brings them over within a day"
            )

    def transfers(self, times: Floats, seed: int) -> Floats:
        """Seconds on the network of requests sent at ``times`` (seconds from the start, any order); ``seed`` decides
        their sizes.
        """
        return transfer_times(self.bandwidth, times, self._drawn(len(times), seed))

    def requests(self, times: Floats, slo: float, seed: int) -> Requests:
        """What requests sent at ``times`` are for the server: they come by their time on the network later, with what
        it left of the ``slo`` (seconds), which may be nothing or less.
        """
        transfers = self.transfers(times, seed)
        order = np.argsort(times + transfers, kind="stable")
        return Requests((times + transfers)[order], (slo - transfers)[order])

    def _drawn(self, count: int, seed: int) -> Floats:
        """Sizes in bytes, shape (count,)."""
        generator = np.random.default_rng((seed, 5))
        weights = np.array([size.weight for size in self.sizes])
        chosen = generator.choice(len(self.sizes), count, p=weights / weights.sum())
        ranges = np.array([(size.least, size.most) for size in self.sizes])[chosen]
        drawn: Floats = generator.uniform(ranges[:, 0], ranges[:, 1])
        return drawn


def transfer_times(bandwidth: Floats, times: Floats, sizes: Floats) -> Floats:
    """Seconds until ``sizes`` bytes (above 0) sent at ``times`` (>= 0) are over, arrays of shape (n,).

    What passes from a moment on is the integral of ``bandwidth`` (bytes/s, ``bandwidth[k]`` in [k, k + 1), from its
    start again after its last second): a transfer spans as many seconds as it needs, and waits through those of 0.
    Published is size / bandwidth(t), which holds the bandwidth of the first moment for the whole transfer.
    """
    lap = len(bandwidth)
    passed = np.concatenate(([0.0], np.cumsum(bandwidth)))
    laps, within = np.divmod(times, lap)
    goal = laps * passed[-1] + np.interp(within, np.arange(lap + 1), passed) + sizes
    # The lap in which the last byte passes, and how many bytes of that lap it is: above 0, up to all of them.
    laps = np.ceil(goal / passed[-1]) - 1
    rest = np.clip(goal - laps * passed[-1], np.finfo(float).tiny, passed[-1])
    second = np.searchsorted(passed, rest, side="left") - 1
    over = laps * lap + second + (rest - passed[second]) / bandwidth[second]
    lasted: Floats = np.maximum(over - times, 0.0)
    return lasted


def _autoregression(memory: float, duration: int, generator: np.random.Generator) -> Floats:
    """``duration`` values of mean 0 and variance 1, each ``memory`` times the one before and fresh noise."""
    level, levels = generator.normal(), np.empty(duration)
    for k, step in enumerate(generator.normal(scale=(1 - memory**2) ** 0.5, size=duration)):
        level = memory * level + step
        levels[k] = level
    return levels
