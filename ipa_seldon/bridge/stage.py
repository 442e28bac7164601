"""The component that Seldon's wrapper serves: ``seldon-core-microservice ipa_seldon.bridge.stage.TritonStage``."""

from __future__ import annotations

import math
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flask import has_request_context, request
from seldon_core.flask_utils import SeldonMicroserviceException
from seldon_core.user_model import SeldonResponse

from ipa_seldon.bridge.server import Server
from ipa_seldon.bridge.settings import REMAINING_SLO, read_settings
from ipa_seldon.bridge.tensors import Array, Message, UnfitError, as_data, as_request, chained

VERSION = "Ipa-Version-"
"""How the tag begins that tells which version of a stage has answered; the stage's name follows."""
TIMER = "ipa_bridge_request_seconds"
"""A histogram of how long the stage took to answer."""


class TritonStage:
    """One model of a v2 server. ``parameters`` are those of ``Settings``; SystemExit, in one line, for others."""

    def __init__(self, **parameters: Any) -> None:
        self._settings = read_settings(parameters)
        self._server = Server(self._settings)
        self._inputs: list[Message] = []
        # The wrapper asks for the names of columns apart from the data, in the thread of the request.
        self._answered = threading.local()

    def predict(self, data: Any, names: Sequence[str], meta: Message | None = None) -> SeldonResponse:
        """The stage's answer to ``data``, whose columns have ``names``.

        SeldonMicroserviceException with the server's words and status where it refuses, 400 for data that the stage
        does not take, 503 where the server does not answer, 504 where the time is up.
        """
        began = time.monotonic()
        budget = read_budget((meta or {}).get("tags") or {})
        deadline = None if budget is None else began + budget
        try:
            answer, version = self._infer(data, names, deadline)
        except UnfitError as error:
            raise self._server.failure(400, str(error), "MICROSERVICE_BAD_DATA") from error
        except SeldonMicroserviceException:
            self._inputs = []  # another version may take other tensors
            raise
        ended = time.monotonic()
        tags: Message = {} if version is None else {VERSION + self._settings.stage: str(version)}
        if deadline is not None:  # for the nodes behind this one
            tags[REMAINING_SLO] = round(deadline - ended, 4)
        # The wrapper takes milliseconds, and makes seconds of them.
        return SeldonResponse(answer, tags, [{"type": "TIMER", "key": TIMER, "value": 1000 * (ended - began)}])

    def class_names(self) -> list[str]:
        """The names of the columns that this thread was last answered."""
        names: list[str] = self._answered.names
        return names

    def health_status(self) -> str:
        """Says that the stage is ready; SeldonMicroserviceException with 503 where it is not."""
        self._server.check_ready()
        return f"stage {self._settings.stage!r} is ready"

    def _infer(self, data: Any, names: Sequence[str], deadline: float | None) -> tuple[Any, Any]:
        """The answer, in the form of the data, and the version that gave it."""
        if not isinstance(data, np.ndarray | str | bytes):
            answer, _ = self._server.infer(chained(data), None, deadline)
            return answer, answer.get("model_version")
        answer, tail = self._server.infer(*self._request(data, names, deadline), deadline)
        try:
            found, self._answered.names = as_data(answer, tail, type(data))
        except (KeyError, TypeError, ValueError, struct.error) as error:
            raise self._server.failure(502, f"the answer is no v2 response: {error!r}") from error
        return found, answer.get("model_version")

    def _request(
        self, data: Array | str | bytes, names: Sequence[str], deadline: float | None
    ) -> tuple[Message, bytes | None]:
        inputs = self._inputs or self._server.inputs(deadline)
        self._inputs = inputs
        return as_request(data, names, inputs, self._settings.input)


def read_budget(tags: Mapping[str, Any]) -> float | None:
    """Seconds that a request may take: by its tag, which bridges before this one have set, else by its header, which
    Seldon's executor hands to every node over REST; None where neither is. SeldonMicroserviceException with 400 for
    what is no number.
    """
    stated = tags.get(REMAINING_SLO)
    if stated is None and has_request_context():
        stated = request.headers.get(REMAINING_SLO)
    if stated is None:
        return None
    try:
        seconds = float(stated)
    except (TypeError, ValueError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise SeldonMicroserviceException(f"{REMAINING_SLO}: {stated!r}; accepted: seconds as a decimal number", 400)
    return seconds
