"""Loads of the toy pipeline: a closed loop of clients on one Triton, each of which sends a number through both stages
over and over, and an open loop on a gateway.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np

from ipa_seldon.gateway.messages import Message
from ipa_seldon.loadgen import Payload, RequestRecord
from ipa_seldon.loadgen.sender import Sender, Target
from tests.waiting import wait_for

CLIENTS = 4
PATIENCE = 60.0
RATE = 60.0
"""Requests/s of the open loop."""


def body(number: int, trace: int = 0) -> dict[str, Any]:
    """The v2 request of one number."""
    tensors = {"number": number, "trace": trace}
    return {"inputs": [{"name": n, "shape": [1, 1], "datatype": "INT32", "data": [v]} for n, v in tensors.items()]}


def message(number: int) -> Message:
    """The same, as the profiler takes it."""
    return Message(body(number))


class Client:
    """A kept connection."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)

    def infer(self, model: str, request: dict[str, Any]) -> dict[str, int]:
        """The outputs by name; raises HTTPException with Triton's words when it refuses."""
        self._connection.request("POST", f"/v2/models/{model}/infer", json.dumps(request))
        response = self._connection.getresponse()
        answer = json.load(response)
        if response.status != 200:
            raise HTTPException(answer["error"])
        return {output["name"]: output["data"][0] for output in answer["outputs"]}

    def chain(self, number: int) -> dict[str, int]:
        """Through ``double``, then ``increment``."""
        first = self.infer("double", body(number))
        return self.infer("increment", body(first["number"], first["trace"]))

    def close(self) -> None:
        self._connection.close()


@dataclass
class Load:
    """Runs while entered.

    ``failures`` are the words of failed or wrong requests, ``traces`` what was answered, in order. With the first
    failure it ends, unless it is ``stubborn``.
    """

    url: str
    stubborn: bool = False
    failures: list[str] = field(default_factory=list)
    traces: list[int] = field(default_factory=list)
    latencies: list[tuple[float, float]] = field(default_factory=list)
    _progress: threading.Condition = field(default_factory=threading.Condition)
    _ending: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._run, args=(index,)) for index in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        self.await_answers(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def await_answers(self, more: int) -> None:
        """Return when ``more`` requests were answered after now, or one failed."""
        with self._progress:
            wanted = len(self.traces) + more
            assert self._progress.wait_for(lambda: len(self.traces) >= wanted or self._lost, PATIENCE)

    @property
    def _lost(self) -> bool:
        """Whether a failure ends it."""
        return bool(self.failures) and not self.stubborn

    def _run(self, index: int) -> None:
        client, number = Client(self.url), index
        while not self._ending.is_set() and not self._lost:
            number += 1
            began = time.monotonic()
            try:
                answer = client.chain(number)
                failure = "" if answer["number"] == 2 * number + 1 else f"{number} -> {answer}"
            except (OSError, HTTPException, KeyError, ValueError) as error:
                answer, failure = {}, repr(error)
            with self._progress:
                self.latencies.append((began, time.monotonic() - began))
                if failure:
                    self.failures.append(failure)
                else:
                    self.traces.append(answer["trace"])
                self._progress.notify_all()
        client.close()


@dataclass
class OpenLoop:
    """Sends Poisson arrivals while entered, whatever becomes of them; ``records`` has what did."""

    url: str
    slo: float
    records: list[RequestRecord] = field(default_factory=list)
    _stop: Callable[[], object] = lambda: None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send()))
        self._thread.start()
        self.await_answers(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._thread.join()

    async def _send(self) -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        self._stop = lambda: loop.call_soon_threadsafe(stop.set)
        # For an hour, which no test outlives.
        gaps = np.random.default_rng(7).exponential(1 / RATE, int(3600 * RATE))
        due = (time.time() + np.cumsum(gaps)).tolist()
        payloads = [Payload(Message(body(number)).body()) for number in range(100)]
        await Sender(Target(self.url, self.slo), payloads, self.records.append).send(due, stop)

    def await_answers(self, more: int) -> None:
        """Until ``more`` requests have ended."""
        wanted = len(self.records) + more
        wait_for(lambda: len(self.records) >= wanted)

    def since(self, moment: float) -> list[RequestRecord]:
        """What became of requests that were sent after ``moment``."""
        return [record for record in self.records if record.sent > moment]

    @property
    def outcomes(self) -> Counter[str]:
        """How many requests ended how."""
        return Counter(record.outcome for record in self.records)
