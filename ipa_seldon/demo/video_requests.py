"""The requests of the video pipeline and of its classifier alone: coloured noise that is as smooth as pictures are.

What is in them is not known, and so nothing that is answered is scored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.gateway.messages import Message
from ipa_seldon.loadgen import Payload

FRAME, CROP = 640, 224
"""Pixels across and down."""
PATCHES = 12
"""Patches of a colour, across and down, that run into each other."""
GRAIN = 6.0
"""Standard deviation of the noise on top, in grey levels."""


def frame(seed: int, index: int) -> Payload:
    """One picture as the UINT8 tensor ``frame`` of shape [1, 3, FRAME, FRAME], in binary."""
    return _payload("frame", picture(seed, index, FRAME))


def crop(seed: int, index: int) -> Payload:
    """One picture as the UINT8 tensor ``crop`` of shape [1, 3, CROP, CROP], in binary."""
    return _payload("crop", picture(seed, index, CROP))


def picture(seed: int, index: int, size: int) -> NDArray[np.uint8]:
    """Channels x ``size`` x ``size``: random colours on a grid, linear in between, with grain."""
    random = np.random.default_rng((seed, index))
    colours = random.uniform(0, 255, (3, PATCHES + 1, PATCHES + 1))
    places = np.linspace(0, PATCHES, size)[:, np.newaxis]
    shares = np.clip(1 - np.abs(places - np.arange(PATCHES + 1)), 0, None)
    smooth = shares @ colours @ shares.T
    pixels = np.clip(smooth + GRAIN * random.standard_normal(smooth.shape, np.float32), 0, 255)
    return np.asarray(pixels, np.uint8)


def _payload(tensor: str, pixels: NDArray[np.uint8]) -> Payload:
    """As the official clients send it, which ask for an answer in binary unless told otherwise."""
    shape, size = [1, *pixels.shape], {"binary_data_size": pixels.nbytes}
    inputs = [{"name": tensor, "shape": shape, "datatype": "UINT8", "parameters": size}]
    return Payload(Message({"inputs": inputs, "parameters": {"binary_data_output": True}}, pixels.tobytes()).body())
