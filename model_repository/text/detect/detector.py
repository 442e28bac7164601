"""Finds the text lines of a snippet with a differentiable-binarisation detector and cuts them out, upright.

Liao et al., "Real-time scene text detection with differentiable binarization", AAAI 2020: the network gives the
probability that a pixel lies in the shrunken core of a text region; the core is grown back ("unclipped") afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from images import Image, as_network_input, decode, encode
from numpy.typing import NDArray
from onnx_session import open_session

FILES = {"v3": "ch_PP-OCRv3_det_infer.onnx", "v6": "PP-OCRv6_det_small.onnx"}
LINES = 4
"""Lines per snippet at most: the length of the output tensor, fixed so that requests can share a batch."""
LINE_HEIGHT = 48
LINE_WIDTH = 640
"""Widest line handed on; a wider one is squeezed."""
PIXEL_THRESHOLD = 0.3
REGION_THRESHOLD = 0.5
UNCLIP_RATIO = 1.6
SAME_LINE = 0.5
"""Share of the lower region's height that must overlap for two regions to be one line."""

Box = NDArray[np.float64]
"""Left, top, right, bottom, in pixels of the snippet turned upright."""


class Detector:
    """``generation`` of the weights at an input of ``size`` (width, height; multiples of 32)."""

    input_name = "image"
    output_name = "lines"

    def __init__(self, generation: str, size: tuple[int, int], weights: Path, threads: int) -> None:
        self._session = open_session(weights / FILES[generation], threads)
        self._input = self._session.get_inputs()[0].name
        self._size = size

    def warm_up(self) -> None:
        """One run over an empty snippet."""
        self.detect([np.zeros(self._size[::-1], np.uint8)])

    def parse(self, row: list[bytes]) -> Image:
        """The snippet of one request; ValueError when it is no image."""
        return decode(row[0])

    def run(self, items: list[Image]) -> list[list[bytes]]:
        """For each snippet its lines from top to bottom, encoded; empty strings fill up to LINES."""
        rows = [[encode(line) for line in lines] for lines in self.detect(items)]
        return [row + [b""] * (LINES - len(row)) for row in rows]

    def detect(self, snippets: list[Image]) -> list[list[Image]]:
        """For each snippet its lines from top to bottom, upright and LINE_HEIGHT high; one run of the network."""
        if not snippets:
            return []
        resized = [cv2.resize(snippet, self._size, interpolation=cv2.INTER_AREA) for snippet in snippets]
        (maps,) = self._session.run(None, {self._input: as_network_input(resized)})
        return [list(cut_lines(snippet, found[0])) for snippet, found in zip(snippets, maps, strict=True)]


def cut_lines(snippet: Image, probability: NDArray[np.float32]) -> Iterator[Image]:
    """The upright lines of ``snippet``, given the network's map of it (of any size)."""
    scale = np.array(snippet.shape[::-1]) / np.array(probability.shape[::-1])
    regions = [region * scale for region in _regions(probability)]
    if not regions:
        return
    turn = _turn(max(regions, key=lambda region: float(np.ptp(region[:, 0]))))
    boxes = [_unclip(region @ turn.T) for region in regions]
    for left, top, right, bottom in _merge(boxes)[:LINES]:
        enlarge = LINE_HEIGHT / (bottom - top)
        width = int(np.clip(round((right - left) * enlarge), 1, LINE_WIDTH))
        across = width / (right - left)
        to_line = np.diag((across, enlarge)) @ np.column_stack((turn, (-left, -top)))
        yield cv2.warpAffine(
            snippet, to_line, (width, LINE_HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )


def _regions(probability: NDArray[np.float32]) -> Iterator[NDArray[np.float64]]:
    """Contours, of shape (points, 2), around what is text with enough confidence."""
    text = (probability > PIXEL_THRESHOLD).astype(np.uint8)
    contours, _ = cv2.findContours(text, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        inside = cv2.drawContours(np.zeros_like(text), [contour], 0, 1, cv2.FILLED)
        if cv2.mean(probability, inside)[0] >= REGION_THRESHOLD:
            # A contour runs through pixel centres; the region reaches to the pixels' outer edges.
            yield np.concatenate([contour[:, 0] + corner for corner in ((0, 0), (1, 0), (0, 1), (1, 1))]).astype(float)


def _turn(region: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation, of shape (2, 2), that lays the region's smallest enclosing rectangle level."""
    corners = cv2.boxPoints(cv2.minAreaRect(region.astype(np.float32)))
    edges = np.array((corners[1] - corners[0], corners[2] - corners[1]))
    x, y = max(edges, key=lambda edge: float(np.hypot(*edge)))
    slope = np.arctan2(y, x)
    slope -= np.pi * np.round(slope / np.pi)
    if abs(slope) > np.pi / 4:
        slope = 0.0  # higher than wide: a single character, say, which tells nothing about the line's slope
    return np.array(((np.cos(slope), np.sin(slope)), (-np.sin(slope), np.cos(slope))))


def _unclip(region: NDArray[np.float64]) -> Box:
    """The region's box, grown by area * ratio / perimeter on every side (equation 10 of the paper)."""
    low, high = region.min(axis=0), region.max(axis=0)
    width, height = high - low
    margin = UNCLIP_RATIO * width * height / (2 * (width + height))
    return np.concatenate((low - margin, high + margin))


def _merge(boxes: list[Box]) -> list[Box]:
    """One box per line, from top to bottom."""
    lines: list[Box] = []
    for box in sorted(boxes, key=lambda box: float(box[1] + box[3])):
        if lines and _overlap(lines[-1], box) > SAME_LINE:
            lines[-1] = np.concatenate((np.minimum(lines[-1][:2], box[:2]), np.maximum(lines[-1][2:], box[2:])))
        else:
            lines.append(box)
    return lines


def _overlap(one: Box, other: Box) -> float:
    shared = min(one[3], other[3]) - max(one[1], other[1])
    return float(shared / min(one[3] - one[1], other[3] - other[1]))
