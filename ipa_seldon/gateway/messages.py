"""Messages of the Open Inference Protocol v2: a JSON object, and the tensors that are sent as raw bytes behind it.

The latter is Triton's binary tensor data extension. Raw bytes are passed on as they are, in one piece: the JSON tells
which are whose, by the order of tensors and the ``binary_data_size`` of each.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from reprlib import repr as shortened
from typing import Any, NamedTuple, TypeGuard

HEADER_LENGTH = "Inference-Header-Content-Length"
SIZES: Mapping[str, int] = {
    **{"BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8},
    **{"FP16": 2, "BF16": 2, "FP32": 4, "FP64": 8, "BYTES": 4},
}
"""Bytes of an element; of BYTES the length that stands before each."""
Raw = bytes | memoryview
PIECE = 128 * 2**10
"""Bytes that are sent before a slow receiver is waited for."""
_ENCODER = json.JSONEncoder(separators=(",", ":"))
"""json.dumps would make one for every message."""


class Body(NamedTuple):
    """What goes over HTTP: JSON, and the ``raw`` bytes behind it; None: there is nothing but JSON."""

    head: bytes
    raw: Raw | None = None

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self.head) + len(self.raw or b"")

    @property
    def headers(self) -> dict[str, str]:
        """Those by which the other side knows what it is."""
        size = {"Content-Length": str(self.size)}
        if self.raw is None:
            return {"Content-Type": "application/json", **size}
        return {"Content-Type": "application/octet-stream", **size, HEADER_LENGTH: str(len(self.head))}

    @property
    def content(self) -> bytes:
        """All of it in one piece."""
        return self.head if self.raw is None else b"".join((self.head, self.raw))

    def stream(self) -> bytes | AsyncIterator[Raw]:
        """What aiohttp is to send: it copies what a connection does not take at once, so raw bytes go in pieces."""
        return self.head if self.raw is None else self._pieces(self.raw)

    async def _pieces(self, raw: Raw) -> AsyncIterator[Raw]:
        yield self.head
        view = memoryview(raw)
        for start in range(0, len(raw), PIECE):
            yield view[start : start + PIECE]


class Message(NamedTuple):
    """The JSON object, and the ``raw`` bytes of those of its tensors that state a ``binary_data_size``, in their order;
    None: no tensor of it is binary.
    """

    fields: Mapping[str, Any]
    raw: Raw | None = None

    def body(self) -> Body:
        """It as it is sent."""
        return Body(_ENCODER.encode(self.fields).encode(), self.raw)


def split(content: bytes, length: str | None) -> Body:
    """A body that was received with the header HEADER_LENGTH of that value (None: without); ValueError where there are
    not so many bytes.
    """
    if length is None:
        return Body(content)
    size = int(length) if length.isdecimal() and len(length) < len(str(2**63)) else 0
    if not 0 < size <= len(content):
        raise ValueError(
            f"header {HEADER_LENGTH}: {shortened(length)}; accepted: the bytes of the JSON, 1 to {len(content)} here"
        )
    return Body(content[:size], memoryview(content)[size:])


def read_message(body: Body, tensors: str) -> Message:
    """The message of ``body``, whose tensors are the list of that name; ValueError, in one line, where it is none, or
    where its raw bytes are not those that the tensors state.
    """
    fields = decoded(body.head)
    if fields is None or not isinstance(fields.get(tensors), list):
        raise ValueError(f"accepted: a JSON object with a list {tensors!r}")
    stated, there = sum(map(_binary_size, fields[tensors])), len(body.raw or b"")
    if stated != there:
        raise ValueError(
            f"{tensors} state {stated} bytes of binary data; accepted: as many as are behind the JSON, whose length "
            f"header {HEADER_LENGTH} states: {there}"
        )
    return Message(fields, body.raw)


def decoded(content: bytes) -> dict[str, Any] | None:
    """The JSON object; None where there is no such."""
    try:
        message = json.loads(content)
    except (ValueError, RecursionError):  # malformed JSON, bytes that are no text, brackets in brackets without end
        return None
    return message if isinstance(message, dict) else None


def parameters_of(tensor: object) -> Mapping[str, Any]:
    """The parameters of a tensor, or of a message; none where they are no object."""
    parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
    return parameters if isinstance(parameters, dict) else {}


def _binary_size(tensor: object) -> int:
    """Bytes of binary data that ``tensor`` states: 0 for one that has its data in JSON."""
    if not isinstance(tensor, dict) or "binary_data_size" not in (parameters := parameters_of(tensor)):
        return 0
    size, shape, datatype = parameters["binary_data_size"], tensor.get("shape"), tensor.get("datatype")
    where = f"tensor {shortened(tensor.get('name'))}"
    if "data" in tensor:
        raise ValueError(f"{where}: accepted: data or binary_data_size, not both")
    if not _is_count(size):
        raise ValueError(f"{where}: binary_data_size: {shortened(size)}; accepted: whole numbers from 0")
    if not isinstance(shape, list) or not all(map(_is_count, shape)):
        raise ValueError(f"{where}: shape: {shortened(shape)}; accepted: a list of whole numbers from 0")
    if not isinstance(datatype, str) or datatype not in SIZES:
        raise ValueError(f"{where}: datatype: {shortened(datatype)}; accepted: {', '.join(SIZES)}")
    least = SIZES[datatype] * _elements(shape, size)
    if size < least or (size > least and datatype != "BYTES"):
        kind = f"{datatype} of shape {shortened(shape)}"
        raise ValueError(f"{where}: binary_data_size: {shortened(size)}; accepted: the bytes of {kind}")
    return size


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _elements(shape: list[int], most: int) -> int:
    """How many that shape has, or some number above ``most`` where it has more: it may be one of endless digits."""
    if 0 in shape:
        return 0
    elements = 1
    for length in shape:
        if elements > most:
            break
        elements *= length
    return elements
