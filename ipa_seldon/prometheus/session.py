"""A session of HTTP that ends when its time is up, however slowly a server goes on sending."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from requests import PreparedRequest, Session
from requests.adapters import HTTPAdapter
from urllib3 import Retry, disable_warnings
from urllib3.exceptions import InsecureRequestWarning

from ipa_seldon.prometheus.access import Access

CUT_AGAIN = 0.05
"""Seconds between two cuts: a connection may just have been on the way."""


class Deadline:
    """Whether the time of a session was up before its end."""

    passed = False


class Cuttable(HTTPAdapter):
    """Asks once, and its connections can be cut while another thread reads from them: the timeouts of a socket are for
    each of its reads, of which a server may demand any number.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        super().__init__(max_retries=Retry(0, read=False))

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """As of any adapter; sockets are noted once they are connected, and TLS has shaken hands, which has a time
        limit of its own. A connection forgets its socket when an answer is to end with it.
        """
        super().init_poolmanager(*args, **options)
        manager: Any = self.poolmanager
        manager.pool_classes_by_scheme = {
            scheme: type("NotedPool", (pool,), {"ConnectionCls": self._noted(pool.ConnectionCls)})
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }

    def _noted(self, kind: Any) -> Any:
        sockets = self._sockets

        def connect(self: Any) -> None:
            kind.connect(self)
            sockets.append(self.sock)

        return type("NotedConnection", (kind,), {"connect": connect})

    def cut(self) -> None:
        """End every connection there is."""
        for connected in list(self._sockets):
            with suppress(OSError):
                # The plain socket's: that of TLS would take away what the other thread reads with.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)


@contextmanager
def timed_session(access: Access, seconds: float) -> Iterator[tuple[Session, Cuttable, Deadline]]:
    """A session, the adapter to mount, and whether ``seconds`` are over, when connections are cut."""
    deadline, done, adapter = Deadline(), threading.Event(), Cuttable()

    def watch() -> None:
        if not done.wait(seconds):
            deadline.passed = True
            adapter.cut()
            while not done.wait(CUT_AGAIN):
                adapter.cut()

    watching = threading.Thread(target=watch, name="prometheus-deadline", daemon=True)
    with Session() as session:
        _show(session, access)
        watching.start()
        try:
            yield session, adapter, deadline
        finally:
            done.set()
            watching.join()


def _show(session: Session, access: Access) -> None:
    if access.insecure:
        disable_warnings(InsecureRequestWarning)
        session.verify = False
    elif access.ca_cert_path:
        session.verify = access.ca_cert_path
    # A header alone would give way to what a .netrc holds for the host.
    if access.token:
        session.auth = lambda request: _bearer(request, access.token)
    elif access.user:
        session.auth = (access.user, access.password)


def _bearer(request: PreparedRequest, token: str) -> PreparedRequest:
    request.headers["Authorization"] = f"Bearer {token}"
    return request
