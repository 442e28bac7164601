"""Pods with a sidecar that answers /status over HTTP, without a Triton behind it."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ipa_seldon.errors import PlatformError
from ipa_seldon.specs.desired import ENTRY, SIDECAR, PodPlan, pod_plan
from ipa_seldon.specs.seldon import SIDECAR_PORT
from tests.cluster.pod_runner import InstantPods


class SidecarPods(InstantPods):
    """``document()`` is the plan as it stands. Pods serve what it tells them as soon as they are asked, except while
    ``stuck``: then those in it stay with what they served last.
    """

    def __init__(self, document: Callable[[], str]) -> None:
        super().__init__()
        self._document = document
        self._servers: dict[str, ThreadingHTTPServer] = {}
        self._entries: dict[str, str] = {}
        self.serving: dict[str, PodPlan | None] = {}
        self.stuck: Callable[[str], bool] = lambda _: False

    def start(self, pod: dict[str, Any]) -> None:
        """See PodRunner."""
        super().start(pod)
        name = pod["metadata"]["name"]
        (sidecar,) = (container for container in pod["spec"]["containers"] if container["name"] == SIDECAR)
        told: dict[str, str] = dict(itertools.pairwise(sidecar["args"]))
        answer = self.report
        self._entries[name] = told.get(ENTRY) or told["--stage"]

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(answer(name)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        server = ThreadingHTTPServer((self.ip(pod), SIDECAR_PORT), Handler)
        server.daemon_threads = True
        self._servers[name] = server
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        self.serving[name] = None

    def stop(self, name: str) -> None:
        """See PodRunner."""
        self._close(name)
        del self.serving[name]
        super().stop(name)

    def close(self) -> None:
        """End all servers."""
        for name in list(self._servers):
            self._close(name)

    def _close(self, name: str) -> None:
        server = self._servers.pop(name)
        server.shutdown()
        server.server_close()

    def report(self, name: str) -> dict[str, Any]:
        """What its sidecar answers."""
        entry = self._entries[name]
        if not self.stuck(name):
            with suppress(PlatformError):
                self.serving[name] = pod_plan(self._document(), entry, name)
        plan = self.serving[name]
        return {"running": plan and asdict(plan)}
