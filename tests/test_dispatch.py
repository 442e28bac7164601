"""Turns by weight."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_seldon.dispatch import RoundRobin


def test_turns_lie_evenly() -> None:
    """Nginx's own example: of seven turns five, one and one, and never five in a row."""
    turns = RoundRobin([5, 1, 1])
    assert [turns.turn() for _ in range(14)] == [0, 0, 1, 0, 2, 0, 0] * 2


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any), st.integers(1, 300))
def test_everyone_has_its_part_after_any_number_of_turns(weights: list[int], count: int) -> None:
    """To within one turn for each of the others, and nobody without weight ever has one."""
    turns = RoundRobin(weights)
    taken = [turns.turn() for _ in range(count)]
    for index, weight in enumerate(weights):
        assert abs(taken.count(index) - count * weight / sum(weights)) < len(weights)
        assert weight or index not in taken
    # One round is whole.
    turns = RoundRobin(weights)
    assert [[turns.turn() for _ in range(sum(weights))].count(k) for k in range(len(weights))] == weights


@pytest.mark.parametrize("weights", [[0.0, 0.0, 0.0], [0.4, 0.4, 0.4]])
def test_equals_take_turns_in_their_order(weights: list[float]) -> None:
    """Also where nobody has any weight: somebody must serve."""
    turns = RoundRobin(weights)
    assert [turns.turn() for _ in range(6)] == [0, 1, 2] * 2
