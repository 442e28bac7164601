"""Data of Seldon's wrapper becomes tensors, and tensors become data, without a change of what they say."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ipa_seldon.bridge.tensors import UnfitError, as_data, as_request, chained


def tensor(name: str, datatype: str, *shape: int) -> dict[str, Any]:
    """As a server describes it."""
    return {"name": name, "datatype": datatype, "shape": list(shape)}


BOX, SCORE = tensor("box", "FP32", -1, 4), tensor("score", "INT64", -1, 1)


def echoed(request: tuple[dict[str, Any], bytes | None], kind: type = np.ndarray) -> tuple[Any, list[str]]:
    """What a stage makes of a request that answers its inputs."""
    message, tail = request
    return as_data({"outputs": message["inputs"]}, tail or b"", kind)


def test_columns_find_their_tensors_and_keep_their_names() -> None:
    """In whatever order they come, each tensor gets its own columns, as its datatype; the answer has these names."""
    names = ["score", "box:0", "box:1", "box:2", "box:3"]
    data = np.array([[7, 0.5, 1, 2, 3], [8, 4.5, 5, 6, 7]])
    message, tail = as_request(data, names, [BOX, SCORE], "")
    assert tail is None
    assert [(made["name"], made["datatype"], made["shape"]) for made in message["inputs"]] == [
        ("box", "FP32", [2, 4]),
        ("score", "INT64", [2, 1]),
    ]
    assert message["inputs"][1]["data"] == [7, 8]
    table, columns = echoed((message, tail))
    assert columns == [*names[1:], "score"]
    assert table.tolist() == np.roll(data, -1, axis=1).tolist()


@pytest.mark.parametrize("datatype", ["BOOL", "INT8", "UINT8", "INT32", "UINT64", "FP16", "FP32", "FP64"])
def test_numbers_stay_what_they_are(datatype: str) -> None:
    """Any shape, of every datatype, from what JSON and gRPC give: whole numbers or doubles."""
    for kind in (np.int64, np.float64):
        data = np.array([[[0, 1], [1, 0]], [[1, 1], [0, 0]]], kind)
        found, columns = echoed(as_request(data, [], [tensor("image", datatype, -1, 2, 2)], ""))
        assert (found == data).all()
        assert columns == []


@pytest.mark.parametrize(
    "data", [np.array([["a", "ü"]]), "ü", b"\xff\x00", np.array([["only"]])], ids=["texts", "str", "bytes", "one"]
)
def test_texts_stay_what_they_are(data: Any) -> None:
    """Texts as an array, one as strData, and bytes that are no text as binData, without a detour by JSON."""
    found, _ = echoed(as_request(data, [], [tensor("line", "BYTES", -1, 1)], ""), type(data))
    assert type(found) is type(data)
    assert found.tolist() == data.tolist() if isinstance(data, np.ndarray) else found == data


def test_binary_numbers_and_texts_are_read() -> None:
    """What a stage answers behind the JSON: numbers as they are in memory, texts behind their lengths."""
    answer = {
        "outputs": [
            tensor("score", "FP32", 2, 1) | {"parameters": {"binary_data_size": 8}},
            tensor("label", "BYTES", 2, 1) | {"parameters": {"binary_data_size": 11}},
        ]
    }
    tail = np.array([0.5, 2], np.float32).tobytes() + b"\x02\x00\x00\x00no" + b"\x01\x00\x00\x00y"
    table, columns = as_data(answer, tail, bytes)
    assert (table.tolist(), columns) == ([[0.5, "no"], [2.0, "y"]], ["score", "label"])


@pytest.mark.parametrize(
    ("data", "names", "inputs", "chosen", "words"),
    [
        (np.array([[1.5]]), [], [SCORE], "", "input 'score' is INT64, and one of the numbers is not"),
        (np.array([[np.nan]]), [], [SCORE], "", "input 'score' is INT64, and one of the numbers is not"),
        (
            np.array([[300]]),
            [],
            [tensor("pixel", "UINT8", -1, 1)],
            "",
            "input 'pixel' is UINT8, and one of the numbers",
        ),
        (np.array([["a"]]), [], [BOX], "", "input 'box' is FP32; accepted: numbers"),
        (np.array([[1]]), [], [tensor("line", "BYTES", -1, 1)], "", "input 'line' is BYTES; accepted: texts"),
        ("text", [], [BOX], "", "input 'box' is FP32; accepted: data, jsonData"),
        (np.array([[1, 2]]), ["a", "b"], [BOX, SCORE], "", "the inputs are box, score; accepted: columns named so"),
        (np.array([[1]]), [], [BOX, SCORE], "size", "parameter 'input': 'size'; accepted: box, score"),
    ],
)
def test_what_a_stage_does_not_take_is_said(
    data: Any, names: list[str], inputs: list[dict[str, Any]], chosen: str, words: str
) -> None:
    """In one line, with what is accepted; a number is never rounded, cut off or wrapped around."""
    with pytest.raises(UnfitError, match=words):
        as_request(data, names, inputs, chosen)


def test_data_goes_to_the_input_that_is_chosen() -> None:
    """And to no other, whatever the columns are called."""
    message, _ = as_request(np.array([[1]]), ["box"], [BOX, SCORE], "score")
    assert [made["name"] for made in message["inputs"]] == ["score"]


def test_outputs_that_are_no_table_are_refused() -> None:
    """With their shapes, and the form that can hold them."""
    outputs = [tensor("box", "FP32", 1, 2, 2) | {"data": [1, 2, 3, 4]}, tensor("score", "FP32", 1, 1) | {"data": [1]}]
    with pytest.raises(
        UnfitError, match=r"no columns of one table: box \[1, 2, 2\], score \[1, 1\]; accepted: jsonData"
    ):
        as_data({"outputs": outputs}, b"", np.ndarray)


def test_an_answer_as_json_chains() -> None:
    """The outputs of one stage are the inputs of the next; a request stays as it is; anything else is refused."""
    tensors = [tensor("score", "INT64", 1, 1) | {"data": [1]}]
    assert chained({"model_name": "one", "outputs": tensors}) == {"inputs": tensors}
    request = {"inputs": tensors, "outputs": [{"name": "score"}], "parameters": {"priority": 1}}
    assert chained(request) == request
    over_grpc = json.loads(json.dumps(tensors), parse_int=float)
    assert json.dumps(chained({"outputs": over_grpc})) == json.dumps({"inputs": tensors})
    others: list[Any] = [{}, [1], 5, {"inputs": {}}]
    for data in others:
        with pytest.raises(UnfitError, match="accepted: a v2 request"):
            chained(data)
