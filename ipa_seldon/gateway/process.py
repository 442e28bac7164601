"""A gateway in a process of its own, beside the controller, so that neither can slow the other down."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from ipa_seldon.errors import PlatformError
from ipa_seldon.gateway.protocol import error_of

HOST = "127.0.0.1"
_STOP_TIMEOUT = 15.0
_REQUEST_TIMEOUT = 2.0
_DISPATCH_TIMEOUT = 10.0
"""Longer, since a table takes effect only once its models were looked at."""


class GatewayProcess:
    """``ipa-seldon gateway`` for the pipeline file at ``path`` over the Triton at ``triton_url``; a context manager."""

    def __init__(self, path: Path, triton_url: str, port: int = 0) -> None:
        self._command = [
            *(sys.executable, "-m", "ipa_seldon", "gateway", "--file", str(path), "--triton", triton_url),
            *("--host", HOST, "--port", str(port), "--parent-pid", str(os.getpid())),
        ]
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

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

    def arrivals(self, now: float, seconds: int) -> list[float]:
        """Requests that arrived in each of the last ``seconds`` whole seconds before ``now`` (seconds since the epoch).

        Seconds before the gateway's start are NaN: nobody measured them. PlatformError where it does not answer.
        """
        series = self._asked(f"/arrivals?seconds={seconds}", "does not tell its arrivals")
        counts = [math.nan if count is None else float(count) for count in series["counts"]]
        late = max(math.floor(now) - int(series["end"]), 0)
        counts += [math.nan] * min(late, seconds)
        return [math.nan] * (seconds - len(counts)) + counts[-seconds:]

    def dispatch(self, table: Mapping[str, Mapping[str, float]]) -> None:
        """Share each stage's requests by stage -> version -> weight from now on; PlatformError where it does not."""
        self._asked("/dispatch", "does not dispatch", json.dumps(table).encode())

    def dispatched(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Stage -> version -> ``weight``, ``in_flight`` requests and ``healthy``, of those that requests go to or are
        under way to; PlatformError where it does not answer.
        """
        report: dict[str, dict[str, dict[str, Any]]] = self._asked("/dispatch", "does not tell what it dispatches")
        return report

    def _asked(self, path: str, failure: str, body: bytes | None = None) -> Any:
        """The JSON that it answers to a GET, or to a PUT of ``body``."""
        timeout = _REQUEST_TIMEOUT if body is None else _DISPATCH_TIMEOUT
        request = urllib.request.Request(f"{self.url}{path}", body, method="GET" if body is None else "PUT")  # noqa: S310  # our own http URL
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310  # our own http URL
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                reason = error_of(error.read())
            raise PlatformError(f"the gateway at {self.url} {failure}: {reason}") from error
        except (OSError, ValueError) as error:
            raise PlatformError(f"the gateway at {self.url} {failure}: {error}") from error
