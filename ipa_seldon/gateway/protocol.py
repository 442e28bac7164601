"""Open Inference Protocol v2 as JSON: what a client may send, and how one stage's response feeds the next.

The rules are those of Seldon's executor: JSON only, and ``outputs`` of a stage become ``inputs`` of its children.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]

PUID = "Seldon-Puid"
BINARY = "the binary tensor data extension is not supported; accepted: JSON tensors (binary_data: false)"
_DEAD_PROCESS = re.compile("Stub process '[^']*' is not healthy")


class RefusedError(Exception):
    """A request ends here with ``status``; ``stage`` names the stage that could no longer make the SLO (504)."""

    def __init__(self, status: int, reason: str, stage: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.stage = stage


class FaultError(RefusedError):
    """The server that was asked is at fault, not the request: another one may answer it."""


def refusal(stage: str, status: int, reason: str) -> RefusedError:
    """What it means that Triton answered ``stage`` with a ``status`` other than 200 and these words.

    The server is at fault where it does not have the model, or the model's process is dead, which Triton 2.51 neither
    restarts nor tells from a failed request by its status.
    """
    unloaded = status == 404 and "unknown model" in reason
    dead = status == 500 and _DEAD_PROCESS.search(reason) is not None
    kind = FaultError if status == 503 or unloaded or dead else RefusedError
    return kind(status, f"stage {stage!r}: {reason}")


def read_request(headers: Mapping[str, str], body: bytes) -> Message:
    """The client's request; RefusedError with 400 where it is not v2 JSON."""
    if "inference-header-content-length" in headers:
        raise RefusedError(400, BINARY)
    request = _decoded(body)
    if request is None or not isinstance(request.get("inputs"), list):
        raise RefusedError(400, "the body is no v2 inference request; accepted: a JSON object with a list 'inputs'")
    parameters, outputs = request.get("parameters", {}), request.get("outputs", [])
    if not isinstance(parameters, dict) or not isinstance(outputs, list):
        raise RefusedError(400, "the body is no v2 inference request; accepted: object 'parameters', list 'outputs'")
    if parameters.get("binary_data_output") or any(
        _tensor_parameters(tensor).keys() & {"binary_data_size"} or _tensor_parameters(tensor).get("binary_data")
        for tensor in (*request["inputs"], *outputs)
    ):
        raise RefusedError(400, BINARY)
    return request


def read_response(stage: str, body: bytes) -> Message:
    """A stage's response; RefusedError with 502 where it is not v2 JSON."""
    response = _decoded(body)
    if response is None or not isinstance(response.get("outputs"), list):
        raise RefusedError(502, f"stage {stage!r}: the server's answer is no v2 inference response")
    return response


def stage_request(
    request: Message, stamped: Mapping[str, int], response: Message | None = None, last: bool = True
) -> bytes:
    """The body for a stage: the client's ``request``, its inputs replaced by the outputs of the stage before it.

    ``stamped`` are request parameters by which Triton's own queue goes: ``timeout`` (microseconds), after which it
    rejects, of which a shorter one of the client's stands, and perhaps ``priority``, of which the client's own stands.
    The client's ``id`` and ``parameters`` go to every stage; the ``outputs`` it asks for are tensors of the answer, so
    only the ``last`` stage is asked for them.
    """
    body = dict(request)
    if response is not None:
        body["inputs"] = [_as_input(tensor) for tensor in response["outputs"]]
    if not last:
        body.pop("outputs", None)
    parameters = request.get("parameters", {})
    timeout, own = stamped["timeout"], parameters.get("timeout")
    if isinstance(own, int) and own > 0:
        timeout = min(timeout, own)
    body["parameters"] = {**stamped, **parameters, "timeout": timeout}
    return json.dumps(body, separators=(",", ":")).encode()


def error_of(body: bytes) -> str:
    """What a v2 error body says, or the body itself."""
    message = _decoded(body)
    return str(message["error"]) if message and "error" in message else body[:500].decode(errors="replace")


def versions_header(versions: Mapping[str, str], order: Sequence[str]) -> str:
    """``detect=3;recognise=2``: what answered, stage by stage."""
    return ";".join(f"{stage}={versions[stage]}" for stage in order if stage in versions)


def _decoded(body: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(body)
    except ValueError:  # malformed JSON, or bytes that are no text
        return None
    return message if isinstance(message, dict) else None


def _tensor_parameters(tensor: object) -> Mapping[str, Any]:
    parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
    return parameters if isinstance(parameters, dict) else {}


def _as_input(tensor: Message) -> Message:
    return {key: tensor[key] for key in ("name", "shape", "datatype", "data") if key in tensor}
