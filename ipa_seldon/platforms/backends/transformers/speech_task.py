"""Writes down what is said."""

from __future__ import annotations

import base64
import binascii
import io
import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import transformers
from numpy.typing import NDArray
from text_tasks import greedy, load, network_in

RATE = 16_000
"""Samples/s."""
SHORTEST = 0.1
LONGEST = 36.0
"""Seconds; no utterance of LibriSpeech is longer."""
ACCEPTED = f"base64 text of a WAV file, mono, 16 bits, {RATE} samples/s, {SHORTEST:g} to {LONGEST:g} s"

Samples = NDArray[np.float32]
"""In [-1, 1), at RATE."""


class Speech:
    """Gives the ``text`` of ``audio``: base64 text of a WAV file, because Seldon's REST executor speaks JSON only, and
    because recordings of any length can share a batch so.

    A network that encodes and decodes writes token by token; one trained by connectionist temporal classification
    names a letter, or none, for every 20 ms.
    """

    def __init__(self, folder: Path, parameters: Mapping[str, str], device: str) -> None:
        self._features = load(transformers.AutoFeatureExtractor, folder)
        self._tokenizer = load(transformers.AutoTokenizer, folder)
        writes = load(transformers.AutoConfig, folder).is_encoder_decoder
        kind = transformers.AutoModelForSpeechSeq2Seq if writes else transformers.AutoModelForCTC
        self._network = network_in(kind, folder, device)
        self._decoding = greedy(self._network, parameters) if writes else None

    def example(self) -> Samples:
        """Something to run: a second of silence."""
        return np.zeros(RATE, np.float32)

    def parse(self, row: Mapping[str, bytes]) -> Samples:
        """The samples of a row; ValueError that says what is accepted."""
        try:
            with wave.open(io.BytesIO(base64.b64decode(row["audio"], validate=True))) as recording:
                kind = recording.getnchannels(), recording.getsampwidth(), recording.getframerate()
                samples = recording.readframes(recording.getnframes())
        except (binascii.Error, wave.Error, EOFError) as error:
            raise ValueError(f"audio: {str(error) or 'ends too early'}; accepted: {ACCEPTED}") from error
        if kind != (1, 2, RATE):
            channels, width, rate = kind
            raise ValueError(f"audio: {channels} channels, {8 * width} bits, {rate} samples/s; accepted: {ACCEPTED}")
        seconds = len(samples) / 2 / RATE
        if not SHORTEST <= seconds <= LONGEST:
            raise ValueError(f"audio: {seconds:.2f} s; accepted: {ACCEPTED}")
        return np.frombuffer(samples[: len(samples) // 2 * 2], "<i2").astype(np.float32) / 2**15

    def run(self, items: list[Samples]) -> list[dict[str, bytes]]:
        """The text of each, all side by side."""
        # Each frequency is divided by its deviation, which silence does not have, nor a tone from a machine.
        with np.errstate(divide="ignore", invalid="ignore"):
            features = self._features(items, sampling_rate=RATE, padding=True, return_tensors="pt")
        features = {
            name: tensor.nan_to_num(0.0, 0.0, 0.0).to(self._network.device) for name, tensor in features.items()
        }
        if self._decoding is not None:
            tokens = self._network.generate(**features, generation_config=self._decoding)
        else:
            best = self._network(**features).logits.argmax(-1)
            # What was heard in the silence that makes a recording as long as the longest of its batch is not its own.
            frames = [int(self._network._get_feat_extract_output_lengths(len(item))) for item in items]
            tokens = [row[:own].tolist() for row, own in zip(best, frames, strict=True)]
        written = self._tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [{"text": text.strip().encode()} for text in written]
