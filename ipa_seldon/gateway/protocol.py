"""Open Inference Protocol v2: what a client may send, and how one stage's response feeds the next.

The rules are those of Seldon's executor: ``outputs`` of a stage become ``inputs`` of its children. But here tensors may
be binary; the executor knows JSON only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ipa_seldon.gateway.messages import HEADER_LENGTH, Body, Message, decoded, parameters_of, read_message, split

PUID = "Seldon-Puid"
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


def read_request(headers: Mapping[str, str], content: bytes) -> Message:
    """The client's request; RefusedError with 400 where it is not v2."""
    try:
        request = read_message(split(content, headers.get(HEADER_LENGTH)), "inputs")
    except ValueError as error:
        raise RefusedError(400, f"the body is no v2 inference request; {error}") from error
    parameters, outputs = request.fields.get("parameters", {}), request.fields.get("outputs", [])
    if not isinstance(parameters, dict) or not isinstance(outputs, list):
        raise RefusedError(400, "the body is no v2 inference request; accepted: object 'parameters', list 'outputs'")
    return request


def read_response(stage: str, content: bytes, length: str | None) -> tuple[Body, Message]:
    """A stage's response, which came with the header HEADER_LENGTH of that value (None: without), as it is and as what
    it says; RefusedError with 502 where it is not v2.
    """
    try:
        body = split(content, length)
        return body, read_message(body, "outputs")
    except ValueError as error:
        raise RefusedError(502, f"stage {stage!r}: the server's answer is no v2 inference response; {error}") from error


def handed_on(request: Message, response: Message | None, last: bool) -> Message:
    """What a stage is asked: the client's ``request``, its inputs replaced by the outputs of the stage before it.

    The client's ``id`` and ``parameters`` go to every stage; the ``outputs`` it asks for are tensors of the answer, so
    only the ``last`` stage is asked for them. Stages in between answer in binary where the client sends or asks for
    binary tensors, and tensors are sent on as they were answered.
    """
    fields, raw = dict(request.fields), request.raw
    if response is not None:
        fields["inputs"], raw = [_as_input(tensor) for tensor in response.fields["outputs"]], response.raw
    if not last:
        fields.pop("outputs", None)
        if _is_binary(request):
            fields["parameters"] = {**parameters_of(fields), "binary_data_output": True}
    return Message(fields, raw)


def stamped(request: Message, stamp: Mapping[str, int]) -> Message:
    """``request`` with parameters by which Triton's own queue goes: ``timeout`` (microseconds), after which it rejects,
    of which a shorter one of the client's stands, and perhaps ``priority``, of which the client's own stands.
    """
    parameters = parameters_of(request.fields)
    timeout, own = stamp["timeout"], parameters.get("timeout")
    if isinstance(own, int) and own > 0:
        timeout = min(timeout, own)
    return Message({**request.fields, "parameters": {**stamp, **parameters, "timeout": timeout}}, request.raw)


def error_of(body: bytes) -> str:
    """What a v2 error body says, or the body itself."""
    message = decoded(body)
    return str(message["error"]) if message and "error" in message else body[:500].decode(errors="replace")


def versions_header(versions: Mapping[str, str], order: Sequence[str]) -> str:
    """``detect=3;recognise=2``: what answered, stage by stage."""
    return ";".join(f"{stage}={versions[stage]}" for stage in order if stage in versions)


def _is_binary(request: Message) -> bool:
    """Whether a client speaks binary: in what it sends, or in what it asks for."""
    return (
        request.raw is not None
        or bool(parameters_of(request.fields).get("binary_data_output"))
        or any(parameters_of(output).get("binary_data") for output in request.fields.get("outputs", []))
    )


def _as_input(tensor: Mapping[str, Any]) -> Mapping[str, Any]:
    kept: dict[str, Any] = {key: tensor[key] for key in ("name", "shape", "datatype", "data") if key in tensor}
    size = parameters_of(tensor).get("binary_data_size")
    return kept if size is None else {**kept, "parameters": {"binary_data_size": size}}
