"""The requests of the text pipeline and of its recogniser alone: pictures and cut lines as v2 JSON, and how many of
their lines an answer has read.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ipa_seldon.demo.snippets import cuttings, matched, snippet
from ipa_seldon.errors import ConfigError
from ipa_seldon.loadgen import Payload
from ipa_seldon.platforms.triton_models import read_configuration

LINES = 4
"""Lines of a request to the recogniser, empty strings where there are fewer: the length of its tensor."""


def text_payload(seed: int, index: int) -> Payload:
    """One snippet as the BYTES tensor ``image`` of shape [1, 1]: base64 text of a PNG."""
    shown = snippet(seed, index)
    return _payload("image", [shown.png], shown.lines)


def lines_payload(seed: int, index: int) -> Payload:
    """The lines of one snippet, cut out, as the BYTES tensor ``lines`` of shape [1, LINES]: base64 text of PNGs."""
    shown = cuttings(seed, index)
    return _payload("lines", [*shown.pngs, *[b""] * (LINES - len(shown.pngs))], shown.lines)


GENERATED: Mapping[str, Callable[[int, int], Payload]] = {"image": text_payload, "lines": lines_payload}
"""By the tensor they are: (seed, index) -> payload."""


def payloads(tensor: str, seed: int, count: int) -> list[Payload]:
    """``count`` different requests of ``seed``, ready to send; ``tensor`` is one of GENERATED."""
    return [GENERATED[tensor](seed, index) for index in range(count)]


def requests(tensor: str, seed: int) -> Callable[[int], Mapping[str, Any]]:
    """The ``index``-th request of ``seed`` as a v2 body, for the profiler; ``tensor`` is one of GENERATED."""
    return lambda index: dict(json.loads(GENERATED[tensor](seed, index).body))


def generated_for(repository: Path, stage: str) -> str:
    """The tensor of GENERATED that is all that ``stage`` takes; ConfigError that names what it takes."""
    names = [tensor["name"] for tensor in read_configuration(repository, stage)["input"]]
    if len(names) != 1 or names[0] not in GENERATED:
        raise ConfigError(
            f"no requests can be made up for {stage!r}, which takes {', '.join(names)}; accepted: a stage that takes "
            f"{' or '.join(GENERATED)}"
        )
    return str(names[0])


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
    body = {"inputs": [{"name": tensor, "shape": [1, len(data)], "datatype": "BYTES", "data": data}]}
    return Payload(json.dumps(body).encode(), len(lines), partial(_matched, lines))
