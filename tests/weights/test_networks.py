"""The networks of the video pipeline: as large as the published ones, deterministic, and right where it can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from safetensors.numpy import load_file, save_file

from ipa_seldon.errors import PlatformError
from ipa_seldon.weights import STORED, resnet, yolov5
from ipa_seldon.weights.catalogue import read_catalogue
from ipa_seldon.weights.network import FLOAT, OPSET, Array, Layer, Network
from tests.weights.repositories import ROOT

CATALOGUE = read_catalogue(ROOT / "model_repository" / "video").stages
TINY = {name: weights.options | weights.tiny for stage in CATALOGUE.values() for name, weights in stage.items()}
# Parameters with batch normalisation folded in, and 10^9 operations (two for each multiplication) at 640 x 640: what
# Ultralytics' own program prints of each; the last two of its decimals depend on its release.
YOLOV5 = {
    "yolov5n": (1_867_405, 4.5),
    "yolov5s": (7_225_885, 16.4),
    "yolov5m": (21_172_173, 48.9),
    "yolov5l": (46_533_693, 109.0),
    "yolov5x": (86_705_005, 205.5),
}
# Parameters, and 10^9 multiplications at 224 x 224, as torchvision states them.
RESNET = {
    "resnet18": (11_689_512, 1.81),
    "resnet34": (21_797_672, 3.66),
    "resnet50": (25_557_032, 4.09),
    "resnet101": (44_549_160, 7.80),
    "resnet152": (60_192_808, 11.51),
}


class NoParameters:
    """Shapes alone, without the memory."""

    def kernel_and_bias(self, layer: Layer, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Zeros that take no room."""
        zero = np.float32(0)
        return np.broadcast_to(zero, shape), np.broadcast_to(zero, shape[:1])


