"""Figures of plans."""

from __future__ import annotations

from ipa_seldon.plan import Allocation, allocated_cores, transition_cores

LIGHT, HEAVY = Allocation("light", 2, 1, 4, 0.25), Allocation("heavy", 3, 2, 1, 0.75)


def test_both_sides_of_a_transition_are_allocated() -> None:
    """What comes and what goes count together; a variant that is resized is there twice."""
    before, after = {"a": (LIGHT,)}, {"a": (HEAVY,)}
    assert transition_cores(before, after) == 2 + 6 == allocated_cores(before) + allocated_cores(after)
    assert transition_cores(before, {"a": (Allocation("light", 2, 2, 4),)}) == 2 + 4
    assert transition_cores({}, after) == 6
    assert transition_cores(before, {"b": (HEAVY,)}) == 2 + 6


def test_what_stays_is_allocated_once() -> None:
    """Variants that keep replicas, cores and batch count once, whatever share of the requests they get."""
    before = {"a": (LIGHT, HEAVY), "b": (LIGHT,)}
    assert transition_cores(before, before) == allocated_cores(before) == 10
    moved = {"a": (Allocation("light", 2, 1, 4, 1.0),), "b": (Allocation("light", 2, 1, 8),)}
    assert transition_cores(before, moved) == 2 + 6 + 2 + 2
