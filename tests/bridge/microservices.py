"""Components served by the real ``seldon-core-microservice``, each in its processes, and what an executor asks them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv-seldon" / "bin"
STAGE = "ipa_seldon.bridge.stage.TritonStage"
PATIENCE = 30

Message = dict[str, Any]


def installed(command: str) -> str:
    """A command of the wrapper's environment; the test is skipped without it, unless in CI."""
    path = BIN / command
    if not path.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{path} is missing: make test makes it")
        pytest.skip(f"{path} is missing: make test makes it")
    return str(path)


def parameters(**values: str) -> str:
    """As Seldon's operator puts a unit's parameters into PREDICTIVE_UNIT_PARAMETERS."""
    return json.dumps([{"name": name, "value": value, "type": "STRING"} for name, value in values.items()])


class Microservice:
    """Runs a component (``module.Class``, found in ``path``) until ``end``; ``folder`` gets its log and whatever else
    it writes.
    """

    def __init__(self, component: str, folder: Path, *, path: Path | None = None, **values: str) -> None:
        self.http, self.grpc, self.metrics = _free_ports(3)
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(installed("seldon-core-microservice"), component, "--grpc-port", str(self.grpc)),
                    *("--http-port", str(self.http), "--metrics-port", str(self.metrics)),
                ],
                cwd=path or folder,
                env=os.environ
                | {"PREDICTIVE_UNIT_PARAMETERS": parameters(**values), "GUNICORN_THREADS": "4", "TMPDIR": str(folder)}
                | {"PYTHONDONTWRITEBYTECODE": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def await_alive(self) -> None:
        """Until it answers; AssertionError with its log where it has ended instead."""
        wait_for(self._alive, PATIENCE)

    def _alive(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        with suppress(OSError):
            return self.get("/health/ping")[0] == 200
        return False

    def get(self, path: str, port: int | None = None) -> tuple[int, str]:
        """Status and body."""
        return self._ask("GET", path, None, {}, port)

    def ask(self, path: str, message: Message, headers: Mapping[str, str] | None = None) -> tuple[int, Message]:
        """Status and message, as an executor asks."""
        headers = {"Content-Type": "application/json", **(headers or {})}
        status, body = self._ask("POST", path, json.dumps(message), headers)
        return status, json.loads(body)

    def predict(self, message: Message, headers: Mapping[str, str] | None = None) -> tuple[int, Message]:
        """Status and message, as a client asks."""
        return self.ask("/api/v1.0/predictions", message, headers)

    def _ask(
        self, method: str, path: str, body: str | None, headers: Mapping[str, str], port: int | None = None
    ) -> tuple[int, str]:
        with closing(HTTPConnection("127.0.0.1", port or self.http, timeout=PATIENCE)) as connection:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def end(self) -> None:
        """End every process of it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@dataclass(frozen=True)
class Node:
    """Of a graph: MODEL, ROUTER or COMBINER."""

    type: str
    service: Microservice
    children: Sequence[Node] = ()


def execute(node: Node, message: Message) -> Message:
    """What Seldon's executor makes of a request: the answer of a node is what its children are asked."""
    if node.type == "MODEL":
        message = _answer(node, "/predict", message)
    if not node.children:
        return message
    asked = node.children
    if node.type == "ROUTER":
        asked = [node.children[_answer(node, "/route", message)["data"]["ndarray"][0][0]]]
    answers = [execute(child, message) for child in asked]
    return _answer(node, "/aggregate", {"seldonMessages": answers}) if node.type == "COMBINER" else answers[0]


def _answer(node: Node, path: str, message: Message) -> Message:
    status, answer = node.service.ask(path, message)
    assert status == 200, answer
    return answer


def _free_ports(number: int) -> list[int]:
    """Ports that were free a moment ago; held together, so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
