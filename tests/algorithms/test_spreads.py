"""Spreads of a load over variants: every undominated one, against all of them."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_seldon.algorithms.spreads import Parts, spreads
from ipa_seldon.programs import Floats


def random_parts(rng: np.random.Generator, units: int, criteria: int) -> Parts:
    """Nothing, and up to three parts for most numbers of units, with whole costs, so that ties abound."""
    sizes = [count for count in range(1, units + 1) for _ in range(int(rng.integers(0, 4)))]
    costs = rng.integers(0, 6, size=(criteria, len(sizes))) + rng.integers(0, 2, size=(criteria, 1)) * np.array(sizes)
    return Parts(np.array([0, *sizes]), np.hstack((np.zeros((criteria, 1)), costs.astype(float))))


def cost(parts: list[Parts], picks: tuple[int, ...]) -> tuple[float, ...]:
    """The highest of the first criterion, the sum of each other one."""
    each = [part.costs[:, pick].tolist() for part, pick in zip(parts, picks, strict=True)]
    first, *others = zip(*each, strict=True)
    return (max(first), *map(sum, others))


def every_cost(parts: list[Parts], units: int, limits: Floats) -> set[tuple[float, ...]]:
    """Of all spreads within the limits the costs that none is better than."""
    found = {
        cost(parts, picks)
        for picks in itertools.product(*(range(len(part.units)) for part in parts))
        if sum(int(part.units[pick]) for part, pick in zip(parts, picks, strict=True)) == units
    }
    within = [costs for costs in found if all(one <= most for one, most in zip(costs, limits, strict=True))]
    return {
        mine
        for mine in within
        if not any(other != mine and all(x <= y for x, y in zip(other, mine, strict=True)) for other in within)
    }


@settings(max_examples=250, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    units=st.sampled_from([1, 2, 3, 5, 10]),
    variants=st.integers(1, 3),
    criteria=st.integers(2, 5),
    limited=st.booleans(),
)
def test_spreads_are_all_that_nothing_beats(seed: int, units: int, variants: int, criteria: int, limited: bool) -> None:
    """Each undominated cost within the limits once, and no other one; every pick spreads all units."""
    rng = np.random.default_rng(seed)
    parts = [random_parts(rng, units, criteria) for _ in range(variants)]
    limits = rng.integers(3, 12, size=criteria).astype(float) if limited else np.full(criteria, np.inf)
    picks = spreads(parts, units, limits)
    costs = [cost(parts, tuple(pick)) for pick in picks.T.tolist()]
    assert len(set(costs)) == len(costs)
    assert set(costs) == every_cost(parts, units, limits)
    assert all(sum(part.units[k] for part, k in zip(parts, pick, strict=True)) == units for pick in picks.T.tolist())


def test_a_load_that_cannot_be_spread_has_no_spread() -> None:
    """Two variants that take 2 or 3 of 7 units at most, together 6: nothing is found, and nothing fails."""
    part = Parts(np.array([0, 2, 3]), np.zeros((2, 3)))
    assert spreads([part, part], 7, np.full(2, np.inf)).shape == (2, 0)
