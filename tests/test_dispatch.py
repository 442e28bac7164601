"""Turns by weight."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_seldon.dispatch import RoundRobin


def turns(robin: RoundRobin[str], count: int, healthy: str | None = None) -> list[str]:
    """The next turns, where all are healthy or those of one letter in ``healthy``."""
    return [robin.turn(healthy) for _ in range(count)]


def test_turns_are_nginxs() -> None:
    """The example of nginx's algorithm: 5, 1, 1 spreads the light ones over the heavy one's turns."""
    assert "".join(turns(RoundRobin({"a": 5, "b": 1, "c": 1}), 14)) == "aabacaa" * 2


@pytest.mark.parametrize("seed", range(50))
def test_every_cycle_has_the_exact_ratio(seed: int) -> None:
    """Of each ``sum(weights)`` turns every version has exactly its weight, whatever the scale of the weights."""
    rng = random.Random(seed)
    weights = {name: rng.randrange(10) for name in "abcde"[: rng.randint(1, 5)]} | {"x": 1}
    scale = rng.choice([1, 0.01, 1 / sum(weights.values())])
    robin = RoundRobin({name: scale * weight for name, weight in weights.items()})
    for _ in range(20):
        assert Counter(turns(robin, sum(weights.values()))) == Counter(weights)


@pytest.mark.parametrize("seed", range(50))
def test_turns_are_spread_smoothly(seed: int) -> None:
    """At no moment has any version of a random set had one turn more, or two fewer, than its share of the turns so far
    (nginx bounds the first exactly; the second is for sets of up to four).
    """
    rng = random.Random(seed)
    weights = {name: rng.uniform(0.01, 1) for name in "abcd"[: rng.randint(2, 4)]}
    robin, had = RoundRobin(weights), Counter[str]()
    for turn in range(1, 500):
        had[robin.turn()] += 1
        for name, weight in weights.items():
            assert -2 < had[name] - turn * weight / sum(weights.values()) < 1


def test_weight_zero_has_no_turn() -> None:
    """Unless all have none: then they take turns."""
    assert set(turns(RoundRobin({"a": 0, "b": 2, "c": 1}), 30)) == {"b", "c"}
    assert Counter(turns(RoundRobin({"a": 0, "b": 0}), 30)) == {"a": 15, "b": 15}


def test_unhealthy_turns_are_spread_over_the_others() -> None:
    """The healthy share what there is by their weights; a version that is back has its own share again at once."""
    robin = RoundRobin({"a": 2, "b": 1, "c": 3})
    assert Counter(turns(robin, 30, healthy="ab")) == {"a": 20, "b": 10}
    assert Counter(turns(robin, 60)) == {"a": 20, "b": 10, "c": 30}


def test_somebody_has_the_turn_always() -> None:
    """Healthy versions without weight stand in for unhealthy ones; where none is healthy the weights count."""
    assert set(turns(RoundRobin({"a": 1, "b": 0}), 10, healthy="b")) == {"b"}
    assert Counter(turns(RoundRobin({"a": 3, "b": 1, "c": 0}), 40, healthy="")) == {"a": 30, "b": 10}


@settings(deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any), st.integers(1, 300))
def test_everyone_has_its_part_after_any_number_of_turns(weights: list[int], count: int) -> None:
    """To within one turn for each of the others, and nobody without weight ever has one."""
    turns = RoundRobin(dict(enumerate(weights)))
    taken = [turns.turn() for _ in range(count)]
    for index, weight in enumerate(weights):
        assert abs(taken.count(index) - count * weight / sum(weights)) < len(weights)
        assert weight or index not in taken
    # One round is whole.
    turns = RoundRobin(dict(enumerate(weights)))
    assert [[turns.turn() for _ in range(sum(weights))].count(k) for k in range(len(weights))] == weights


@pytest.mark.parametrize("weights", [[0.0, 0.0, 0.0], [0.4, 0.4, 0.4]])
def test_equals_take_turns_in_their_order(weights: list[float]) -> None:
    """Also where nobody has any weight: somebody must serve."""
    turns = RoundRobin(dict(enumerate(weights)))
    assert [turns.turn() for _ in range(6)] == [0, 1, 2] * 2
