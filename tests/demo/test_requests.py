"""Made-up requests."""

from __future__ import annotations

import base64
import io
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipa_seldon.demo.requests import ENOUGH, GENERATED, generated_for, payloads, requests
from ipa_seldon.demo.runner import RECOGNISE_PIPELINE
from ipa_seldon.demo.snippets import cuttings, snippet
from ipa_seldon.demo.text_requests import LINES, lines_of
from ipa_seldon.demo.vocabulary import WORDS
from ipa_seldon.errors import ConfigError
from ipa_seldon.gateway.messages import read_message
from ipa_seldon.loadgen import Payload

PLACES = """
name: "{name}" backend: "onnxruntime" max_batch_size: 4
input [
  {{ name: "frame" data_type: TYPE_UINT8 dims: [ 3, -1, -1 ] }},
  {{ name: "{other}" data_type: TYPE_FP32 dims: [ 1 ] {more} }}
]
output [ {{ name: "crop" data_type: TYPE_UINT8 dims: [ 3, 224, 224 ] }} ]
"""


def answer(*lines: str) -> bytes:
    """What the last stage answers."""
    text = {"name": "text", "datatype": "BYTES", "shape": [1, 4], "data": [*lines, *[""] * (4 - len(lines))]}
    return json.dumps({"model_name": "recognise", "outputs": [text]}).encode()


def only_tensor(payload: Payload) -> dict[str, Any]:
    """The one input of a request that is as it says."""
    (tensor,) = read_message(payload.body, "inputs").fields["inputs"]
    found: dict[str, Any] = tensor
    return found


def test_payload_carries_the_snippet_and_knows_its_lines() -> None:
    """The body is v2 JSON with the PNG as base64; lines read exactly are counted, padding is not a line."""
    first, second = payloads("image", seed=3, count=2)
    shown = snippet(3, 0)
    tensor = only_tensor(first)
    assert (tensor["name"], tensor["shape"], tensor["datatype"]) == ("image", [1, 1], "BYTES")
    assert base64.b64decode(tensor["data"][0]) == shown.png
    assert first.expected == len(shown.lines)
    assert first.matched(answer(*shown.lines)) == len(shown.lines)
    assert first.matched(answer("something else")) == 0
    assert second.body != first.body


def test_unreadable_answers_match_nothing() -> None:
    """An answer that is not JSON, or has no tensor ``text``, reads no line and raises nothing."""
    for body in (b"", b"{", b"[]", b'{"outputs": [{"name": "boxes", "data": [1]}]}', b'{"outputs": null}', b"{}\xff"):
        assert lines_of(body) == []


def test_lines_are_padded_and_know_their_text() -> None:
    """The body is the tensor that the detector would hand on: a PNG as base64 for each line, then empty strings."""
    for index, payload in enumerate(payloads("lines", seed=3, count=6)):
        shown = cuttings(3, index)
        tensor = only_tensor(payload)
        assert (tensor["name"], tensor["shape"], tensor["datatype"]) == ("lines", [1, LINES], "BYTES")
        assert [base64.b64decode(text) for text in tensor["data"]] == [*shown.pngs, *[b""] * (LINES - len(shown.pngs))]
        assert payload.expected == len(shown.lines) == payload.matched(answer(*shown.lines))


@pytest.mark.parametrize(("tensor", "size"), [("frame", 640), ("crop", 224)])
def test_pictures_are_binary_and_alike_in_places(tensor: str, size: int) -> None:
    """One picture per request, its bytes behind the JSON, answered in binary: neighbours differ by a few grey levels,
    places far apart by many, as in what cameras see.
    """
    payload = payloads(tensor, seed=3, count=1)[0]
    request = read_message(payload.body, "inputs")
    (told,) = request.fields["inputs"]
    assert (told["name"], told["datatype"], told["shape"]) == (tensor, "UINT8", [1, 3, size, size])
    assert request.fields["parameters"] == {"binary_data_output": True}
    pixels = np.frombuffer(request.raw or b"", np.uint8).reshape(3, size, size).astype(float)
    near, far = (np.abs(pixels[..., step:] - pixels[..., :-step]).mean() for step in (1, size // 3))
    assert near < 15
    assert far > 40


def test_texts_are_sentences_of_the_vocabulary() -> None:
    """60 to 300 words, of different numbers."""
    texts = [only_tensor(payload)["data"][0] for payload in payloads("text", seed=3, count=20)]
    counts = [len(text.split()) for text in texts]
    assert min(counts) >= 60
    assert max(counts) <= 300
    assert len(set(counts)) > 10
    assert {word.strip(".").lower() for text in texts for word in text.split()} <= set(WORDS)
    assert all(text.endswith(".") and text.count(".") >= 4 for text in texts)


def test_recordings_are_what_speech_networks_take() -> None:
    """Two to six seconds of a mono WAV of 16 bits at 16 kHz as base64: neither silent nor cut off."""
    for payload in payloads("audio", seed=3, count=4):
        with wave.open(io.BytesIO(base64.b64decode(only_tensor(payload)["data"][0]))) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 2**15
        assert 2.0 <= len(samples) / 16_000 <= 6.0
        assert 0.05 < samples.std() < 0.5
        assert np.abs(samples).max() < 0.99


@pytest.mark.parametrize("tensor", GENERATED)
def test_the_profiler_sends_what_the_load_generator_sends(tensor: str) -> None:
    """The same for the same seed and place, different for others, up to some megabytes of them."""
    sent = payloads(tensor, 3, 3)
    assert requests(tensor, 3)(2).body() == sent[2].body
    assert requests(tensor, 4)(2).body() != sent[2].body
    assert len({payload.body.content for payload in sent}) == 3
    assert all(payload.expected == 0 for payload in sent) is (tensor not in ("image", "lines"))


def test_large_requests_are_fewer() -> None:
    """A load of 200 frames would hold 250 MB: some are sent again."""
    frames = payloads("frame", 3, 200)
    assert 10 <= len(frames) < 20
    assert sum(payload.body.size for payload in frames[:-1]) < ENOUGH


def test_the_stage_says_what_it_is_sent(toy_repository: Path, tmp_path: Path) -> None:
    """By the name of its one tensor that is not optional; where nothing can be made up, that is said."""
    repository = RECOGNISE_PIPELINE.parents[3] / "model_repository" / "text"
    assert [generated_for(repository, stage) for stage in ("detect", "recognise")] == ["image", "lines"]
    with pytest.raises(ConfigError, match="'double', which takes number, trace; accepted: a stage that takes image or"):
        generated_for(toy_repository, "double")
    for name, more in (("one", "optional: true"), ("two", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.pbtxt").write_text(PLACES.format(name=name, other="threshold", more=more))
    assert generated_for(tmp_path, "one") == "frame"
    with pytest.raises(ConfigError, match="'two', which takes frame, threshold; accepted"):
        generated_for(tmp_path, "two")
