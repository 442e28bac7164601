"""YOLOv5 (Ultralytics, release 6): backbone of C3 blocks and SPPF, a PANet neck, three heads of three anchors each.

In: ``frame``, pixels; height and width are multiples of 32. Out: ``crop``, what is in the box that most certainly holds
an object, sampled to a square of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import PositiveFloat

from ipa_seldon.fields import Count, Document
from ipa_seldon.weights import STORED
from ipa_seldon.weights.network import (
    FLOAT,
    UINT8,
    Layer,
    Maps,
    Network,
    Parameters,
    RandomParameters,
    StoredParameters,
    checked,
)

ANCHORS = {
    8: ((10, 13), (16, 30), (33, 23)),
    16: ((30, 61), (62, 45), (59, 119)),
    32: ((116, 90), (156, 198), (373, 326)),
}
"""Stride of a head -> width and height of its anchors, in pixels."""
CLASSES = 80
BOX = 5 + CLASSES
"""Of each anchor at each place: x, y, width, height, whether there is an object, and the classes."""
EPSILON = 1e-3
GAIN = 1.79
"""Makes up for the variance that SiLU takes away: it leaves 0.313 of 1."""


class Options(Document):
    """What the variants differ by."""

    depth: PositiveFloat
    """Of the blocks that follow each other in the largest variant but one."""
    width: PositiveFloat
    """Of its channels."""
    crop: Count = 224
    """Height and width of what is put out, in pixels."""


def build(options: Mapping[str, Any], seed: int, target: Path) -> None:
    """Write ``model.onnx`` with random weights; ConfigError for what is no option (Options)."""
    _save(network(RandomParameters(seed), checked(options, Options)), target)


def convert(options: Mapping[str, Any], directory: Path) -> None:
    """Write ``model.onnx`` with the weights of ``model.safetensors``, named as in the state of Ultralytics' model."""
    _save(network(StoredParameters(directory / STORED, EPSILON), checked(options, Options)), directory)


def network(parameters: Parameters, options: Options) -> Network:
    """The whole graph."""
    net = Network(parameters)
    pixels = net.node("Cast", "frame", to=FLOAT)
    image = Maps(net.node("Div", pixels, net.constant(255, np.float32)), 3)
    maps = _Body(net, options).maps(image)
    found = [_boxes(net, head, stride, index) for index, (head, stride) in enumerate(zip(maps, ANCHORS, strict=True))]
    boxes, scores = (net.node("Concat", *parts, axis=1) for parts in zip(*found, strict=True))
    best = net.node("ArgMax", scores, axis=1, keepdims=1)
    box = _within(net, net.node("GatherND", boxes, best, batch_dims=1))
    rows = net.node("Range", net.constant(0), _size(net, "frame", 0), net.constant(1))
    # Two samples a side and pixel: their mean is a smooth picture also of a box that is larger than the crop.
    sampling: dict[str, Any] = {"output_height": options.crop, "output_width": options.crop, "sampling_ratio": 2}
    sampled = net.node("RoiAlign", pixels, box, rows, **sampling)
    net.node("Cast", net.node("Round", sampled), outputs=("crop",), to=UINT8)
    return net


