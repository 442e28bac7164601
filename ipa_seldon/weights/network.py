"""Convolutional networks as ONNX graphs, node by node, with batch normalisation folded into the convolutions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ipa_seldon.config import validated
from ipa_seldon.errors import PlatformError
from ipa_seldon.fields import Document
from ipa_seldon.weights import SERVED

OPSET, IR_VERSION = 17, 8
"""Read by ONNX Runtime from 1.13 on; Triton 24.10 has 1.19."""
Array = NDArray[Any]
OptionsType = TypeVar("OptionsType", bound=Document)
Shape = Sequence[int | str]
"""A name stands for a dimension of any size."""


def checked(options: Mapping[str, Any], kind: type[OptionsType]) -> OptionsType:
    """The options of a builder; ConfigError names the key and what is accepted."""
    return validated("options", options, kind)


class Maps(NamedTuple):
    """A tensor of feature maps, (batch, channels, height, width)."""

    name: str
    channels: int


class Layer(NamedTuple):
    """A convolution of ``kernel`` x ``kernel`` to so many ``channels``. ``name`` is its own, ``norm`` that of the batch
    normalisation after it (empty: it has a bias instead). ``padding`` None keeps height and width at stride 1. ``gain``
    is the root mean square of what comes out, where random weights are put on what has one of 1.
    """

    name: str
    norm: str
    channels: int
    kernel: int = 1
    stride: int = 1
    padding: int | None = None
    gain: float = 1.0


class Parameters(Protocol):
    """Where kernels and biases come from."""

    def kernel_and_bias(self, layer: Layer, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """A float32 kernel of that shape, (out, in, height, width) or (out, in), and the bias of its outputs."""
        ...


class RandomParameters:
    """Normally distributed by a seed; no biases. The variance keeps the size of what passes through, as does that the
    weights of each output add up to 0: a mean that a layer has in common, as after a rectifier, ends there.
    """

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def kernel_and_bias(self, layer: Layer, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """See Parameters."""
        deviation = np.float32(layer.gain / math.sqrt(math.prod(shape[1:])))
        kernel = self._generator.standard_normal(shape, np.float32)
        kernel -= kernel.mean(axis=tuple(range(1, len(shape))), keepdims=True)
        return kernel * deviation, np.zeros(shape[0], np.float32)


class StoredParameters:
    """Out of a safetensors file, by the names that PyTorch gives them. ``epsilon`` is that of batch normalisation.

    PlatformError where one is missing, or of another shape than the network wants.
    """

    def __init__(self, path: Path, epsilon: float) -> None:
        self._name = path.name
        try:
            self._tensors: Mapping[str, Array] = load_file(path)
        except SafetensorError as error:
            raise PlatformError(f"{path.name}: cannot be read: {error}") from error
        self._epsilon = epsilon

    def kernel_and_bias(self, layer: Layer, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """See Parameters."""
        kernel, outputs = self._tensor(f"{layer.name}.weight", shape), shape[:1]
        if not layer.norm:
            return kernel, self._tensor(f"{layer.name}.bias", outputs)
        gamma, beta, mean, variance = (
            self._tensor(f"{layer.norm}.{name}", outputs) for name in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + np.float32(self._epsilon))
        return kernel * scale.reshape(-1, *[1] * (kernel.ndim - 1)), beta - mean * scale

    def _tensor(self, name: str, shape: tuple[int, ...]) -> Array:
        tensor = self._tensors.get(name)
        if tensor is None:
            raise PlatformError(f"{self._name}: tensor {name} is missing: these are weights of another network")
        if tensor.shape != shape:
            raise PlatformError(f"{self._name}: tensor {name} has the shape {tensor.shape}, expected {shape}")
        return tensor.astype(np.float32)


class Network:
    """A graph that grows by one node per call; each call returns the name of what the node puts out.

    ``weights`` are the kernels and biases so far, by name; ``nodes`` and ``constants`` the rest.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self.weights: dict[str, Array] = {}
        self.constants: list[onnx.TensorProto] = []
        self.nodes: list[onnx.NodeProto] = []
        self._count = 0

    def node(self, operator: str, *inputs: str, outputs: Sequence[str] = (), **attributes: Any) -> str:
        """A node of that ONNX operator; returns the first of its ``outputs``, which get a name where none is given."""
        names = list(outputs) or [self._name(operator)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names[0]

    def constant(self, values: Any, kind: type[np.generic] = np.int64) -> str:
        """The name of a constant tensor."""
        name = self._name("constant")
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def convolution(self, maps: Maps, layer: Layer) -> Maps:
        """The layer on ``maps``, with its bias."""
        weights = self._weights(layer, (layer.channels, maps.channels, layer.kernel, layer.kernel))
        padding = layer.kernel // 2 if layer.padding is None else layer.padding
        size: dict[str, Any] = {
            "kernel_shape": [layer.kernel] * 2,
            "strides": [layer.stride] * 2,
            "pads": [padding] * 4,
        }
        return Maps(self.node("Conv", maps.name, *weights, **size), layer.channels)

    def dense(self, values: str, inputs: int, layer: Layer) -> str:
        """A matrix of (channels, inputs) on ``values`` of (batch, inputs), with its bias."""
        return self.node("Gemm", values, *self._weights(layer, (layer.channels, inputs)), transB=1)

    def save(
        self, directory: Path, inputs: Mapping[str, tuple[int, Shape]], outputs: Mapping[str, tuple[int, Shape]]
    ) -> None:
        """Write ``model.onnx``; ``inputs`` and ``outputs`` are by name (element type, shape)."""
        kernels = [numpy_helper.from_array(values, name) for name, values in self.weights.items()]
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
            [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
            [*kernels, *self.constants],
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="ipa-seldon")
        (directory / SERVED).write_bytes(model.SerializeToString(deterministic=True))

    def _weights(self, layer: Layer, shape: tuple[int, ...]) -> tuple[str, str]:
        names = f"{layer.name}.weight", f"{layer.name}.bias"
        self.weights |= zip(names, self._parameters.kernel_and_bias(layer, shape), strict=True)
        return names

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"


FLOAT, UINT8, INT64 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT64
