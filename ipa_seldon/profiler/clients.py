"""Clients of one Triton model: batches one by one, or as many as it takes to keep it busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from itertools import count
from typing import Self
from urllib.parse import urlsplit

from ipa_seldon.errors import PlatformError
from ipa_seldon.gateway.messages import HEADER_LENGTH, Body, split

LEAST_BATCHES = 3
IN_FLIGHT = 2
"""Batches under way at saturation: one runs, one waits, so that the replica is never idle."""


class PointTimeoutError(PlatformError):
    """A point could not be measured in its time."""


class Clients:
    """Kept connections to ``path`` (a model's) at ``url`` that send ``bodies`` in turn; a context manager.

    Every call raises PointTimeoutError past ``deadline`` (on the monotonic clock), and PlatformError with Triton's
    reason when it refuses.
    """

    def __init__(self, url: str, model: str, bodies: Sequence[Body], batch: int, deadline: float) -> None:
        self.url = url
        self.path = f"/v2/models/{model}/infer"
        self.bodies = bodies
        self.deadline = deadline
        self._address = urlsplit(url).netloc
        self._batch = batch
        self._turns = count()
        self._threads = ThreadPoolExecutor(IN_FLIGHT * batch)
        self._connections = threading.local()
        self._opened: list[HTTPConnection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        for connection in self._opened:
            connection.close()

    def send(self, turn: int) -> Body:
        """One request; its answer."""
        connection, body = self._connection(), self.bodies[turn % len(self.bodies)]
        try:
            connection.request("POST", self.path, body.content, body.headers)
            response = connection.getresponse()
            answer = split(response.read(), response.headers.get(HEADER_LENGTH))
        except (OSError, HTTPException, ValueError) as error:
            connection.close()
            raise PlatformError(f"{self.path}: {error!r}") from error
        if response.status != HTTPStatus.OK:
            raise PlatformError(f"{self.path}: {answer.content.decode(errors='replace')}")
        return answer

    def batch(self) -> float:
        """Send one batch at once; the seconds until its last answer."""
        began = time.monotonic()
        for future in [self._threads.submit(self.send, next(self._turns)) for _ in range(self._batch)]:
            future.result()
        return time.monotonic() - began

    def batches(self, seconds: float) -> list[float]:
        """The latencies of batches sent one after the other for ``seconds``, at least LEAST_BATCHES of them."""
        end = time.monotonic() + seconds
        latencies: list[float] = []
        while time.monotonic() < end or len(latencies) < LEAST_BATCHES:
            latencies.append(self.batch())
        return latencies

    def saturate(self, seconds: float) -> float:
        """Requests/s when IN_FLIGHT batches are always under way, over ``seconds`` or LEAST_BATCHES more batches.

        Counted from the end of one batch to the end of another, since answers come in clumps of a batch.
        """
        end = time.monotonic() + seconds
        least = (LEAST_BATCHES + 1) * self._batch
        answered: list[float] = []
        full = threading.Event()

        def keep_sending() -> None:
            while not full.is_set():
                self.send(next(self._turns))
                answered.append(time.monotonic())
                if answered[-1] >= end and len(answered) >= least:
                    full.set()

        for future in [self._threads.submit(keep_sending) for _ in range(IN_FLIGHT * self._batch)]:
            future.result()
        # What was answered after the end came from a queue that ran dry.
        whole = sorted(answered)[: max(least, sum(moment < end for moment in answered))]
        last = len(whole) // self._batch * self._batch - 1
        return (last + 1 - self._batch) / (whole[last] - whole[self._batch - 1])

    def _connection(self) -> HTTPConnection:
        """The calling thread's connection, with what is left of the deadline as its timeout."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise PointTimeoutError(f"{self.path}: out of time")
        connection: HTTPConnection | None = getattr(self._connections, "one", None)
        if connection is None:
            connection = self._connections.one = HTTPConnection(self._address)
            self._opened.append(connection)
        connection.timeout = left
        if connection.sock is not None:
            connection.sock.settimeout(left)
        return connection
