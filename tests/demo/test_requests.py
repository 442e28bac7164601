"""Requests of the text pipeline."""

from __future__ import annotations

import base64
import json

from ipa_seldon.demo.requests import lines_of, text_payloads
from ipa_seldon.demo.snippets import snippet


def answer(*lines: str) -> bytes:
    """What the last stage answers."""
    text = {"name": "text", "datatype": "BYTES", "shape": [1, 4], "data": [*lines, *[""] * (4 - len(lines))]}
    return json.dumps({"model_name": "recognise", "outputs": [text]}).encode()


def test_payload_carries_the_snippet_and_knows_its_lines() -> None:
    """The body is v2 JSON with the PNG as base64; lines read exactly are counted, padding is not a line."""
    first, second = text_payloads(seed=3, count=2)
    shown = snippet(3, 0)
    (tensor,) = json.loads(first.body)["inputs"]
    assert (tensor["name"], tensor["shape"], tensor["datatype"]) == ("image", [1, 1], "BYTES")
    assert base64.b64decode(tensor["data"][0]) == shown.png
    assert first.expected == len(shown.lines)
    assert first.matched(answer(*shown.lines)) == len(shown.lines)
    assert first.matched(answer("something else")) == 0
    assert second.body != first.body


def test_unreadable_answers_match_nothing() -> None:
    """An answer that is not JSON, or has no tensor ``text``, reads no line and raises nothing."""
    for body in (b"", b"{", b"[]", b'{"outputs": [{"name": "boxes", "data": [1]}]}', b'{"outputs": null}'):
        assert lines_of(body) == []
