"""Binary tensors through the gateway to a real Triton, as the official HTTP client sends and asks for them unless it is
told otherwise.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from numpy.typing import NDArray

from ipa_seldon.asgi import listen, serving_beside
from ipa_seldon.gateway.app import create_app
from ipa_seldon.gateway.graph import Graph
from ipa_seldon.gateway.messages import HEADER_LENGTH
from ipa_seldon.platforms.triton_server import TritonServer

http = pytest.importorskip("tritonclient.http", reason="the extra `triton` is not installed")
pytestmark = pytest.mark.triton

ECHO = Path(__file__).parents[1] / "repositories" / "echo" / "model.py"
WHOLE = tuple(f"{sign}INT{bits}" for sign in ("U", "") for bits in (8, 16, 32, 64))
REAL = ("FP16", "FP32", "FP64")
TYPES = ("BOOL", *WHOLE, *REAL, "BYTES")
IN_JSON = tuple(name for name in TYPES if name not in ("FP16", "BYTES"))
"""Those that go without loss: Triton has no FP16 in JSON, and JSON no bytes."""
STRINGS = (b"", b"\x00\xff\xfe", "Grüße".encode())

Arrays = Mapping[str, NDArray[Any]]


@pytest.fixture(scope="module")
def echo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway over ``first`` and ``second``, which answer a tensor of every type, named after it, as it was asked."""
    repository = tmp_path_factory.mktemp("echo") / "models"
    kinds = {name: "STRING" if name == "BYTES" else name for name in TYPES}
    tensors = ", ".join(f'{{ name: "{name}" data_type: TYPE_{kind} dims: [ -1 ] }}' for name, kind in kinds.items())
    for model in ("first", "second"):
        (repository / model / "1").mkdir(parents=True)
        shutil.copy(ECHO, repository / model / "1")
        (repository / model / "config.pbtxt").write_text(
            f'name: "{model}" backend: "python" max_batch_size: 8 input [ {tensors} ] output [ {tensors} ]'
        )
    with TritonServer(repository, models=("first", "second")) as server, gateway(server, "first", "second") as url:
        yield url


@contextmanager
def gateway(server: TritonServer, *stages: str) -> Iterator[str]:
    """The URL of a gateway over a chain of ``stages``."""
    graph = Graph("chain", stages, tuple(pairwise(stages)), 30.0)
    with serving_beside(create_app(graph, server.http_url), listen("127.0.0.1", 0)) as url:
        yield url


def arrays(rows: int, length: int) -> Arrays:
    """Tensors of every type, full of random bits; without numbers that are none, which equal nothing."""
    random = np.random.default_rng(length)
    shape = rows, length
    made: dict[str, NDArray[Any]] = {"BOOL": random.integers(0, 2, shape).astype(bool)}
    for name in (*WHOLE, *REAL):
        kind = np.dtype(name.lower().replace("fp", "float"))
        values = np.frombuffer(random.bytes(rows * length * kind.itemsize), kind).reshape(shape)
        made[name] = np.nan_to_num(values, posinf=0, neginf=0) if name in REAL else values
    return made | {"BYTES": random.choice(np.array(STRINGS, object), shape)}


def inputs_of(tensors: Arrays, in_json: Collection[str] = ()) -> list[Any]:
    """As the official client has them: in binary, but those that are to be in JSON."""
    made = []
    for name, values in tensors.items():
        made.append(http.InferInput(name, list(values.shape), name))
        made[-1].set_data_from_numpy(values, binary_data=name not in in_json)
    return made


def posted(url: str, inputs: list[Any], **options: Any) -> tuple[int, bytes, str | None]:
    """Status, body and length of the JSON that the whole graph answers to what the official client would send; its own
    calls know a URL for models only.
    """
    body, length = http.InferenceServerClient.generate_request_body(inputs, **options)
    connection = HTTPConnection(urlsplit(url).netloc)
    connection.request("POST", "/v2/models/infer", body, {} if length is None else {HEADER_LENGTH: str(length)})
    answer = connection.getresponse()
    content, stated = answer.read(), answer.headers[HEADER_LENGTH]
    connection.close()
    return answer.status, content, stated


def asked(url: str, inputs: list[Any], **options: Any) -> Any:
    """What the official client makes of the whole graph's answer."""
    status, content, length = posted(url, inputs, **options)
    assert status == 200, content
    return http.InferenceServerClient.parse_response_body(content, header_length=length and int(length))


def assert_same(found: Any, tensors: Arrays) -> None:
    """All tensors came back as they were sent."""
    for name, values in tensors.items():
        np.testing.assert_array_equal(found.as_numpy(name), values, name)


def forms(found: Any) -> dict[str, bool]:
    """Output -> whether it came in binary."""
    return {
        tensor["name"]: "binary_data_size" in tensor.get("parameters", {}) for tensor in found.get_response()["outputs"]
    }


def test_one_stage_answers_the_official_client(toy_server: TritonServer) -> None:
    """As it is, by a stage's name: what it sends is computed, and comes back in binary; so does an error in words."""
    with gateway(toy_server, "double", "increment") as url:
        client = http.InferenceServerClient(urlsplit(url).netloc)
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        made = {"number": np.array([[20]], np.int32), "trace": np.array([[0]], np.int32)}
        inputs = [http.InferInput(name, [1, 1], "INT32").set_data_from_numpy(values) for name, values in made.items()]
        found = client.infer("double", inputs, request_id="mine", priority=1, timeout=10_000_000)
        assert (found.get_response()["id"], forms(found)) == ("mine", {"number": True, "trace": True})
        assert (found.as_numpy("number"), found.as_numpy("trace")) == ([[40]], [[1]])
        assert asked(url, inputs).as_numpy("number") == [[41]]
        inputs[0].set_data_from_numpy(np.array([[-1]], np.int32))
        with pytest.raises(http.InferenceServerException, match="stage 'double': number must not be negative"):
            client.infer("double", inputs)
        client.close()


@pytest.mark.parametrize("length", [0, 1, 1000])
def test_every_type_goes_through_a_chain_in_binary(echo_url: str, length: int) -> None:
    """Bit for bit, strings that are no text and tensors without elements included."""
    tensors = arrays(2, length)
    found = asked(echo_url, inputs_of(tensors))
    assert_same(found, tensors)
    assert set(forms(found).values()) == {True}


def test_each_tensor_may_be_sent_and_asked_for_in_either_form(echo_url: str) -> None:
    """Half of the tensors go in JSON, and half of those and of the others come back in it."""
    tensors = arrays(1, 5)
    back = {name: name not in IN_JSON[1::2] for name in TYPES}
    outputs = [http.InferRequestedOutput(name, binary_data=binary) for name, binary in back.items()]
    found = asked(echo_url, inputs_of(tensors, IN_JSON[:6]), outputs=outputs)
    assert_same(found, tensors)
    assert forms(found) == back


def test_what_only_triton_can_tell_is_a_400_of_the_stage(echo_url: str) -> None:
    """Strings that are not as many as the shape says fail at Triton, whose words reach the client."""
    inputs = inputs_of(arrays(1, 2))
    inputs[-1]._raw_data = b"\xff\xff\xff\x7f" + bytes(len(inputs[-1]._raw_data) - 4)
    status, content, _ = posted(echo_url, inputs)
    words = json.loads(content)["error"]
    assert status == 400
    assert words.startswith("stage 'first': ")
    assert "string elements" in words
