"""The text pipeline's requests: snippets as v2 JSON, and how many of their lines an answer has read."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ipa_seldon.demo.snippets import matched, snippet
from ipa_seldon.loadgen import Payload


def text_payloads(seed: int, count: int) -> list[Payload]:
    """``count`` different snippets of ``seed``, ready to send."""
    return [text_payload(seed, index) for index in range(count)]


def text_requests(seed: int) -> Callable[[int], Mapping[str, Any]]:
    """The ``index``-th snippet of ``seed`` as a v2 body, for the profiler."""
    return lambda index: dict(json.loads(text_payload(seed, index).body))


def text_payload(seed: int, index: int) -> Payload:
    """One snippet as the BYTES tensor ``image`` of shape [1, 1]: base64 text of a PNG."""
    shown = snippet(seed, index)
    data = [base64.b64encode(shown.png).decode()]
    body = {"inputs": [{"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": data}]}
    return Payload(json.dumps(body).encode(), len(shown.lines), partial(_matched, shown.lines))


def lines_of(answer: bytes) -> list[str]:
    """The lines in an answer's tensor ``text``, which pads with empty strings; none where there is no such tensor."""
    try:
        outputs = json.loads(answer)["outputs"]
        return [line for tensor in outputs if tensor["name"] == "text" for line in tensor["data"] if line]
    except (ValueError, KeyError, TypeError):
        return []


def _matched(expected: tuple[str, ...], answer: bytes) -> int:
    return matched(expected, lines_of(answer))
