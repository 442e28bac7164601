"""Dominance: what nothing beats, against the definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_seldon.dominance import beats, undominated


@settings(max_examples=80, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), criteria=st.integers(1, 5), rows=st.sampled_from([0, 1, 25, 64, 150]))
def test_only_rows_that_something_beats_are_dropped(seed: int, criteria: int, rows: int) -> None:
    """A dropped row has a kept one at least as good in all criteria, no kept row has; of equals the first stays."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 5 if rows < 100 else 12, size=(criteria, rows)).astype(float)
    found = undominated(list(values)).tolist()
    kept = set(found)
    assert found == sorted(kept)
    for row in range(rows):
        beaten_by = [k for k in kept if k != row and (values[:, k] <= values[:, row]).all()]
        assert bool(beaten_by) == (row not in kept)
        if row in kept:
            assert not any((values[:, k] == values[:, row]).all() for k in range(row))


def test_more_rows_than_are_compared_at_a_time() -> None:
    """5000 rows in three criteria keep exactly those that no row is better than, as an array comparison says."""
    values = np.random.default_rng(3).integers(0, 60, size=(3, 5000)).astype(float)
    different = np.unique(values, axis=1)
    better = (different[:, :, None] <= different[:, None, :]).all(axis=0)
    np.fill_diagonal(better, False)
    wanted = different[:, ~better.any(axis=0)]
    found = values[:, undominated(list(values))]
    assert np.array_equal(found[:, np.lexsort(found[::-1])], wanted)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), rivals=st.sampled_from([0, 1, 63, 64, 65, 200]), points=st.sampled_from([0, 1, 40]))
def test_a_point_is_beaten_by_any_rival_as_good(seed: int, rivals: int, points: int) -> None:
    """Exactly the points that some rival equals or betters in every criterion; ties count, no rival beats nothing."""
    rng = np.random.default_rng(seed)
    one, other = (rng.integers(0, 6, size=(3, count)).astype(float) for count in (rivals, points))
    wanted = [bool((one <= other[:, [k]]).all(axis=0).any()) for k in range(points)]
    assert beats(one, other).tolist() == wanted
