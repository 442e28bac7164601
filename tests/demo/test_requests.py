"""Requests of the text pipeline."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from ipa_seldon.demo.requests import LINES, generated_for, lines_of, payloads, requests
from ipa_seldon.demo.runner import RECOGNISE_PIPELINE
from ipa_seldon.demo.snippets import cuttings, snippet
from ipa_seldon.errors import ConfigError


def answer(*lines: str) -> bytes:
    """What the last stage answers."""
    text = {"name": "text", "datatype": "BYTES", "shape": [1, 4], "data": [*lines, *[""] * (4 - len(lines))]}
    return json.dumps({"model_name": "recognise", "outputs": [text]}).encode()


def test_payload_carries_the_snippet_and_knows_its_lines() -> None:
    """The body is v2 JSON with the PNG as base64; lines read exactly are counted, padding is not a line."""
    first, second = payloads("image", seed=3, count=2)
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


def test_lines_are_padded_and_know_their_text() -> None:
    """The body is the tensor that the detector would hand on: a PNG as base64 for each line, then empty strings."""
    for index, payload in enumerate(payloads("lines", seed=3, count=6)):
        shown = cuttings(3, index)
        (tensor,) = json.loads(payload.body)["inputs"]
        assert (tensor["name"], tensor["shape"], tensor["datatype"]) == ("lines", [1, LINES], "BYTES")
        assert [base64.b64decode(text) for text in tensor["data"]] == [*shown.pngs, *[b""] * (LINES - len(shown.pngs))]
        assert payload.expected == len(shown.lines) == payload.matched(answer(*shown.lines))


def test_requests_are_the_payloads(toy_repository: Path) -> None:
    """The profiler sends what the load generator sends; which, the stage's tensor says, or that there is none."""
    repository = RECOGNISE_PIPELINE.parents[3] / "model_repository" / "text"
    assert [generated_for(repository, stage) for stage in ("detect", "recognise")] == ["image", "lines"]
    for tensor in ("image", "lines"):
        assert requests(tensor, 3)(2) == json.loads(payloads(tensor, 3, 3)[2].body)
    with pytest.raises(ConfigError, match="'double', which takes number, trace; accepted: a stage that takes image or"):
        generated_for(toy_repository, "double")
