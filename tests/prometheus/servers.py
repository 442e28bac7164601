"""Servers that answer as no Prometheus should, on real sockets."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOST = "127.0.0.1"


@dataclass
class Certificate:
    """A self-signed one for 127.0.0.1, and its key."""

    certificate: Path
    key: Path

    @classmethod
    def made(cls, directory: Path) -> Certificate:
        """In ``directory``, by openssl."""
        made = cls(directory / "certificate.pem", directory / "key.pem")
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-keyout", str(made.key), "-out", str(made.certificate), "-days", "1", "-subj", f"/CN={HOST}"]
        subprocess.run([*command, "-addext", f"subjectAltName=IP:{HOST}"], check=True, capture_output=True)
        return made

    def context(self) -> ssl.SSLContext:
        """Of a server that shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass
class Asked:
    """What a server was asked: paths, and what came in the header Authorization."""

    url: str = ""
    paths: list[str] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)


@contextmanager
def answering(status: int, body: bytes, certificate: Certificate | None = None) -> Iterator[Asked]:
    """A server that gives every request one answer."""
    asked = Asked()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.paths.append(self.path)
            asked.authorizations.append(self.headers["Authorization"])
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: stderr is the test's."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        if certificate is not None:
            server.socket = certificate.context().wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that refuses us is no news
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        asked.url = f"http{'s' if certificate else ''}://{HOST}:{server.server_port}"
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def raw(serve: Callable[[socket.socket], None], certificate: Certificate | None = None) -> Iterator[str]:
    """A server that does ``serve`` with every connection, one after the other: its URL."""
    ended = threading.Event()

    def accept() -> None:
        while not ended.is_set():
            with suppress(OSError):
                connection, _ = server.accept()
                with closing(connection):
                    connection.settimeout(5)
                    if certificate is None:
                        serve(connection)
                    else:
                        with certificate.context().wrap_socket(connection, server_side=True) as wrapped:
                            serve(wrapped)

    with closing(socket.create_server((HOST, 0))) as server:
        server.settimeout(0.05)
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http{'s' if certificate else ''}://{HOST}:{server.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


def trickle(head: bytes, pause: float = 0.02) -> Callable[[socket.socket], None]:
    """Sends ``head``, then a blank every ``pause`` seconds, until the client has had enough."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head)
        connection.settimeout(pause)
        while True:  # ends by the OSError of a client that is gone
            connection.sendall(b" ")
            try:
                if not connection.recv(1):
                    return
            except TimeoutError:
                continue

    return serve
