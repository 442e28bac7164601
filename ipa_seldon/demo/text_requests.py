"""The requests of the text pipeline and of its recogniser alone: pictures and cut lines, and how many of their lines an
answer has read.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import partial

from ipa_seldon.demo.snippets import cuttings, matched, snippet
from ipa_seldon.gateway.messages import Message
from ipa_seldon.loadgen import Payload

LINES = 4
"""Lines of a request to the recogniser, empty strings where there are fewer: the length of its tensor."""


def image(seed: int, index: int) -> Payload:
    """One snippet as the BYTES tensor ``image`` of shape [1, 1]: base64 text of a PNG."""
    shown = snippet(seed, index)
    return _payload("image", [shown.png], shown.lines)


def lines(seed: int, index: int) -> Payload:
    """The lines of one snippet, cut out, as the BYTES tensor ``lines`` of shape [1, LINES]: base64 text of PNGs."""
    shown = cuttings(seed, index)
    return _payload("lines", [*shown.pngs, *[b""] * (LINES - len(shown.pngs))], shown.lines)


def lines_of(answer: bytes) -> list[str]:
    """The lines in an answer's tensor ``text``, which pads with empty strings; none where there is no such tensor."""
    try:
        outputs = json.loads(answer)["outputs"]
        return [line for tensor in outputs if tensor["name"] == "text" for line in tensor["data"] if line]
    except (ValueError, KeyError, TypeError):
        return []


def _matched(expected: tuple[str, ...], answer: bytes) -> int:
    return matched(expected, lines_of(answer))


def _payload(tensor: str, pngs: Sequence[bytes], lines: tuple[str, ...]) -> Payload:
    data = [base64.b64encode(png).decode() for png in pngs]
    fields = {"inputs": [{"name": tensor, "shape": [1, len(data)], "datatype": "BYTES", "data": data}]}
    return Payload(Message(fields).body(), len(lines), partial(_matched, lines))
