"""The recommender of the Vertical Pod Autoscaler: figures worked out by hand from upstream's formulas."""

from __future__ import annotations

import math

import pytest

from ipa_seldon.algorithms.recommender import Histogram, Minutes, Recommender

DAY = 86400


def end_of(bucket: int) -> float:
    """Where a bucket ends: the first is 0.01 cores wide, every further one 5 % wider."""
    return sum(0.01 * 1.05**n for n in range(bucket + 1))


def histogram(*samples: tuple[float, float]) -> Histogram:
    """Of (time, usage)."""
    made = Histogram()
    for time, usage in samples:
        made.add(time, usage)
    return made


@pytest.mark.parametrize(
    ("usage", "bucket"),
    [(0.0, 0), (0.0099, 0), (0.0101, 1), (0.0204, 1), (0.0206, 2), (1.0, 36), (2.0, 49), (16.0, 90)],
)
def test_usage_counts_as_the_end_of_its_bucket(usage: float, bucket: int) -> None:
    """ln(100 * 0.05 * usage + 1) / ln(1.05), rounded down: 49.1 for 2 cores, a bucket that ends at 2.093."""
    assert histogram((0, usage)).percentile(0.5) == pytest.approx(end_of(bucket))


def test_percentiles_are_of_the_weight() -> None:
    """Nine samples in ten at 1 core, all of one time: the 90th percentile is there, the 91st at 4 cores."""
    ten = histogram(*[(0.0, 4.0)], *[(0.0, 1.0)] * 9)
    assert ten.percentile(0.9) == pytest.approx(end_of(36))
    assert ten.percentile(0.91) == pytest.approx(end_of(62))


def test_a_sample_loses_half_its_weight_in_a_day() -> None:
    """Three samples at 4 cores weigh 1.5 a day later, as much as one and a half at 1 core: two outweigh them, one does
    not. Two days later they weigh 0.75, less than one.
    """
    old = [(0.0, 4.0)] * 3
    assert histogram(*old, (DAY, 1.0)).percentile(0.5) == pytest.approx(end_of(62))
    assert histogram(*old, *[(DAY, 1.0)] * 2).percentile(0.5) == pytest.approx(end_of(36))
    assert histogram(*old, (2 * DAY, 1.0)).percentile(0.5) == pytest.approx(end_of(36))


def test_what_is_recommended_is_the_90th_percentile_and_15_per_cent() -> None:
    """Of 20 samples a minute apart the last two at 4 cores: a tenth, and as the newest a little more of the weight. The
    median stays; the 95th percentile is at 4 cores too.
    """
    recommender = Recommender()
    for minute in range(20):
        recommender.add(60.0 * minute, 4.0 if minute >= 18 else 1.0)
    bounds = recommender.recommend()
    assert bounds is not None
    assert bounds.target == pytest.approx(1.15 * end_of(62))
    days = 19 / 1440
    assert bounds.lower == pytest.approx(1.15 * end_of(36) / (1 + 0.001 / days) ** 2)
    assert bounds.upper == pytest.approx(1.15 * end_of(62) * (1 + 1 / days))


@pytest.mark.parametrize(
    ("minutes", "lower", "upper"),
    [(5, 0.603, 289), (30, 0.91, 49), (60, 0.954, 25), (720, 0.997, 3), (1440, 0.998, 2), (10080, 1.0, 1.143)],
)
def test_bounds_close_in_as_history_grows(minutes: int, lower: float, upper: float) -> None:
    """The multipliers that upstream states, to another digit: 0.6, 0.9, 0.95 after 5, 30 and 60 minutes for the lower
    bound, 3, 2 and 1.14 after 12 and 24 hours and a week for the upper one.
    """
    recommender = Recommender()
    for minute in range(minutes + 1):
        recommender.add(60.0 * minute, 2.0)
    bounds = recommender.recommend()
    assert bounds is not None
    assert bounds.lower / bounds.target == pytest.approx(lower, abs=0.001)
    assert bounds.upper / bounds.target == pytest.approx(upper, abs=0.001)


def test_few_samples_are_little_history() -> None:
    """Two samples a week apart are two minutes of it."""
    recommender = Recommender()
    for time in (0.0, 7.0 * DAY):
        recommender.add(time, 2.0)
    bounds = recommender.recommend()
    assert bounds is not None
    assert bounds.upper == pytest.approx(bounds.target * (1 + 1440 / 2))


def test_without_history_nothing_is_out_of_bounds() -> None:
    """Nothing is recommended before the first sample; one gives a target, and bounds that hold anything."""
    recommender = Recommender()
    assert recommender.recommend() is None
    recommender.add(1.7e9, 2.0)
    bounds = recommender.recommend()
    assert bounds is not None
    assert (bounds.lower, bounds.upper) == (0.0, math.inf)
    assert bounds.target == pytest.approx(1.15 * end_of(49))


def test_minutes_are_means_of_what_was_measured() -> None:
    """A minute counts when it has ended; seconds without a value are left out, minutes without any too."""
    minutes = Minutes()
    assert list(minutes.take(90, [*[1.0] * 30, *[5.0] * 30])) == [(0.0, 1.0)]  # seconds 30 to 89
    assert list(minutes.take(120, [7.0] * 15 + [math.nan] * 15)) == [(60.0, (30 * 5 + 15 * 7) / 45)]
    assert list(minutes.take(180, [math.nan] * 60)) == []
    assert list(minutes.take(300, [2.0] * 120)) == [(180.0, 2.0), (240.0, 2.0)]


def test_every_second_counts_once() -> None:
    """Observations that overlap, repeat or come late change nothing."""
    values = [float(second % 7) for second in range(600)]
    once = list(Minutes().take(600, values))
    again, minutes = [], Minutes()
    for end in [*range(10, 610, 10), 600, 300]:
        again += list(minutes.take(end, values[max(0, end - 140) : end]))
    assert len(once) == 10
    assert again == once
