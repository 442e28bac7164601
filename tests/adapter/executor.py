"""The metrics of Seldon's executors under a load that a test sets, for a real Prometheus to scrape."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

REQUESTS = "seldon_api_executor_server_requests_seconds"


class ExecutorExporter:
    """Counts requests as if ``rates`` (graph -> requests/s) came in evenly, each answered in ``seconds``."""

    def __init__(self, rates: Mapping[str, float], seconds: float = 0.05) -> None:
        self._rates = dict(rates)
        self._seconds = seconds
        self._counts = dict.fromkeys(self._rates, 0.0)
        self._since = time.monotonic()
        self._lock = threading.Lock()
        exposition = self._exposition

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = exposition().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.target = f"127.0.0.1:{self._server.server_port}"

    def load(self, graph: str, rate: float) -> None:
        """Requests/s from now on."""
        with self._lock:
            self._count()
            self._rates[graph] = rate

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _count(self) -> None:
        now = time.monotonic()
        for graph, rate in self._rates.items():
            self._counts[graph] += rate * (now - self._since)
        self._since = now

    def _exposition(self) -> str:
        with self._lock:
            self._count()
            counts = dict(self._counts)
        lines = []
        for graph, count in counts.items():
            labels = f'deployment_name="{graph}",predictor_name="default",namespace="default"'
            labels += ',service="predictions",code="200"'
            for bound in ("0.1", "1", "+Inf"):
                within = count if self._seconds <= float(bound) else 0
                lines.append(f'{REQUESTS}_bucket{{{labels},le="{bound}"}} {within:.0f}')
            lines += [
                f"{REQUESTS}_count{{{labels}}} {count:.0f}",
                f"{REQUESTS}_sum{{{labels}}} {count * self._seconds}",
            ]
        return "\n".join([f"# TYPE {REQUESTS} histogram", *lines, ""])