class _Body:
    """Backbone and neck; layers have the numbers of the published model, in whose state they are named by them."""

    def __init__(self, net: Network, options: Options) -> None:
        self._net, self._depth, self._width = net, options.depth, options.width

    def maps(self, image: Maps) -> tuple[Maps, Maps, Maps]:
        """What the three heads look at, of strides 8, 16 and 32."""
        stem = self._conv(image, 0, 64, 6, padding=2)
        eighth = self._c3(self._conv(self._c3(self._conv(stem, 1, 128), 2, 128, 3), 3, 256), 4, 256, 6)
        sixteenth = self._c3(self._conv(eighth, 5, 512), 6, 512, 9)
        last = self._pooled(self._c3(self._conv(sixteenth, 7, 1024), 8, 1024, 3), "model.9")
        low = self._conv(last, 10, 512, 1)
        middle = self._conv(self._neck(self._doubled(low), sixteenth, 13, 512), 14, 256, 1)
        fine = self._neck(self._doubled(middle), eighth, 17, 256)
        medium = self._neck(self._conv(fine, 18, 256), middle, 20, 512)
        return fine, medium, self._neck(self._conv(medium, 21, 512), low, 23, 1024)

    def _neck(self, one: Maps, other: Maps, number: int, channels: int) -> Maps:
        return self._c3(self._joined(one, other), number, channels, 3, residual=False)

    def _conv(self, maps: Maps, number: int, channels: int, kernel: int = 3, padding: int | None = None) -> Maps:
        """Halves height and width, unless it is pointwise."""
        stride = 1 if kernel == 1 else 2
        return self._activated(maps, f"model.{number}", self._channels(channels), (kernel, stride, padding))

    def _c3(self, maps: Maps, number: int, channels: int, repeats: int, residual: bool = True) -> Maps:
        name, wide = f"model.{number}", self._channels(channels)
        branch = self._activated(maps, f"{name}.cv1", wide // 2)
        repeats = max(round(repeats * self._depth), 1)
        # A sum of many would grow with each.
        gain = GAIN / math.sqrt(repeats) if residual else GAIN
        for index in range(repeats):
            inner = self._activated(branch, f"{name}.m.{index}.cv1", wide // 2)
            inner = self._activated(inner, f"{name}.m.{index}.cv2", wide // 2, (3, 1, None), gain)
            branch = inner._replace(name=self._net.node("Add", branch.name, inner.name)) if residual else inner
        bypass = self._activated(maps, f"{name}.cv2", wide // 2)
        return self._activated(self._joined(branch, bypass), f"{name}.cv3", wide)

    def _pooled(self, maps: Maps, name: str) -> Maps:
        """SPPF: maxima over neighbourhoods of 5, 9 and 13, each out of the one before."""
        levels = [self._activated(maps, f"{name}.cv1", maps.channels // 2)]
        for _ in range(3):
            pool = self._net.node("MaxPool", levels[-1].name, kernel_shape=[5, 5], pads=[2, 2, 2, 2])
            levels.append(levels[-1]._replace(name=pool))
        return self._activated(self._joined(*levels), f"{name}.cv2", maps.channels)

    def _activated(
        self,
        maps: Maps,
        name: str,
        channels: int,
        shape: tuple[int, int, int | None] = (1, 1, None),
        gain: float = GAIN,
    ) -> Maps:
        """A convolution of ``shape``, (kernel, stride, padding), and SiLU."""
        maps = self._net.convolution(maps, Layer(f"{name}.conv", f"{name}.bn", channels, *shape, gain=gain))
        return maps._replace(name=self._net.node("Mul", maps.name, self._net.node("Sigmoid", maps.name)))

    def _doubled(self, maps: Maps) -> Maps:
        scales = self._net.constant([1, 1, 2, 2], np.float32)
        way: dict[str, Any] = {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
        return maps._replace(name=self._net.node("Resize", maps.name, "", scales, **way))

    def _joined(self, *maps: Maps) -> Maps:
        name = self._net.node("Concat", *(one.name for one in maps), axis=1)
        return Maps(name, sum(one.channels for one in maps))

    def _channels(self, published: int) -> int:
        return math.ceil(published * self._width / 8) * 8


def _boxes(net: Network, maps: Maps, stride: int, index: int) -> tuple[str, str]:
    """Of one head: boxes, (batch, boxes, 4) as left, top, right and bottom in pixels, and scores, (batch, boxes)."""
    head = net.convolution(maps, Layer(f"model.24.m.{index}", "", 3 * BOX))
    # (batch, anchor, place, value)
    raw = net.node("Reshape", head.name, net.constant([0, 3, BOX, -1]))
    values = net.node("Sigmoid", net.node("Transpose", raw, perm=[0, 1, 3, 2]))
    sizes = net.constant([2, 2, 1, CLASSES])
    parts = [f"{name}_{index}" for name in ("centre", "extent", "object", "classes")]
    centre, extent, certain, classes = parts
    net.node("Split", values, sizes, outputs=parts, axis=3)
    two, cells = net.constant(2, np.float32), _cells(net, head.name)
    centre = net.node("Add", net.node("Mul", centre, two), cells)
    centre = net.node("Mul", centre, net.constant(stride, np.float32))
    anchors = net.constant(np.reshape(ANCHORS[stride], (1, 3, 1, 2)), np.float32)
    # Half of width and height, which are (2 v)^2 anchors.
    half = net.node("Mul", net.node("Mul", net.node("Mul", extent, extent), two), anchors)
    corners = net.node("Concat", net.node("Sub", centre, half), net.node("Add", centre, half), axis=3)
    score = net.node("Mul", certain, net.node("ReduceMax", classes, axes=[3], keepdims=1))
    flat = net.constant([0, -1, 4]), net.constant([0, -1])
    return net.node("Reshape", corners, flat[0]), net.node("Reshape", score, flat[1])


def _cells(net: Network, maps: str) -> str:
    """Column and row of every place less a half, (places, 2), row by row."""
    columns = _size(net, maps, 3)
    places = net.node("Mul", _size(net, maps, 2), columns)
    numbers = net.node("Range", net.constant(0), places, net.constant(1))
    last = net.constant([1])
    column, row = (net.node("Unsqueeze", net.node(operator, numbers, columns), last) for operator in ("Mod", "Div"))
    cells = net.node("Cast", net.node("Concat", column, row, axis=1), to=FLOAT)
    return net.node("Sub", cells, net.constant(0.5, np.float32))


def _within(net: Network, box: str) -> str:
    """The part of each box that lies in the frame."""
    sides = net.node("Gather", net.node("Shape", "frame"), net.constant([3, 2, 3, 2]))
    limit = net.node("Cast", sides, to=FLOAT)
    return net.node("Max", net.node("Min", box, limit), net.constant(0, np.float32))


def _size(net: Network, tensor: str, axis: int) -> str:
    return net.node("Gather", net.node("Shape", tensor), net.constant(axis))


def _save(net: Network, directory: Path) -> None:
    net.save(
        directory,
        {"frame": (UINT8, ("batch", 3, "height", "width"))},
        {"crop": (UINT8, ("batch", 3, "crop", "crop"))},
    )
