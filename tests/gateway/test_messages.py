"""What the gateway refuses of binary tensors, over the small server of test_gateway_binary.py."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from ipa_seldon.asgi import listen, serving_beside
from ipa_seldon.gateway.app import create_app
from ipa_seldon.gateway.graph import Graph
from ipa_seldon.gateway.messages import HEADER_LENGTH, SIZES, Message
from tests.gateway.test_gateway_binary import PIXELS, Echo, tensor


class Strict:
    """A gateway in a thread, and what it lets through to its one stage."""

    def __init__(self, url: str, echo: Echo) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc)
        self._echo = echo

    def close(self) -> None:
        """No more requests."""
        self._connection.close()

    def post(self, content: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body of the answer."""
        self._connection.request("POST", "/v2/models/infer", content, dict(headers))
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def refusal(self, content: bytes, headers: Mapping[str, str]) -> str:
        """The words with which it is refused: a 400 in the v2 error format, one short line, and no stage is reached."""
        reached = len(self._echo.asked)
        status, answer = self.post(content, headers)
        told = json.loads(answer)
        assert (status, list(told)) == (400, ["error"])
        assert len(self._echo.asked) == reached
        words: str = told["error"]
        assert "\n" not in words
        assert len(words) < 400
        return words


@pytest.fixture(scope="module")
def strict() -> Iterator[Strict]:
    """One for all bodies that are to be refused."""
    echo = Echo()
    with (
        serving_beside(echo.app(), listen("127.0.0.1", 0)) as triton,
        serving_beside(create_app(Graph("one", ("a",), (), 5.0), triton), listen("127.0.0.1", 0)) as url,
    ):
        gateway = Strict(url, echo)
        yield gateway
        gateway.close()


def test_every_datatype_has_its_size(strict: Strict) -> None:
    """As many bytes as the elements take are passed on, one more or less is refused."""
    bits = {"BOOL": 8} | {name: int(name.lstrip("BUINTFP")) for name in SIZES if name not in ("BOOL", "BYTES")}
    assert len(bits) == 13
    for datatype, of_one in bits.items():
        size = 6 * of_one // 8
        for there in (size - 1, size, size + 1):
            one = tensor(shape=[2, 3], datatype=datatype, parameters={"binary_data_size": there})
            body = Message({"inputs": [one]}, bytes(there)).body()
            status, _ = strict.post(body.content, body.headers)
            assert (datatype, there, status) == (datatype, there, 200 if there == size else 400)


def stated(size: Any) -> dict[str, Any]:
    """The picture, said to be of so many bytes."""
    return tensor(parameters={"binary_data_size": size})


BAD_SIZES = [stated(size) for size in (-1, 768.0, True, "768", None, [768], 767, 769, 10**4000)]
BAD_SHAPES = [
    tensor(shape=shape) for shape in (None, 768, [1, -3], [768.0], [True, 768], ["768"], [10**4000] * 3, [2**40] * 99)
]
BAD_TYPES = [tensor(datatype=datatype) for datatype in (None, "UINT9", ["UINT8"], 8, "FP32")]
BAD_TENSORS = [*BAD_SIZES, *BAD_SHAPES, *BAD_TYPES, tensor(data=[1])]


@pytest.mark.parametrize("bad", BAD_TENSORS, ids=lambda bad: str(bad)[:80])
def test_tensors_that_are_not_what_they_say_are_refused(strict: Strict, bad: dict[str, Any]) -> None:
    """A size that is none, or not what shape and datatype come to: the tensor is named, and what is accepted."""
    body = Message({"inputs": [bad]}, PIXELS).body()
    words = strict.refusal(body.content, body.headers)
    assert "tensor 'x'" in words
    assert "accepted" in words


HEAD = json.dumps({"inputs": [tensor()]}).encode()
STRINGS = {"name": "s", "shape": [1, 2], "datatype": "BYTES", "parameters": {"binary_data_size": 7}}
BAD_BODIES: list[tuple[str, bytes, str | None, str]] = [
    ("beyond the body", HEAD + PIXELS, str(len(HEAD + PIXELS) + 1), HEADER_LENGTH),
    ("no JSON", HEAD + PIXELS, "0", HEADER_LENGTH),
    ("negative", HEAD + PIXELS, "-1", HEADER_LENGTH),
    ("no number", HEAD + PIXELS, "all", HEADER_LENGTH),
    ("endless", HEAD + PIXELS, "9" * 5000, HEADER_LENGTH),
    ("cuts the JSON", HEAD + PIXELS, str(len(HEAD) - 1), "JSON object"),
    ("reaches into the bytes", HEAD + PIXELS, str(len(HEAD) + 1), "JSON object"),
    ("without the header", HEAD + PIXELS, None, "JSON object"),
    ("stated, but not there", HEAD, None, "768 bytes"),
    ("too few bytes", HEAD + PIXELS[:-1], str(len(HEAD)), "768 bytes"),
    ("too many bytes", HEAD + PIXELS + b"x", str(len(HEAD)), "768 bytes"),
    ("bytes that nobody states", b'{"inputs": []}xyz', "14", "0 bytes"),
    ("no object", b"[1]xyz", "3", "JSON object"),
    ("inputs are no list", b'{"inputs": 1}xyz', "13", "list 'inputs'"),
    ("brackets without end", b'{"inputs": ' + b"[" * 100_000, None, "JSON object"),
    (
        "fewer bytes than lengths",
        (head := json.dumps({"inputs": [STRINGS]}).encode()) + bytes(7),
        str(len(head)),
        "'s'",
    ),
]


@pytest.mark.parametrize(
    ("content", "length", "words"), [case[1:] for case in BAD_BODIES], ids=[c[0] for c in BAD_BODIES]
)
def test_malformed_bodies_are_refused(strict: Strict, content: bytes, length: str | None, words: str) -> None:
    """Whatever does not fit together is refused with what does not."""
    assert words in strict.refusal(content, {} if length is None else {HEADER_LENGTH: length})
