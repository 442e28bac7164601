"""Shares as Seldon Core's whole per cent."""

from __future__ import annotations

import math
import random

import pytest

from ipa_seldon.specs.traffic import percentages, traffic_of


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({"a": 1.0}, {"a": 100}),
        ({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, {"a": 34, "b": 33, "c": 33}),
        ({"a": 0.005, "b": 0.995}, {"a": 1, "b": 99}),
        ({"a": 0.0, "b": 1.0}, {"a": 0, "b": 100}),
        ({"a": 0.674, "b": 0.326}, {"a": 67, "b": 33}),
    ],
)
def test_largest_remainders(shares: dict[str, float], expected: dict[str, int]) -> None:
    """The largest remainder is rounded up, of equal ones the first."""
    assert percentages(shares) == expected


def test_whole_per_cent_sum_to_100() -> None:
    """Whatever the shares, each is within one of its exact value."""
    chance = random.Random(3)
    for _ in range(300):
        shares = {str(index): chance.random() for index in range(chance.randint(1, 7))}
        total = sum(shares.values())
        found = percentages(shares)
        assert sum(found.values()) == 100
        assert all(math.isclose(found[name], 100 * share / total, abs_tol=1) for name, share in shares.items())


def test_a_lone_predictor_has_all() -> None:
    """Whatever its traffic states, and whoever shadows it."""
    live = {"name": "a"}
    assert traffic_of({"spec": {"predictors": [live]}}) == {"a": 100}
    assert traffic_of({"spec": {"predictors": [live, {"name": "b", "shadow": True, "traffic": 10}]}}) == {"a": 100}
