"""ResNets (He et al., 2016) in the form of today: a bottleneck's stride is in its 3x3 convolution (v1.5).

In: ``crop``, pixels of any height and width. Out: the five most likely of 1000 classes, and their probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ipa_seldon.fields import Count, Document
from ipa_seldon.weights import STORED
from ipa_seldon.weights.network import (
    FLOAT,
    INT64,
    UINT8,
    Layer,
    Maps,
    Network,
    Parameters,
    RandomParameters,
    StoredParameters,
    checked,
)

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Layers -> blocks in each of the four groups."""
BOTTLENECKS = 50
"""From so many layers on the blocks are."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, red, green and blue, between 0 and 1: what the published weights were trained with."""
EPSILON = 1e-5
GAIN = 1 / math.sqrt(1 / 2 - 1 / (2 * math.pi))
"""Makes up for the variance that a rectifier takes away."""
TOP = 5


class Options(Document):
    """What the variants differ by."""

    layers: Literal[18, 34, 50, 101, 152]
    """That have weights, but for shortcuts."""
    width: Count = 64
    """Channels of the first group."""
    classes: Annotated[int, Field(ge=TOP)] = 1000


def build(options: Mapping[str, Any], seed: int, target: Path) -> None:
    """Write ``model.onnx`` with random weights; ConfigError for what is no option (Options)."""
    _save(network(RandomParameters(seed), checked(options, Options)), target)


def convert(options: Mapping[str, Any], directory: Path) -> None:
    """Write ``model.onnx`` with the weights of ``model.safetensors``, named as in torchvision."""
    _save(network(StoredParameters(directory / STORED, EPSILON), checked(options, Options)), directory)


def network(parameters: Parameters, options: Options) -> Network:
    """The whole graph."""
    net, layers = Network(parameters), options.layers
    maps = net.convolution(_normalised(net), Layer("conv1", "bn1", options.width, 7, 2, gain=GAIN))
    pool: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    maps = maps._replace(name=net.node("MaxPool", net.node("Relu", maps.name), **pool))
    for group, blocks in enumerate(BLOCKS[layers]):
        for number in range(blocks):
            name = f"layer{group + 1}.{number}"
            stride = 2 if group and not number else 1
            maps = _block(net, maps, name, (options.width * 2**group, stride), layers)
    features = net.node("Flatten", net.node("GlobalAveragePool", maps.name))
    likely = net.node("Softmax", net.dense(features, maps.channels, Layer("fc", "", options.classes)), axis=1)
    net.node("TopK", likely, net.constant([TOP]), outputs=("scores", "classes"), axis=1)
    return net


def _normalised(net: Network) -> Maps:
    mean, deviation = (
        net.constant(np.reshape(values, (1, 3, 1, 1)) * 255, np.float32) for values in (np.array(MEAN), DEVIATION)
    )
    pixels = net.node("Cast", "crop", to=FLOAT)
    return Maps(net.node("Div", net.node("Sub", pixels, mean), deviation), 3)


def _block(net: Network, maps: Maps, name: str, size: tuple[int, int], layers: int) -> Maps:
    """One residual block of ``size``, (channels, stride), in a network of so many layers."""
    channels, stride = size
    shapes = [(3, stride, channels), (3, 1, channels)]
    if layers >= BOTTLENECKS:
        shapes = [(1, 1, channels), (3, stride, channels), (1, 1, 4 * channels)]
    branch = maps
    for index, (kernel, step, outputs) in enumerate(shapes, 1):
        is_last = index == len(shapes)
        # A sum of many branches would grow with each.
        gain = GAIN / math.sqrt(sum(BLOCKS[layers])) if is_last else GAIN
        branch = net.convolution(
            branch, Layer(f"{name}.conv{index}", f"{name}.bn{index}", outputs, kernel, step, gain=gain)
        )
        if not is_last:
            branch = branch._replace(name=net.node("Relu", branch.name))
    if stride > 1 or maps.channels != branch.channels:
        names = f"{name}.downsample.0", f"{name}.downsample.1"
        maps = net.convolution(maps, Layer(*names, branch.channels, stride=stride, gain=GAIN))
    return branch._replace(name=net.node("Relu", net.node("Add", branch.name, maps.name)))


def _save(net: Network, directory: Path) -> None:
    net.save(
        directory,
        {"crop": (UINT8, ("batch", 3, "height", "width"))},
        {"scores": (FLOAT, ("batch", TOP)), "classes": (INT64, ("batch", TOP))},
    )
