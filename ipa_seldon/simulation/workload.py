"""Load: patterns of request rates at 1 Hz, and the Poisson arrivals that follow them. Pure: a seed decides everything.

A pattern is a shape in (0, 1], one value per second; times a scale (requests/s at shape 1) it is a rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.errors import ConfigError

Floats = NDArray[np.float64]
Pattern = Callable[[int, np.random.Generator], Floats]

LONGEST = 10_000_000
"""Seconds, about four months: longer is taken for a mistake."""

_SLOT = 60
"""Seconds one burst and the calm around it take in a ``bursty`` load of three minutes or more."""


def constant(duration: int, generator: np.random.Generator) -> Floats:
    """1 all the time; nothing in it is random; shape (duration,)."""
    del generator
    return np.ones(duration)


def steady_low(duration: int, generator: np.random.Generator) -> Floats:
    """Around 0.25, wandering by a few percent; shape (duration,)."""
    return np.clip(0.25 * (1 + _wander(duration, generator)), 0.2, 0.3)


def steady_high(duration: int, generator: np.random.Generator) -> Floats:
    """Around 0.85, wandering by a few percent; shape (duration,)."""
    return np.clip(0.85 * (1 + _wander(duration, generator)), 0.7, 1.0)


def bursty(duration: int, generator: np.random.Generator) -> Floats:
    """Calm (0.3) for the first third, then at least two bursts of about three times as much, calm in between and after.

    A burst lasts 25 to 35 s where the duration is three minutes or more, and proportionally less below that.
    """
    rates = np.full(duration, 0.3)
    calm = duration / 3
    bursts = max(2, round((duration - calm) / _SLOT))
    slot = (duration - calm) / bursts
    for k in range(bursts):
        start = calm + slot * (k + generator.uniform(5, 15) / _SLOT)
        end = start + slot * generator.uniform(25, 35) / _SLOT
        rates[round(start) : round(end)] *= generator.uniform(2.8, 3.3)
    return rates


def fluctuating(duration: int, generator: np.random.Generator) -> Floats:
    """Swings between 0.1 and 1 without rest: three sines with periods of 45 to 150 s and random phases."""
    seconds = np.arange(duration)
    waves = np.zeros(duration)
    for shortest, longest, height in ((45, 60, 0.3), (70, 90, 0.6), (110, 150, 1.0)):
        period, phase = generator.uniform(shortest, longest), generator.uniform(0, 2 * np.pi)
        waves += height * np.sin(2 * np.pi * seconds / period + phase)
    return 0.1 + 0.9 * (waves / 1.9 + 1) / 2


def ramp(duration: int, generator: np.random.Generator) -> Floats:
    """From 0.1 straight up to 1; nothing in it is random."""
    del generator
    return np.linspace(0.1, 1.0, duration)


def diurnal(duration: int, generator: np.random.Generator) -> Floats:
    """One day squeezed into ``duration``: night (0.15), a morning and a higher evening peak, night again."""
    hour = 24 * np.arange(duration) / max(duration, 1)
    day = 0.7 * np.exp(-(((hour - 11) / 3) ** 2)) + 0.85 * np.exp(-(((hour - 19) / 2.5) ** 2))
    shape: Floats = np.clip((0.15 + day) * (1 + _wander(duration, generator)), 0.1, 1.0)
    return shape


PATTERNS: Mapping[str, Pattern] = {
    "constant": constant,
    "steady-low": steady_low,
    "steady-high": steady_high,
    "bursty": bursty,
    "fluctuating": fluctuating,
    "ramp": ramp,
    "diurnal": diurnal,
}


def pattern_rates(name: str, duration: int, scale: float, seed: int) -> Floats:
    """Requests per second of a named pattern, shape (duration,); ``scale`` is the rate at shape 1, about the peak.

    Raises ConfigError for an unknown name, a duration under 1 s or over LONGEST, or a scale that is not positive.
    """
    if name not in PATTERNS:
        raise ConfigError(f"pattern: {name!r} is unknown; accepted: {', '.join(PATTERNS)}")
    if not 1 <= duration <= LONGEST:
        raise ConfigError(f"duration: {duration}: accepted: whole seconds from 1 to {LONGEST}")
    if not (np.isfinite(scale) and scale > 0):
        raise ConfigError(f"scale: {scale:g} is no rate; accepted: requests/s above 0")
    return scale * PATTERNS[name](duration, np.random.default_rng(seed))


def scaled(rates: Floats, scale: float = 1.0, damping: float = 1.0) -> Floats:
    """``rates * scale / damping``. The papers replay their trace divided by a damping factor (8 for the Twitter
    windows, 3 for the steady-high one).
    """
    return rates * (scale / damping)


def poisson_arrivals(rates: Floats, seed: int) -> Floats:
    """Arrival times (seconds from the start, ascending) of a Poisson process whose rate is ``rates[k]`` in [k, k + 1).

    Cumulative exponential gaps of unit rate, mapped through the inverse of the cumulative intensity (the time-rescaling
    theorem): exact for piecewise constant rates. NaN counts as no load. Raises ValueError for a negative or infinite
    rate.
    """
    rates = np.where(np.isnan(rates), 0.0, rates)
    if np.any(rates < 0) or np.any(np.isinf(rates)):
        raise ValueError("rates must be finite and not negative")
    intensity = np.concatenate(([0.0], np.cumsum(rates)))
    # Not the stream that a pattern drew its bursts from, where both have one seed.
    points = _unit_arrivals(float(intensity[-1]), np.random.default_rng((seed, 1)))
    second = np.searchsorted(intensity, points, side="right") - 1
    times: Floats = second + (points - intensity[second]) / rates[second]
    return times


def counted_arrivals(counts: Floats, seed: int) -> Floats:
    """Arrival times (seconds from the start, ascending) of ``counts[k]`` requests in [k, k + 1), whole numbers, each at
    any moment of its second: a Poisson process whose counts are known. NaN counts as no load.
    """
    seconds = np.repeat(np.arange(len(counts)), np.nan_to_num(counts).astype(int))
    times: Floats = np.sort(seconds + np.random.default_rng((seed, 1)).random(len(seconds)))
    return times


def _unit_arrivals(end: float, generator: np.random.Generator) -> Floats:
    """Arrivals in [0, end) of a Poisson process of rate 1."""
    # Four standard deviations above the mean: nearly always the first block already reaches the end.
    block = int(end + 4 * np.sqrt(end)) + 16
    points: Floats = np.cumsum(generator.exponential(size=block))
    while points[-1] < end:
        points = np.concatenate((points, points[-1] + np.cumsum(generator.exponential(size=block))))
    return points[points < end]


def _wander(duration: int, generator: np.random.Generator) -> Floats:
    """A slow random walk pulled back to zero (AR(1), coefficient 0.9, about 4 % in standard deviation)."""
    level, levels = 0.0, np.empty(duration)
    for k, step in enumerate(generator.normal(scale=0.018, size=duration)):
        level = 0.9 * level + step
        levels[k] = level
    return levels
