"""The tables that say how requests are shared."""

from __future__ import annotations

import json

import pytest

from ipa_seldon.gateway.dispatch import WHOLE, read_table
from ipa_seldon.gateway.graph import Graph
from ipa_seldon.gateway.protocol import RefusedError

GRAPH = Graph("one", ("a", "b"), (), 1.0, {"a": {"1": "light", "2": "heavy"}, "b": {"1": "only"}})


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
