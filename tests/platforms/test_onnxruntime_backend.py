"""The back end ``onnxruntime`` written in Python, on a real Triton: the video pipeline with tiny networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from ipa_seldon.asgi import listen, serving_beside
from ipa_seldon.bootstrap import repository_of
from ipa_seldon.demo.requests import payloads
from ipa_seldon.demo.video_requests import picture
from ipa_seldon.errors import PlatformError
from ipa_seldon.gateway.app import create_app
from ipa_seldon.gateway.graph import Graph
from ipa_seldon.gateway.messages import HEADER_LENGTH, read_message, split
from ipa_seldon.plan import Allocation
from ipa_seldon.platforms.triton_models import TritonModels, read_configuration
from ipa_seldon.platforms.triton_server import TritonServer
from ipa_seldon.specs.triton import model_configuration
from tests.weights.repositories import tiny_pipeline

pytestmark = pytest.mark.triton
Array = NDArray[Any]
BATCH = 4
PATIENCE = 10.0
"""Seconds that a batch may wait to fill here: it is formed by its size, however slow the machine."""
PICK = """
name: "pick"
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "place" data_type: TYPE_INT64 dims: [ -1 ] } ]
output [ { name: "value" data_type: TYPE_FP32 dims: [ -1 ] }, { name: "rows" data_type: TYPE_INT64 dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU } ]
"""
VALUES = np.arange(10, dtype=np.float32) ** 2


def write_pick(repository: Path) -> None:
    """A model of values by their place, which fails for a place that there is not; ``rows`` is how many rows the run
    had, for each of them.
    """
    shape = ["batch", "places"]
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["values", "place"], ["value"]),
            helper.make_node("Shape", ["place"], ["shape"]),
            helper.make_node("Gather", ["shape", "first"], ["count"]),
            helper.make_node("Expand", ["count", "shape"], ["rows"]),
        ],
        "pick",
        [helper.make_tensor_value_info("place", TensorProto.INT64, shape)],
        [
            helper.make_tensor_value_info("value", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("rows", TensorProto.INT64, shape),
        ],
        [numpy_helper.from_array(VALUES, "values"), numpy_helper.from_array(np.array([0]), "first")],
    )
    directory = repository / "pick" / "1"
    directory.mkdir(parents=True)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), directory / "model.onnx"
    )
    (directory.parent / "config.pbtxt").write_text(PICK)


class Models:
    """The models of a server, asked from outside."""

    def __init__(self, server: TritonServer, repository: Path) -> None:
        self._client = InferenceServerClient(server.grpc_url, channel_args=[("grpc.use_local_subchannel_pool", 1)])
        self._server = server
        self.repository = repository

    @property
    def url(self) -> str:
        """Of the HTTP API."""
        return self._server.http_url

    def load(self, model: str, batch: int, delay: float, version: int = 1) -> None:
        """Serve batches of that size, for which the first request waits so long."""
        base = read_configuration(self.repository, model)
        configuration = model_configuration(base, version, Allocation("v", 1, 1, batch), delay)
        with TritonModels(self._server.grpc_url) as models:
            models.load(model, configuration)

    def infer(self, model: str, **inputs: Array) -> dict[str, Array]:
        """The outputs for one request, by name."""
        tensors = []
        for name, values in inputs.items():
            tensor = InferInput(name, values.shape, np_to_triton_dtype(values.dtype))
            tensor.set_data_from_numpy(values)
            tensors.append(tensor)
        answer = self._client.infer(model, tensors)
        return {output.name: answer.as_numpy(output.name) for output in answer.get_response().outputs}

    def infer_at_once(self, model: str, requests: Sequence[dict[str, Array]]) -> list[dict[str, Array] | str]:
        """The outputs for each request, or the words it was refused with; all are sent side by side."""

        def one(inputs: dict[str, Array]) -> dict[str, Array] | str:
            try:
                return self.infer(model, **inputs)
            except InferenceServerException as error:
                return str(error.message())

        with ThreadPoolExecutor(len(requests)) as pool:
            return list(pool.map(one, requests))

    def counts(self, model: str) -> tuple[int, int]:
        """Rows, and runs of the model, so far."""
        (stats,) = self._client.get_inference_statistics(model).model_stats
        return stats.inference_count, stats.execution_count

    def close(self) -> None:
        self._client.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    """A server with the lightest variants of the video pipeline, and ``pick``."""
    config = tiny_pipeline("video", tmp_path_factory.mktemp("repository"), ("yolov5n", "resnet18"))
    repository = repository_of(config)
    write_pick(repository)
    with TritonServer(repository, models=("crop", "classification", "pick")) as server:
        models = Models(server, repository)
        yield models
        models.close()


def frames(count: int, side: int = 64) -> list[Array]:
    """Seeded pictures, each a batch of one."""
    generator = np.random.default_rng(3)
    return [generator.integers(0, 256, (1, 3, side, side), np.uint8) for _ in range(count)]


def test_what_one_stage_gives_the_next_one_takes(models: Models) -> None:
    """From pixels to classes, through both stages, for frames of several sizes; the most likely class comes first."""
    for side in (64, 96):
        for frame in frames(3, side):
            crop = models.infer("crop", frame=frame)
            assert {name: (values.shape, values.dtype.name) for name, values in crop.items()} == {
                "crop": ((1, 3, 64, 64), "uint8")
            }
            answer = models.infer("classification", **crop)
            assert answer["classes"].shape == answer["scores"].shape == (1, 5)
            assert (np.diff(answer["scores"]) <= 0).all()
            assert 0.1 < answer["scores"][0, 0] < 1


def test_made_up_frames_pass_the_gateway(models: Models) -> None:
    """What the load generator sends goes through both stages in binary, to what they answer when asked themselves."""
    graph = Graph("video", ("crop", "classification"), (("crop", "classification"),), 30.0)
    with serving_beside(create_app(graph, models.url), listen("127.0.0.1", 0)) as url:
        for index, payload in enumerate(payloads("frame", 3, 2)):
            expected = models.infer("classification", **models.infer("crop", frame=picture(3, index, 640)[np.newaxis]))
            request = Request(f"{url}/v2/models/infer", payload.body.content, payload.body.headers)  # noqa: S310  # http
            with urlopen(request) as answer:  # noqa: S310  # http
                found = read_message(split(answer.read(), answer.headers[HEADER_LENGTH]), "outputs")
            sizes = {tensor["name"]: tensor["parameters"]["binary_data_size"] for tensor in found.fields["outputs"]}
            assert sizes == {name: expected[name].nbytes for name in sizes}
            assert bytes(found.raw or b"") == b"".join(expected[name].tobytes() for name in sizes)


def test_concurrent_requests_are_one_run_and_each_gets_its_own_answer(models: Models) -> None:
    """Triton counts one execution for a batch of them; what comes back is what each frame gives alone."""
    sent = [{"frame": frame} for frame in frames(2 * BATCH)]
    models.load("crop", 1, 0)
    alone = [models.infer("crop", **one)["crop"] for one in sent]
    models.load("crop", BATCH, PATIENCE)
    rows, runs = models.counts("crop")
    answers = models.infer_at_once("crop", sent)
    assert (models.counts("crop")[0] - rows, models.counts("crop")[1] - runs) == (2 * BATCH, 2)
    for answer, expected in zip(answers, alone, strict=True):
        assert not isinstance(answer, str)
        np.testing.assert_allclose(answer["crop"].astype(int), expected.astype(int), atol=1)
    assert len({values.tobytes() for values in alone}) == 2 * BATCH


def test_a_batch_is_one_run_of_the_network(models: Models) -> None:
    """What counts its rows sees those of all requests, also where they have several each."""
    models.load("pick", 2 * BATCH, PATIENCE)
    places = [np.full((2, 1), place, np.int64) for place in range(BATCH)]
    answers = models.infer_at_once("pick", [{"place": place} for place in places])
    for place, answer in enumerate(answers):
        assert not isinstance(answer, str)
        assert answer["value"].tolist() == [[VALUES[place]]] * 2
        assert answer["rows"].tolist() == [[2 * BATCH]] * 2


def test_a_bad_request_fails_alone(models: Models) -> None:
    """In a batch with others: it is told what ONNX Runtime says of it, they get their answers."""
    models.load("pick", BATCH, PATIENCE)
    places = [np.full((1, 2), place, np.int64) for place in (1, 3, 99, 5)]
    answers = models.infer_at_once("pick", [{"place": place} for place in places])
    refusal = answers.pop(2)
    assert isinstance(refusal, str)
    assert "indices element out of data bounds, idx=99" in refusal
    assert [answer["value"].tolist() for answer in answers if not isinstance(answer, str)] == [
        [[1, 1]],
        [[9, 9]],
        [[25, 25]],
    ]


def test_a_frame_of_a_wrong_shape_or_type_is_refused(models: Models) -> None:
    """With a reason, and the model goes on."""
    models.load("crop", 1, 0)
    for frame, words in (
        (np.zeros((1, 3, 40, 40), np.uint8), "axis dimensions must match"),
        (np.zeros((1, 1, 64, 64), np.uint8), "unexpected shape"),
        (np.zeros((1, 3, 64, 64), np.float32), "inference input 'frame' data-type is 'FP32'"),
    ):
        (refusal,) = models.infer_at_once("crop", [{"frame": frame}])
        assert isinstance(refusal, str)
        assert words in refusal
    assert models.infer("crop", frame=frames(1)[0])["crop"].shape == (1, 3, 64, 64)


def test_a_version_without_weights_says_what_to_do(models: Models) -> None:
    """The load is refused with the file that is missing, and the command that fetches it."""
    (models.repository / "pick" / "2").mkdir()
    with pytest.raises(PlatformError, match=r"pick/2/model\.onnx is missing: run `ipa-seldon models fetch`"):
        models.load("pick", BATCH, 0, version=2)
