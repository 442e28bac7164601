"""Data as Seldon's wrapper has it <-> tensors as v2 has them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUMBERS: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(bool),
    **{f"INT{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
}
TEXT = "BYTES"
"""The datatype of texts, and of whatever else is no number."""

Array = NDArray[Any]
Message = dict[str, Any]


class UnfitError(Exception):
    """Data that a stage does not take, or an answer that this form of data cannot hold; says what is accepted."""


def chained(data: Any) -> Message:
    """``jsonData`` as a v2 request: one, or the answer of another stage, whose outputs become inputs.

    UnfitError for anything else.
    """
    message = dict(data) if isinstance(data, Mapping) else {}
    if "inputs" not in message:
        message = {"inputs": message.get("outputs")}
    if not isinstance(message["inputs"], list):
        raise UnfitError("jsonData: accepted: a v2 request, an object with a list 'inputs'")
    whole: Message = _whole(message)
    return whole


def as_request(
    data: Array | str | bytes, names: Sequence[str], inputs: Sequence[Message], chosen: str
) -> tuple[Message, bytes | None]:
    """A v2 request to a stage that takes ``inputs``, and the bytes behind it that JSON cannot hold.

    Data goes to the input that is ``chosen``, or to the only one; columns whose ``names`` are those of the inputs, or
    begin so (``scores:0``, ``scores:1``), each to its own. UnfitError where the stage does not take it.
    """
    if isinstance(data, np.ndarray):
        if not chosen and len(inputs) > 1 and (parts := _columns(data, names, inputs)):
            return {"inputs": [_tensor(spec, part) for spec, part in parts]}, None
        return {"inputs": [_tensor(_target(inputs, chosen), data)]}, None
    spec = _target(inputs, chosen)
    if spec["datatype"] != TEXT:
        raise UnfitError(f"input {spec['name']!r} is {spec['datatype']}; accepted: data, jsonData")
    tensor = {"name": spec["name"], "datatype": TEXT, "shape": [1] * len(spec["shape"])}
    if isinstance(data, str):
        return {"inputs": [{**tensor, "data": [data]}]}, None
    tail = struct.pack("<I", len(data)) + data
    tensor["parameters"] = {"binary_data_size": len(tail)}
    return {"inputs": [tensor], "parameters": {"binary_data_output": True}}, tail


def as_data(answer: Message, tail: bytes, kind: type) -> tuple[Any, list[str]]:
    """A v2 response, and the bytes behind it, as data, and the names of its columns.

    A single element of the ``kind`` of the request (str, bytes) is that; one tensor is an array; several, which must
    have equally many rows, are the columns of one. UnfitError where they have not; KeyError, TypeError, ValueError or
    struct.error where it is no v2 response.
    """
    arrays = _arrays(answer, tail)
    if len(arrays) == 1:
        ((name, array),) = arrays.items()
        if array.size == 1 and isinstance(array.item(), kind):
            return array.item(), []
        return _as_text(array), _names(name, array) if array.ndim == 2 else []
    if any(array.ndim != 2 for array in arrays.values()) or len({len(array) for array in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
        raise UnfitError(f"the outputs are no columns of one table: {shapes}; accepted: jsonData")
    table = np.hstack([_as_text(array) for array in arrays.values()])
    return table, [column for name, array in arrays.items() for column in _names(name, array)]


def _whole(value: Any) -> Any:
    """The same with whole numbers where they are: over gRPC all numbers of ``jsonData`` are doubles."""
    if isinstance(value, Mapping):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _target(inputs: Sequence[Message], chosen: str) -> Message:
    """The input that data goes to as a whole."""
    names = ", ".join(spec["name"] for spec in inputs)
    found = [spec for spec in inputs if spec["name"] == chosen or not chosen]
    if not found:
        raise UnfitError(f"parameter 'input': {chosen!r}; accepted: {names}")
    if len(found) > 1:
        raise UnfitError(f"the inputs are {names}; accepted: columns named so, jsonData, or the parameter 'input'")
    return found[0]


def _columns(data: Array, names: Sequence[str], inputs: Sequence[Message]) -> list[tuple[Message, Array]]:
    """Each input and the columns that are named after it; empty where names do not tell."""
    known = {spec["name"] for spec in inputs}
    owners = [name if name in known else name.rpartition(":")[0] for name in names]
    if data.ndim != 2 or len(owners) != data.shape[1] or set(owners) != known:
        return []
    return [(spec, data[:, [owner == spec["name"] for owner in owners]]) for spec in inputs]


def _names(tensor: str, array: Array) -> list[str]:
    """Of the columns of a tensor."""
    return [tensor] if array.shape[1] == 1 else [f"{tensor}:{column}" for column in range(array.shape[1])]


def _tensor(spec: Message, values: Array) -> Message:
    """Values as the datatype of an input, where they have one."""
    name, datatype = spec["name"], spec["datatype"]
    number = NUMBERS.get(datatype)
    if values.dtype.kind not in ("UO" if number is None else "biuf"):
        raise UnfitError(f"input {name!r} is {datatype}; accepted: {'texts' if number is None else 'numbers'}")
    if number is not None:
        with np.errstate(invalid="ignore", over="ignore"):
            cast = values.astype(number)
        if number.kind != "f" and not np.array_equal(cast, values):
            raise UnfitError(f"input {name!r} is {datatype}, and one of the numbers is not")
        values = cast
    return {"name": name, "datatype": datatype, "shape": list(values.shape), "data": values.ravel().tolist()}


def _arrays(answer: Message, tail: bytes) -> dict[str, Array]:
    """The outputs of a response by name; elements that are no numbers are str, or bytes out of the ``tail``."""
    found = {}
    for output in answer["outputs"]:
        size = (output.get("parameters") or {}).get("binary_data_size")
        values = output["data"] if size is None else _elements(output["datatype"], tail[:size])
        tail = tail[size or 0 :]
        found[output["name"]] = np.array(values, NUMBERS.get(output["datatype"], object)).reshape(output["shape"])
    return found


def _elements(datatype: str, raw: bytes) -> Any:
    """What the binary data extension holds: numbers as they are in memory, or each element behind its length."""
    if datatype != TEXT:
        return np.frombuffer(raw, NUMBERS[datatype])
    elements, start = [], 0
    while start < len(raw):
        (length,) = struct.unpack_from("<I", raw, start)
        elements.append(raw[start + 4 : start + 4 + length])
        start += 4 + length
    return elements


def _as_text(array: Array) -> Array:
    """Bytes as text; ValueError where they are none."""
    if array.dtype != object:
        return array
    words = [element.decode() if isinstance(element, bytes) else element for element in array.ravel()]
    return np.array(words, object).reshape(array.shape)
