"""How long batches take: the mean of the profile, and a distribution around it."""

from __future__ import annotations

import numpy as np
import pytest

from ipa_seldon.pipeline import Variant
from ipa_seldon.simulation.service import exponential, lognormal, measured, service_of


@pytest.mark.parametrize("percentile", [90.0, 99.0])
@pytest.mark.parametrize("ratio", [1.05, 1.5, 2.0])
def test_a_lognormal_has_mean_one_and_the_ratio_at_its_percentile(ratio: float, percentile: float) -> None:
    """What the profile's latency says at the percentile comes out, around a mean of 1."""
    factors = lognormal(ratio, percentile)
    assert factors.mean() == pytest.approx(1.0)
    assert np.percentile(factors, percentile) == pytest.approx(ratio, rel=0.01)


def test_no_spread_where_the_profile_shows_none() -> None:
    """A tail at or below the mean, or a percentile that is no tail, leaves constant times."""
    assert len(lognormal(1.0, 99.0)) == len(lognormal(0.8, 99.0)) == len(lognormal(2.0, 50.0)) == 0


def test_exponential_factors_are_exponential() -> None:
    """Mean 1, variance nearly 1, and the median log 2."""
    factors = exponential()
    assert factors.mean() == pytest.approx(1.0)
    assert factors.var() == pytest.approx(1.0, abs=0.005)
    assert np.median(factors) == pytest.approx(np.log(2), rel=0.001)


def test_measured_factors_are_relative_to_their_mean() -> None:
    """Times of 1, 2 and 3 s are 0.5, 1 and 1.5 times their mean."""
    assert measured([1.0, 2.0, 3.0]).tolist() == [0.5, 1.0, 1.5]


def test_a_profile_gives_means_by_throughput_and_spread_by_latency() -> None:
    """Batches of 1 and 2 at 10 and 16 requests/s take 0.1 and 0.125 s; a latency of 0.15 s is 1.2 at the percentile."""
    made = Variant(
        "v", 0.5, 1, (1,), lambda _, batch: {1: 0.11, 2: 0.15}[batch], lambda _, batch: {1: 10, 2: 16}[batch]
    )
    service = service_of(made, 1, 2, 99.0)
    assert list(service.means) == [0.0, 0.1, 0.125]
    assert np.percentile(service.factors, 99) == pytest.approx(1.2, rel=0.01)
