"""Load patterns and Poisson arrivals."""

from __future__ import annotations

import numpy as np
import pytest

from ipa_seldon.errors import ConfigError
from ipa_seldon.simulation.workload import PATTERNS, counted_arrivals, pattern_rates, poisson_arrivals, scaled


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("duration", [1, 20, 180, 1200])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pattern_is_a_positive_shape_up_to_scale(name: str, duration: int, seed: int) -> None:
    """Every pattern gives one positive rate a second, never above the scale, and repeats with its seed."""
    rates = pattern_rates(name, duration, scale=40.0, seed=seed)
    assert rates.shape == (duration,)
    assert rates.min() > 0
    assert rates.max() <= 40.0
    assert np.array_equal(rates, pattern_rates(name, duration, scale=40.0, seed=seed))


@pytest.mark.parametrize("seed", range(20))
def test_bursty_has_calm_then_bursts_with_calm_between(seed: int) -> None:
    """Three minutes of bursty load: calm first third, at least two bursts of 25-35 s at about 3 x, calm in between."""
    rates = pattern_rates("bursty", 180, scale=1.0, seed=seed)
    base = rates[0]
    assert np.all(rates[:60] == base)
    edges = np.flatnonzero(np.diff((rates > base).astype(int))) + 1
    starts, ends = edges[::2], edges[1::2]
    assert len(starts) == len(ends) >= 2
    assert np.all((ends - starts >= 24) & (ends - starts <= 36))
    assert np.all(starts[1:] - ends[:-1] >= 10)
    assert rates[-1] == base
    assert np.all((rates[starts] / base > 2.7) & (rates[starts] / base < 3.4))


def test_patterns_have_their_character() -> None:
    """Constant is its scale, steady loads stay near their level, high is above low, a ramp only rises, a day peaks
    inside.
    """
    made = {name: pattern_rates(name, 600, scale=1.0, seed=3) for name in PATTERNS}
    assert set(made["constant"]) == {1.0}
    assert made["steady-low"].max() < made["steady-high"].min()
    assert np.std(made["steady-high"]) < 0.1 < np.std(made["fluctuating"])
    assert np.all(np.diff(made["ramp"]) > 0)
    assert 100 < int(np.argmax(made["diurnal"])) < 550


def test_damping_divides() -> None:
    """A damped trace is the trace divided by the damping factor, times the scale."""
    assert np.allclose(scaled(np.array([8.0, 16.0]), scale=2.0, damping=4.0), [4.0, 8.0])


@pytest.mark.parametrize(
    ("name", "duration", "scale", "words"),
    [("calm", 10, 1.0, "steady-low"), ("ramp", 0, 1.0, "duration"), ("ramp", 5, 0.0, "scale")],
)
def test_bad_input_is_named(name: str, duration: int, scale: float, words: str) -> None:
    """A wrong name, duration or scale is a ConfigError that says what is accepted."""
    with pytest.raises(ConfigError, match=words):
        pattern_rates(name, duration, scale, seed=0)


def test_arrivals_are_ordered_repeatable_and_inside() -> None:
    """Arrivals ascend, lie inside the trace, and are the same for the same seed only."""
    rates = pattern_rates("fluctuating", 300, scale=30.0, seed=1)
    times = poisson_arrivals(rates, seed=5)
    assert np.all(np.diff(times) > 0)
    assert times[0] >= 0
    assert times[-1] < 300
    assert np.array_equal(times, poisson_arrivals(rates, seed=5))
    assert not np.array_equal(times[:50], poisson_arrivals(rates, seed=6)[:50])


def test_no_arrival_where_the_rate_is_zero() -> None:
    """Seconds of zero or unknown rate get no arrival, their neighbours get theirs."""
    rates = np.array([0.0, 200.0, 0.0, np.nan, 200.0, 0.0])
    seconds = set(np.floor(poisson_arrivals(rates, seed=0)).astype(int).tolist())
    assert seconds == {1, 4}
    assert len(poisson_arrivals(np.zeros(10), seed=0)) == 0
    assert len(poisson_arrivals(np.zeros(0), seed=0)) == 0


def test_negative_rate_is_refused() -> None:
    """A negative rate is a programming error, not silently clipped."""
    with pytest.raises(ValueError, match="negative"):
        poisson_arrivals(np.array([1.0, -1.0]), seed=0)


def test_gaps_are_exponential_and_independent() -> None:
    """At constant rate the gaps have the exponential distribution (Kolmogorov-Smirnov) and no serial correlation."""
    rate = 50.0
    gaps = np.diff(poisson_arrivals(np.full(400, rate), seed=11))
    ordered, n = np.sort(gaps), len(gaps)
    distance = np.max(np.abs(1 - np.exp(-rate * ordered) - np.arange(1, n + 1) / n))
    assert distance < 1.63 / np.sqrt(n)  # the 1 % critical value
    assert abs(float(np.corrcoef(gaps[:-1], gaps[1:])[0, 1])) < 3 / np.sqrt(n)


def test_counts_per_second_are_poisson_at_the_rate_of_that_second() -> None:
    """Over many seeds, each second's count has mean and variance equal to that second's rate, and seconds are
    independent.
    """
    rates = np.array([3.0, 0.5, 20.0, 8.0])
    counts = np.array(
        [np.bincount(poisson_arrivals(rates, seed=s).astype(int), minlength=4) for s in range(4000)], dtype=float
    )
    standard_error = np.sqrt(rates / len(counts))
    assert np.all(np.abs(counts.mean(axis=0) - rates) < 4 * standard_error)
    assert np.all(np.abs(counts.var(axis=0) / rates - 1) < 0.15)
    assert np.all(np.abs(np.corrcoef(counts.T) - np.eye(4)) < 0.07)


def test_counted_requests_come_in_their_seconds_at_any_moment() -> None:
    """Every second has just its count, none where nobody counted; within it moments are uniform
    (Kolmogorov-Smirnov), and a seed repeats them.
    """
    counts = np.array([3.0, 0.0, np.nan, 4000.0, 1.0])
    times = counted_arrivals(counts, seed=5)
    assert np.bincount(times.astype(int), minlength=5).tolist() == [3, 0, 0, 4000, 1]
    assert np.all(np.diff(times) >= 0)
    within = times[3:4003] - 3
    assert np.max(np.abs(within - (np.arange(4000) + 0.5) / 4000)) < 1.63 / np.sqrt(4000)  # the 1 % critical value
    assert np.array_equal(times, counted_arrivals(counts, seed=5))
    assert not np.array_equal(times, counted_arrivals(counts, seed=6))
