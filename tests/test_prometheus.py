"""The query for the load, and what is told of a Prometheus that cannot answer, on real sockets."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ipa_seldon.errors import PlatformError
from ipa_seldon.prometheus import Executor, Prometheus

HOST = "127.0.0.1"
QUERY = "sum(up)"


def test_arrivals_query() -> None:
    """The query sums the rates of a predictor's inference requests, label values escaped; fractions of a second too."""
    count, service = "seldon_api_executor_server_requests_seconds_count", 'service=~"predictions|.*ModelInfer"'
    assert Executor("text", "default").arrivals_query(10) == (
        f'sum(irate({count}{{deployment_name="text",predictor_name="default",{service}}}[10s]))'
    )
    labels = r'deployment_name="a\"b\\",predictor_name="default",namespace="prod"'
    assert (
        Executor('a"b\\', "default", "prod").arrivals_query(2.5) == f"sum(irate({count}{{{labels},{service}}}[2500ms]))"
    )


@contextmanager
def answering(status: int, body: bytes) -> Iterator[tuple[str, list[str]]]:
    """A server that gives every request one answer: its URL, and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: stderr is the test's."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def assert_one_line(error: PlatformError, url: str, *parts: str) -> None:
    """Short, in one line, with the URL and the reason."""
    message = str(error)
    assert message.startswith(f"Prometheus at {url}: ")
    assert "\n" not in message
    assert len(message) < 250
    for part in parts:
        assert part in message


def refusal(url: str, timeout: float = 5) -> PlatformError:
    """The error of both questions, which is the same."""
    prometheus = Prometheus(url, timeout)
    with pytest.raises(PlatformError) as one:
        prometheus.arrivals(QUERY, 5, 1e9)
    with pytest.raises(PlatformError) as other:
        prometheus.violation_ratio(Executor("text", "default"), 0.5, 60, 1e9)
    assert str(one.value) == str(other.value)
    return one.value


def test_unreachable() -> None:
    """Nobody listens: the operating system's reason."""
    with closing(socket.socket()) as held:
        held.bind((HOST, 0))
        url = f"http://{HOST}:{held.getsockname()[1]}"
        assert_one_line(refusal(url), url, "Connection refused")


def test_slow() -> None:
    """An answer that takes longer than the timeout is not waited for, and not asked for again."""
    with closing(socket.create_server((HOST, 0))) as silent:
        url = f"http://{HOST}:{silent.getsockname()[1]}"
        begin = time.monotonic()
        assert_one_line(refusal(url, 0.2), url, "no answer within 0.2 s")
        assert time.monotonic() - begin < 2


def test_closed() -> None:
    """A connection that is closed instead of answered, as by a server that goes down."""
    with closing(socket.create_server((HOST, 0))) as server:

        def hang_up() -> None:
            server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        url = f"http://{HOST}:{server.getsockname()[1]}"
        with pytest.raises(PlatformError) as closed:
            Prometheus(url).arrivals(QUERY, 5, 1e9)
        thread.join()
    assert_one_line(closed.value, url)


def test_unavailable() -> None:
    """A proxy's 503 page is its status, and is not asked for again: the loop does that."""
    with answering(503, b"<html>\nupstream\n</html>" * 1000) as (url, asked):
        assert_one_line(refusal(url), url, "answers 503: Service Unavailable")
        assert [path.split("?")[0] for path in asked] == ["/api/v1/query_range", "/api/v1/query"]


@pytest.mark.parametrize("body", [b"<html>\nlog in\n</html>", b"[]", b"{}", b"null", b'{"data": {"result": [1]}}'])
def test_not_prometheus(body: bytes) -> None:
    """A page, or JSON of another kind, is not taken for an answer."""
    with answering(200, body) as (url, _):
        assert_one_line(refusal(url), url, "not an answer of Prometheus")


def test_path_and_password() -> None:
    """A path in the URL is kept, with or without a slash at its end; a password is used and never told."""
    with answering(503, b'{"status": "error", "error": "query\\ntimed out"}') as (url, asked):
        error = refusal(f"{url.replace('//', '//reader:secret@')}/prometheus/")
        assert_one_line(error, f"{url}/prometheus/", "answers 503: query timed out")
        assert asked[0].startswith("/prometheus/api/v1/query_range?")


@pytest.mark.parametrize("url", ["prometheus:9090", "prometheus", "http://", "http://[::1"])
def test_no_url(url: str) -> None:
    """What is no URL is refused like a Prometheus that is not there."""
    with pytest.raises(PlatformError, match=f"^Prometheus at {re.escape(url)}: "):
        Prometheus(url).arrivals(QUERY, 5, 1e9)
