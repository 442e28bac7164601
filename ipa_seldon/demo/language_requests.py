"""The requests of pipelines that read or listen: made-up texts and sounds. Nothing that is answered is scored."""

from __future__ import annotations

import base64
import io
import wave

import numpy as np
from numpy.random import Generator

from ipa_seldon.demo.vocabulary import WORDS
from ipa_seldon.gateway.messages import Message
from ipa_seldon.loadgen import Payload

LENGTH = (60, 300)
"""Words of a text, at least and at most."""
SENTENCE = (5, 16)
"""Words of a sentence; the last one may be shorter."""
SECONDS = (2.0, 6.0)
"""How long a recording is."""
RATE = 16_000
"""Samples/s."""
SYLLABLE = 0.2
"""Seconds that a tone lasts."""
VOICE = (90.0, 300.0)
"""Frequencies of its fundamental (hertz)."""
OVERTONES = 8
NOISE = 0.02
"""Standard deviation of the noise; full scale is 1."""


def text(seed: int, index: int) -> Payload:
    """Sentences of random words as the BYTES tensor ``text`` of shape [1, 1]."""
    return _payload("text", sentences(np.random.default_rng((seed, index))))


def audio(seed: int, index: int) -> Payload:
    """Random tones in noise as the BYTES tensor ``audio`` of shape [1, 1]: base64 text of a WAV file, mono, 16 bits."""
    return _payload("audio", base64.b64encode(recording(np.random.default_rng((seed, index)))).decode())


def sentences(random: Generator) -> str:
    """A text of LENGTH words."""
    left, made = int(random.integers(LENGTH[0], LENGTH[1] + 1)), []
    while left:
        words = random.choice(WORDS, min(left, int(random.integers(SENTENCE[0], SENTENCE[1] + 1))))
        made.append(f"{' '.join(words).capitalize()}.")
        left -= len(words)
    return " ".join(made)


def recording(random: Generator) -> bytes:
    """A WAV file of SECONDS: tones of a voice's pitch, with overtones, one after the other."""
    samples = round(RATE * random.uniform(*SECONDS))
    tones = random.uniform(*VOICE, 1 + samples // round(RATE * SYLLABLE))
    pitch = np.repeat(tones, round(RATE * SYLLABLE))[:samples]
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    strengths = random.uniform(0, 1, OVERTONES) / np.arange(1, OVERTONES + 1)
    sound = sum(strength * np.sin(number * phase) for number, strength in enumerate(strengths, start=1))
    heard = 0.5 * sound / strengths.sum() + NOISE * random.standard_normal(samples)
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(heard, -1, 1) * (2**15 - 1)).astype("<i2").tobytes())
    return stream.getvalue()


def _payload(tensor: str, value: str) -> Payload:
    return Payload(
        Message({"inputs": [{"name": tensor, "shape": [1, 1], "datatype": "BYTES", "data": [value]}]}).body()
    )