def multiplications(net: Network, name: str, side: int) -> float:
    """10^9 of them, in the convolutions and the matrix, for one square input of that side."""
    inputs = {name: (1, 3, side, side)} | {key: values.shape for key, values in net.weights.items()}
    kinds = dict.fromkeys(inputs, FLOAT) | {name: onnx.TensorProto.UINT8}
    infos = [helper.make_tensor_value_info(key, kinds[key], shape) for key, shape in inputs.items()]
    model = helper.make_model(
        helper.make_graph(net.nodes, "sized", infos, [], net.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    shapes = {info.name: [d.dim_value for d in info.type.tensor_type.shape.dim] for info in inferred}
    layers = [node for node in net.nodes if node.op_type in ("Conv", "Gemm")]
    return sum(net.weights[node.input[1]].size * float(np.prod(shapes[node.output[0]][2:])) for node in layers) / 1e9


@pytest.mark.parametrize("variant", YOLOV5)
def test_yolov5_is_as_large_as_published(variant: str) -> None:
    """Parameters to the last one, operations within a hundredth."""
    parameters, operations = YOLOV5[variant]
    net = yolov5.network(NoParameters(), yolov5.Options(**CATALOGUE["crop"][variant].options))
    assert sum(values.size for values in net.weights.values()) == parameters
    assert 2 * multiplications(net, "frame", 640) == pytest.approx(operations, rel=0.01)


@pytest.mark.parametrize("variant", RESNET)
def test_resnet_is_as_large_as_published(variant: str) -> None:
    """Parameters to the last one: a folded normalisation has one for each channel, where two are counted."""
    parameters, operations = RESNET[variant]
    net = resnet.network(NoParameters(), resnet.Options(**CATALOGUE["classification"][variant].options))
    folded = sum(values.size for name, values in net.weights.items() if name.endswith(".bias") and name != "fc.bias")
    assert sum(values.size for values in net.weights.values()) + folded == parameters
    assert multiplications(net, "crop", 224) == pytest.approx(operations, rel=0.01)


def built(module: Any, variant: str, directory: Path, seed: int = 0) -> Path:
    """The tiny network of that variant, with random weights."""
    directory.mkdir(exist_ok=True)
    module.build(TINY[variant], seed, directory)
    return directory / "model.onnx"


def run(model: Path, pixels: Array) -> list[Array]:
    """The outputs of a network for its only input."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (name,) = (value.name for value in session.get_inputs())
    outputs: list[Array] = session.run(None, {name: pixels})
    return outputs


def pictures(count: int, side: int, seed: int = 0) -> Array:
    """Noise of several sizes of grain, as pixels."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (count, 3, 4, 4), np.uint8)
    return np.kron(coarse, np.ones((1, 1, side // 4, side // 4), np.uint8)) // 2 + generator.integers(
        0, 128, (count, 3, side, side), np.uint8
    )


@pytest.mark.parametrize(("module", "variant"), [(yolov5, "yolov5m"), (resnet, "resnet18"), (resnet, "resnet50")])
def test_a_seed_gives_the_same_file_bit_for_bit(module: Any, variant: str, tmp_path: Path) -> None:
    """And another seed another; every file is valid for the opset that Triton's ONNX Runtime reads."""
    first, again, other = (
        built(module, variant, tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()
    onnx.checker.check_model(first, full_check=True)


@pytest.mark.parametrize("variant", TINY)
def test_random_networks_tell_pictures_apart(variant: str, tmp_path: Path) -> None:
    """Of every depth: on the way to the last layer nothing overflows or dies away, and what is peculiar to a picture is
    more than a hundredth of what is put out.
    """
    model = onnx.load(built(yolov5 if variant in YOLOV5 else resnet, variant, tmp_path))
    last = [node.output[0] for node in model.graph.node if {"fc.bias", "model.24.m.1.bias"} & set(node.input)]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in last)
    onnx.save(model, tmp_path / "model.onnx")
    put_out = run(tmp_path / "model.onnx", pictures(6, 96))[-1]
    assert 0.001 < float(np.sqrt(np.mean(put_out**2))) < 10
    assert float(put_out.std(axis=0).mean()) > 0.01 * float(np.abs(put_out).mean())


@pytest.mark.parametrize("variant", ["yolov5n", "resnet18"])
def test_each_row_of_a_batch_is_what_it_is_alone(variant: str, tmp_path: Path) -> None:
    """Neighbours change nothing; pictures that differ have answers that do."""
    model = built(yolov5 if variant in YOLOV5 else resnet, variant, tmp_path)
    frames = pictures(6, 96)
    outputs = run(model, frames)
    for rows, row in zip(outputs, run(model, frames[2:3]), strict=True):
        rounded = float(row.dtype == np.uint8)
        np.testing.assert_allclose(rows[2:3].astype(float), row.astype(float), rtol=1e-3, atol=rounded)
    assert len({row.tobytes() for row in outputs[0]}) == len(frames)


def test_the_crop_is_the_most_certain_box_within_the_frame(tmp_path: Path) -> None:
    """With heads that say the same everywhere, one anchor of stride 16 the loudest: at the first place its centre is at
    (8, 8), and of its 62 x 45 pixels those from 0 to 39 and to 30.5 are in the frame, which is a ramp.
    """

    class Heads(NoParameters):
        def kernel_and_bias(self, layer: Layer, shape: tuple[int, ...]) -> tuple[Array, Array]:
            kernel, bias = super().kernel_and_bias(layer, shape)
            if layer.name == "model.24.m.1":
                bias = np.zeros(shape[:1], np.float32)
                bias[yolov5.BOX + 4], bias[yolov5.BOX + 40] = 3.0, 3.0
            return kernel, bias

    yolov5._save(yolov5.network(Heads(), yolov5.Options(depth=0.33, width=0.03125, crop=32)), tmp_path)
    ramp = np.arange(0, 192, 2, np.uint8)
    frame = np.stack([np.tile(ramp, (96, 1)), np.tile(ramp[:, None], (1, 96)), np.zeros((96, 96), np.uint8)])
    (crop,) = run(tmp_path / "model.onnx", frame[np.newaxis])
    places = np.arange(32) + 0.5
    across, down = (np.clip(2 * (places * extent / 32 - 0.5), 0, None) for extent in (39, 30.5))
    np.testing.assert_allclose(crop[0, 0], np.tile(across, (32, 1)), atol=0.6)
    np.testing.assert_allclose(crop[0, 1], np.tile(down[:, None], (1, 32)), atol=0.6)


@pytest.mark.parametrize("variant", ["resnet18", "resnet50"])
def test_stored_weights_give_what_another_implementation_gives(variant: str, tmp_path: Path) -> None:
    """Weights under torchvision's names, with statistics of batch normalisation, become a network of the probabilities
    that transformers' ResNet computes with them.
    """
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    layers, classes = int(variant.removeprefix("resnet")), 10
    wide = 4 if layers >= resnet.BOTTLENECKS else 1
    torch.manual_seed(5)
    configuration = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8 * wide * 2**group for group in range(4)],
        depths=list(resnet.BLOCKS[layers]),
        layer_type="bottleneck" if wide > 1 else "basic",
        num_labels=classes,
    )
    network = transformers.ResNetForImageClassification(configuration).eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith(("normalization.weight", "running_var")):
                value.uniform_(0.5, 1.5)
            elif name.endswith(("normalization.bias", "running_mean")):
                value.normal_(0, 0.2)
    stored = {torchvision_name(name): value.numpy() for name, value in network.state_dict().items()}
    save_file({name: value for name, value in stored.items() if "num_batches" not in name}, tmp_path / STORED)
    resnet.convert({"layers": layers, "width": 8, "classes": classes}, tmp_path)
    crops = pictures(3, 64)
    mean, deviation = (np.reshape(values, (3, 1, 1)) for values in (resnet.MEAN, resnet.DEVIATION))
    with torch.no_grad():
        pixels = torch.from_numpy(((crops / 255 - mean) / deviation).astype(np.float32))
        expected = network(pixels).logits.softmax(1).numpy()
    scores, likely = run(tmp_path / "model.onnx", crops)
    np.testing.assert_allclose(scores, np.take_along_axis(expected, likely, 1), rtol=1e-3)
    np.testing.assert_allclose(scores, np.sort(expected)[:, :-6:-1], rtol=1e-3)


def torchvision_name(name: str) -> str:
    """Of a tensor of transformers' ResNet."""
    end = name.rpartition(".")[2]
    if name.startswith("classifier"):
        return f"fc.{end}"
    is_norm = ".normalization." in name
    parts = name.split(".")
    if "embedder" in parts:
        return f"{'bn1' if is_norm else 'conv1'}.{end}"
    group, block = int(parts[parts.index("stages") + 1]) + 1, parts[parts.index("layers") + 1]
    if "shortcut" in parts:
        return f"layer{group}.{block}.downsample.{int(is_norm)}.{end}"
    number = int(parts[parts.index("layer") + 1]) + 1
    return f"layer{group}.{block}.{'bn' if is_norm else 'conv'}{number}.{end}"


def test_stored_weights_of_yolov5_are_folded_by_their_names(tmp_path: Path) -> None:
    """Weights under Ultralytics' names, whose normalisation only scales, give what a network built with the product
    gives; those of another width are refused in one line.
    """
    before = built(yolov5, "yolov5m", tmp_path / "built")
    tensors: dict[str, Array] = {}
    for tensor in onnx.load(before).graph.initializer:
        if not tensor.name.startswith("model."):
            continue
        values, (layer, _, kind) = numpy_helper.to_array(tensor), tensor.name.rpartition(".")
        if layer.startswith("model.24.") or kind == "weight":
            tensors[tensor.name] = values * (1 if layer.startswith("model.24.") else 2)
        else:
            norm = layer.removesuffix("conv") + "bn"
            ones = np.ones_like(values)
            tensors |= {f"{norm}.weight": ones, f"{norm}.bias": values, f"{norm}.running_mean": 0 * ones}
            tensors[f"{norm}.running_var"] = ones * np.float32(4 - yolov5.EPSILON)
    (tmp_path / "stored").mkdir()
    save_file(tensors, tmp_path / "stored" / STORED)
    yolov5.convert(TINY["yolov5m"], tmp_path / "stored")
    frames = pictures(2, 64)
    np.testing.assert_allclose(
        run(tmp_path / "stored" / "model.onnx", frames)[0].astype(int), run(before, frames)[0].astype(int), atol=1
    )
    assert load_file(tmp_path / "stored" / STORED).keys() == tensors.keys()
    with pytest.raises(
        PlatformError, match=r"tensor model\.0\.conv\.weight has the shape \(8, 3, 6, 6\), expected \(16"
    ):
        yolov5.convert(TINY["yolov5m"] | {"width": 0.25}, tmp_path / "stored")
