"""Grey images as they travel between stages: base64 text of a PNG, because Seldon's REST executor speaks JSON only."""

from __future__ import annotations

import base64
import binascii

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
FASTEST = 1
"""PNG compression level: the stages share a machine or a rack, so time is dearer than bytes."""


def decode(text: bytes) -> Image:
    """The grey image, of shape (height, width); ValueError when ``text`` is no base64 of an image."""
    try:
        packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except binascii.Error as error:
        raise ValueError(f"an image must be base64 text of a PNG: {error}") from error
    image = cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE) if packed.size else None
    if image is None:
        raise ValueError("an image must be base64 text of a PNG; these bytes are no image")
    return image


def encode(image: Image) -> bytes:
    """Base64 text of the image as PNG."""
    _, packed = cv2.imencode(".png", image, (cv2.IMWRITE_PNG_COMPRESSION, FASTEST))
    return base64.b64encode(packed.tobytes())


def as_network_input(images: list[Image]) -> NDArray[np.float32]:
    """Images of one size as float32 of shape (images, 3, height, width), with values in [-1, 1]."""
    grey = np.stack(images).astype(np.float32) / 127.5 - 1.0
    return np.repeat(grey[:, np.newaxis], 3, axis=1)
