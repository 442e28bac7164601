"""Profiles: measured points as they are, everything else by the published fit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_seldon.profiles import USABLE, Capacity, Measurement, Profile, throughput_of


def test_a_quadratic_is_recovered() -> None:
    """l(b) = k2 b^2 + k1 b + k0 from four points gives the same curve at an unmeasured batch (IPA)."""
    points = {
        (1, b): Measurement(0.01 * b * b + 0.05 * b + 0.1, b / (0.01 * b * b + 0.05 * b + 0.1)) for b in (1, 2, 4, 8)
    }
    profile = Profile(points)
    assert profile.latency(1, 16) == pytest.approx(0.01 * 256 + 0.8 + 0.1)
    assert profile.throughput(1, 16) == pytest.approx(16 / 3.46)
    assert profile.latency(1, 4) == points[1, 4].latency


def test_a_concave_fit_is_never_below_the_linear_one() -> None:
    """A measured curve that bends down must not promise that larger batches get faster."""
    profile = Profile({(1, b): Measurement(s, b / s) for b, s in ((1, 0.1), (2, 0.19), (4, 0.30), (8, 0.31))})
    assert profile.latency(1, 16) > profile.latency(1, 8)


def test_one_point_promises_no_gain_from_batching() -> None:
    """From a single measurement, a batch of b takes b times as long and the throughput stays."""
    profile = Profile({(2, 1): Measurement(0.2, 4.5)})
    assert profile.latency(2, 4) == pytest.approx(0.8)
    assert profile.throughput(2, 4) == pytest.approx(4.5)
    with pytest.raises(KeyError, match="no measurement on 1 cores"):
        profile.latency(1, 1)


@settings(deadline=None)
@given(
    latencies=st.lists(st.floats(1e-4, 100), min_size=1, max_size=5),
    batch=st.integers(1, 256),
)
def test_what_a_profile_promises_is_always_positive(latencies: list[float], batch: int) -> None:
    """However noisy the measurements, no latency or throughput is zero, negative or infinite."""
    profile = Profile({(1, 2**k): Measurement(s, 2**k / s) for k, s in enumerate(latencies)})
    assert 0 < profile.latency(1, batch) < float("inf")
    assert 0 < profile.throughput(1, batch) < float("inf")


def test_a_capacity_is_used_to_its_usable_share() -> None:
    """Exact points where there are any, elsewhere the line of least squares through them, but not less than 0."""
    capacity = Capacity({2: 10.0, 4: 30.0, 6: 44.0}, load_time=5.0)
    assert [capacity.usable(n) for n in (2, 4, 6)] == pytest.approx([8.0, 24.0, 35.2])
    assert list(capacity.line) == pytest.approx([8.5, -6.0])
    assert capacity.usable(5) == pytest.approx(USABLE * 36.5)
    assert Capacity({4: 2.0, 8: 10.0}, 5.0).usable(2) == 0
    assert capacity.core_rate == pytest.approx(8.5)


def test_a_single_capacity_says_nothing_of_other_cores() -> None:
    """Nothing is counted on where there is no line."""
    capacity = Capacity({4: 30.0}, load_time=5.0)
    assert (capacity.usable(4), capacity.usable(8)) == (24.0, 0.0)
    assert capacity.core_rate == 7.5


def test_throughput_on_unprofiled_cores_is_the_capacity() -> None:
    """The profile's where it was measured, whatever the capacity is."""
    profile, capacity = Profile({(1, 1): Measurement(0.1, 9.0)}), Capacity({1: 5.0, 2: 20.0}, 5.0)
    assert throughput_of(profile, capacity)(1, 1) == 9
    assert throughput_of(profile, capacity)(2, 1) == 16
    with pytest.raises(KeyError, match="no measurement on 2 cores"):
        throughput_of(profile, None)(2, 1)
