"""The v2 REST API that a stage is asked by: Triton's own, that of a Seldon executor, or the gateway's."""

from __future__ import annotations

import json
import time
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPSConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from seldon_core.flask_utils import SeldonMicroserviceException

from ipa_seldon.bridge.settings import REMAINING_SLO, Settings
from ipa_seldon.bridge.tensors import Message

READY_TIMEOUT = 2.0
"""Seconds in which a server must say whether the stage is ready."""
BINARY = "Inference-Header-Content-Length"
"""Header of v2's binary data extension: how many bytes of the body are JSON."""
MICROSECONDS = 1_000_000


class Answer(NamedTuple):
    """An HTTP answer, read completely."""

    status: int
    headers: HTTPMessage
    body: bytes


class Server:
    """Asks for one stage. Deadlines are of the monotonic clock, None where there is none.

    Every request has a connection of its own: pods that are added to a Service get none that is open already.
    """

    def __init__(self, settings: Settings) -> None:
        address = urlsplit(settings.url)
        self._settings = settings
        self._connection = HTTPSConnection if address.scheme == "https" else HTTPConnection
        self._host = address.netloc
        self._path = f"{address.path.rstrip('/')}/v2/models/{settings.stage}"

    def inputs(self, deadline: float | None) -> list[Message]:
        """The tensors that the stage takes, each with ``name``, ``datatype`` and ``shape``."""
        described, _ = self._read(self._ask("GET", "", self._left(deadline)))
        try:
            return [{key: spec[key] for key in ("name", "datatype", "shape")} for spec in described["inputs"]]
        except (KeyError, TypeError) as error:
            raise self.failure(502, f"the answer is no v2 description of a model: {error!r}") from error

    def check_ready(self) -> None:
        """SeldonMicroserviceException with 503 where the stage is not."""
        answer = self._ask("GET", "/ready", min(READY_TIMEOUT, self._settings.timeout))
        if answer.status != 200:
            raise self.failure(503, f"not ready: status {answer.status}")

    def infer(self, message: Message, tail: bytes | None, deadline: float | None) -> tuple[Message, bytes]:
        """The response to a v2 request; ``tail`` and the second value are what stands behind the JSON."""
        seconds, headers = self._left(deadline), {"Content-Type": "application/json"}
        if deadline is not None:
            left = deadline - time.monotonic()
            headers[REMAINING_SLO] = f"{left:.4f}"
            message = _hurried(message, left)
        body = json.dumps(message, separators=(",", ":")).encode()
        if tail is not None:
            headers |= {"Content-Type": "application/octet-stream", BINARY: str(len(body))}
            body += tail
        return self._read(self._ask("POST", "/infer", seconds, body, headers))

    def failure(self, status: int, words: str, reason: str = "TRITON_ERROR") -> SeldonMicroserviceException:
        """What a client is told."""
        error = SeldonMicroserviceException(f"stage {self._settings.stage!r}: {words}", status, reason=reason)
        error.args = (error.message,)  # all that the wrapper tells over gRPC
        return error

    def _left(self, deadline: float | None) -> float:
        """Seconds that an answer is waited for; SeldonMicroserviceException with 504 where there are none."""
        if deadline is None:
            return self._settings.timeout
        if (left := deadline - time.monotonic()) <= 0:
            raise self.failure(504, "no time is left", "TRITON_TIMEOUT")
        return min(left, self._settings.timeout)

    def _ask(self, method: str, path: str, seconds: float, body: bytes | None = None, headers: Any = None) -> Answer:
        try:
            with closing(self._connection(self._host, timeout=seconds)) as connection:
                connection.request(method, self._path + path, body, headers or {})
                answer = connection.getresponse()
                return Answer(answer.status, answer.headers, answer.read())
        except TimeoutError as error:
            raise self.failure(504, f"no answer within {seconds:.3g} s", "TRITON_TIMEOUT") from error
        except (OSError, HTTPException) as error:
            words = f"{self._settings.url} does not answer: {error}"
            raise self.failure(503, words, "TRITON_UNREACHABLE") from error

    def _read(self, answer: Answer) -> tuple[Message, bytes]:
        """The JSON of an answer, and what stands behind it; SeldonMicroserviceException where it is an error."""
        length = int(answer.headers.get(BINARY, len(answer.body)))
        try:
            message = json.loads(answer.body[:length])
        except ValueError:  # also where bytes that are no text stand in it
            message = None
        if answer.status == 200:
            if isinstance(message, dict):
                return message, answer.body[length:]
            raise self.failure(502, f"the answer is no JSON: {answer.body[:200]!r}")
        said = message.get("error") if isinstance(message, dict) else None
        words = str(said or answer.body[:200].decode(errors="replace"))
        if "timeout expired" in words:  # Triton's, for a request that queued longer than its timeout
            raise self.failure(504, words, "TRITON_TIMEOUT")
        raise self.failure(answer.status, words)


def _hurried(message: Message, left: float) -> Message:
    """The request with what is ``left`` (seconds) as the timeout of Triton's queue, unless it has a shorter one."""
    parameters = message.get("parameters") or {}
    timeout, own = max(1, int(left * MICROSECONDS)), parameters.get("timeout")
    if isinstance(own, int) and own > 0:
        timeout = min(timeout, own)
    return {**message, "parameters": {**parameters, "timeout": timeout}}
