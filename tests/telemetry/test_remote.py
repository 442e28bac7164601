"""The log of a running adapter, asked over real HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ipa_seldon.errors import ConfigError, PlatformError
from ipa_seldon.telemetry.audit import read_log
from ipa_seldon.telemetry.history import KEPT, History
from ipa_seldon.telemetry.remote import fetch_log
from tests.telemetry.test_audit import log_a_run


@contextmanager
def adapter(body: str, status: int = 200) -> Iterator[str]:
    """The URL of a server that answers ``/api/decisions/video`` with ``body``, and knows nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/api/decisions/video"
            answer = (body if known else '{"error": "no pipeline of that name; accepted: video"}').encode()
            self.send_response(status if known else 404)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_live_log_is_that_of_the_last_decisions(tmp_path: Path) -> None:
    """What an adapter holds comes with the numbers that its decisions have since it began."""
    config, path = log_a_run(tmp_path, "max", steps=KEPT + 7)
    whole, history = read_log(path), History(config, 0.0)
    for decision in whole.decisions:
        history(decision)
    with adapter("\n".join(history.audit_log())) as url:
        log = fetch_log(f"{url}/", "video")
    assert log.ticks == tuple(range(7, KEPT + 7))
    assert log.decisions == whole.decisions[7:]
    assert (log.config.document, log.algorithm) == (config.document, "ipa")


def test_what_is_no_answer_is_one_line() -> None:
    """A pipeline that is not known, a fault, no log, nobody at all, no URL: each names the URL and what is wrong."""
    with adapter("nonsense\n") as url:
        with pytest.raises(
            PlatformError, match=r"decisions/audio%2Fqa: 404: no pipeline of that name; accepted: video"
        ):
            fetch_log(url, "audio/qa")
        with pytest.raises(ConfigError, match=r"api/decisions/video: line 1: not JSON"):
            fetch_log(url, "video")
    with adapter("", status=500) as url, pytest.raises(PlatformError, match=r"api/decisions/video: 500: Internal"):
        fetch_log(url, "video")
    with pytest.raises(PlatformError, match=r"api/decisions/video: .*refused"):
        fetch_log(url, "video")
    for url in ("adapter:8080", "file:///etc/hostname", "http://"):
        with pytest.raises(ConfigError, match="accepted: a URL such as"):
            fetch_log(url, "video")
