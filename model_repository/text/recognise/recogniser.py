"""Reads upright text lines with a recogniser trained by connectionist temporal classification, decoded greedily."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from images import Image, as_network_input, decode
from numpy.typing import NDArray
from onnx_session import open_session

FILES = {"v6": "PP-OCRv6_rec_small.onnx"}
LINE_HEIGHT = 48
BLANK = 0
GREY = 128
"""What pads a short line: zero once scaled to [-1, 1]."""


class Recogniser:
    """``generation`` of the weights at an input ``width`` pixels wide; the height is LINE_HEIGHT."""

    input_name = "lines"
    output_name = "text"

    def __init__(self, generation: str, width: int, weights: Path, threads: int) -> None:
        self._session = open_session(weights / FILES[generation], threads)
        self._input = self._session.get_inputs()[0].name
        self._width = width
        characters = self._session.get_modelmeta().custom_metadata_map["character"]
        self._characters = np.array(["", *characters.split("\n"), " "])

    def warm_up(self) -> None:
        """One run over two empty lines, as most snippets have."""
        self.read([np.zeros((LINE_HEIGHT, self._width), np.uint8)] * 2)

    def parse(self, row: list[bytes]) -> list[Image | None]:
        """The lines of one request, None where the string is empty; ValueError when one is no image."""
        return [decode(text) if text else None for text in row]

    def run(self, items: list[list[Image | None]]) -> list[list[bytes]]:
        """For each request the text of its lines in UTF-8, at the same places; one run of the network."""
        texts = iter(self.read([line for lines in items for line in lines if line is not None]))
        return [[b"" if line is None else next(texts).encode() for line in lines] for lines in items]

    def read(self, lines: list[Image]) -> list[str]:
        """The text of each line."""
        if not lines:
            return []
        (scores,) = self._session.run(None, {self._input: as_network_input([self._fit(line) for line in lines])})
        return [self._collapse(best) for best in scores.argmax(axis=2)]

    def _fit(self, line: Image) -> Image:
        """The line at the input's size: padded where it is shorter, squeezed where it is longer."""
        height, width = line.shape
        width = min(self._width, max(1, round(width * LINE_HEIGHT / height)))
        if line.shape != (LINE_HEIGHT, width):
            line = cv2.resize(line, (width, LINE_HEIGHT), interpolation=cv2.INTER_AREA)
        return cv2.copyMakeBorder(line, 0, 0, 0, self._width - width, cv2.BORDER_CONSTANT, value=GREY)

    def _collapse(self, best: NDArray[np.int64]) -> str:
        """The most likely character of every step, repeats merged, blanks dropped (Graves et al., ICML 2006)."""
        starts = np.flatnonzero(np.diff(best, prepend=BLANK))
        return "".join(self._characters[best[starts]]).strip()
