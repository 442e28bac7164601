"""Smooth weighted round robin, and the tables it comes from."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from ipa_seldon.gateway.dispatch import WHOLE, RoundRobin, read_table
from ipa_seldon.gateway.graph import Graph
from ipa_seldon.gateway.protocol import RefusedError

GRAPH = Graph("one", ("a", "b"), (), 1.0, {"a": {"1": "light", "2": "heavy"}, "b": {"1": "only"}})


def turns(robin: RoundRobin, count: int, healthy: str | None = None) -> list[str]:
    """The next turns, where all are healthy or those of one letter in ``healthy``."""
    return [robin.turn(robin.weights if healthy is None else healthy) for _ in range(count)]


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
        had[robin.turn(weights)] += 1
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


def test_tables_are_read() -> None:
    """Weights by stage and version; the whole stage is a version too; a stage without versions is as if left out."""
    table = {"a": {"1": 0.25, "2": 3, WHOLE: 0}, "b": {}}
    assert read_table(json.dumps(table).encode(), GRAPH) == {"a": {"1": 0.25, "2": 3, "*": 0}}
    assert read_table(b"{}", GRAPH) == {}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "accepted: a JSON object"),
        (b'{"c": {"1": 1}}', "stage 'c': accepted: a, b"),
        (b'{"a": 1}', "stage 'a': 1: accepted"),
        (b'{"a": {"3": 1}}', "stage 'a': version '3': accepted: *, 1, 2"),
        (b'{"a": {"1": -1}}', "version '1': -1: accepted: a finite number from 0"),
        (b'{"a": {"1": NaN}}', "version '1': nan: accepted"),
        (b'{"a": {"1": Infinity}}', "version '1': inf: accepted"),
        (b'{"a": {"1": true}}', "version '1': True: accepted"),
        (b'{"a": {"1": "0.5"}}', "version '1': '0.5': accepted"),
    ],
)
def test_wrong_tables_are_refused_in_one_line(body: bytes, words: str) -> None:
    """The line names stage, version, value, and what is accepted."""
    with pytest.raises(RefusedError) as caught:
        read_table(body, GRAPH)
    assert caught.value.status == 400
    assert words in caught.value.reason
    assert "\n" not in caught.value.reason
