"""A gateway in a process of its own, beside the controller, so that neither can slow the other down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

from ipa_seldon.errors import PlatformError
from ipa_seldon.gateway.client import GatewayClient

HOST = "127.0.0.1"
Order = Literal["edf", "fifo"]
"""By deadline, or by arrival."""
_STOP_TIMEOUT = 15.0


class GatewayProcess(GatewayClient):
    """``ipa-seldon gateway`` for the pipeline file at ``path`` over the Triton at ``triton_url``; a context manager."""

    def __init__(self, path: Path, triton_url: str, port: int = 0, order: Order = "edf") -> None:
        super().__init__("")
        self._command = [
            *(sys.executable, "-m", "ipa_seldon", "gateway", "--file", str(path), "--triton", triton_url),
            *("--host", HOST, "--port", str(port), "--order", order, "--parent-pid", str(os.getpid())),
        ]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        # A session of its own: Ctrl-C reaches the controller alone, which then stops its gateway in order.
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self._process.stdout is not None  # noqa: S101  # stdout=PIPE
        line = self._process.stdout.readline()
        if not line:
            raise PlatformError(f"the gateway did not start (exit code {self._process.wait()})")
        self.url = json.loads(line)["url"]
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_TIMEOUT)
        self._process.kill()
        self._process.communicate()
