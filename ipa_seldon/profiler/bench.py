"""One point on a real Triton: the latency of one batch and the throughput of one replica.

Noise is met by rounds and the median over them: a stall of the machine spoils at most one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Self

import numpy as np

from ipa_seldon.errors import PlatformError
from ipa_seldon.gateway.messages import Body, Message, read_message
from ipa_seldon.gateway.protocol import handed_on
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation
from ipa_seldon.platforms.triton_models import TritonModels, stage_configurations
from ipa_seldon.platforms.triton_server import TritonServer
from ipa_seldon.profiler.clients import Clients, PointTimeoutError
from ipa_seldon.profiler.table import Point, Row
from ipa_seldon.specs.triton import model_configuration

ROUNDS = 5
WARM_UP_BATCHES = 3
CAPTURED = 16
"""Different inputs kept per stage."""
CAPTURE_SECONDS, CAPTURE_TIMEOUT = 10.0, 60.0
"""After the first no more inputs are made than in so many seconds; and within how many at all."""
FILL_DELAY = 0.1
"""Seconds a batch may wait to fill. Its requests leave together, so a full batch never waits that long."""


@dataclass(frozen=True)
class Effort:
    """``seconds`` of measuring per point (a heavy point takes longer: it needs some batches, in one round), and the
    ``percentile`` of its batch latencies. A point that takes more than ``timeout`` seconds in all is given up.
    """

    seconds: float = 6.0
    timeout: float = 60.0
    percentile: float = 99.0


class Bench:
    """A Triton of its own to measure the stages of ``pipeline`` on; a context manager.

    ``inputs(index)`` is the ``index``-th request to the pipeline's roots. A later stage is fed what the most accurate
    variant of its (first) parent really answered.
    """

    def __init__(self, pipeline: Pipeline, repository: Path, inputs: Callable[[int], Message]) -> None:
        self._pipeline = pipeline
        self._inputs = inputs
        self._configurations = stage_configurations(pipeline, repository)
        self._server = TritonServer(repository)
        self._bodies: dict[str, list[Body]] = {}

    def __enter__(self) -> Self:
        self._server.start()
        try:
            self._capture()
        except BaseException:
            self._server.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def measure(self, point: Point, effort: Effort) -> Row:
        """PointTimeoutError when it takes too long; PlatformError when Triton refuses, with its reason."""
        with self.serving(point, effort.timeout) as clients:
            return rounds(clients, effort)

    @contextmanager
    def serving(self, point: Point, timeout: float) -> Iterator[Clients]:
        """Clients of the point's variant, which serves as long. PointTimeoutError when all takes more than ``timeout``
        seconds; PlatformError when Triton refuses, with its reason.
        """
        deadline = time.monotonic() + timeout
        try:
            self._load(point, timeout)
            with self._clients(point, deadline) as clients:
                yield clients
        except PlatformError as error:
            late = isinstance(error, PointTimeoutError) or time.monotonic() >= deadline
            # Whatever the point has queued must not weigh on the next one.
            self._server.start()
            if late:
                raise PointTimeoutError(f"{point}: not measured within {timeout:g} s") from error
            raise

    def load_seconds(self, point: Point, clients: Clients) -> float:
        """How long it takes from asking Triton for the point's variant, while nothing of the stage is loaded, until it
        has answered a request of ``clients``.
        """
        with TritonModels(self._server.grpc_url) as models:
            models.unload(point.stage)
            models.wait_until_gone(point.stage)
        began = time.monotonic()
        self._load(point, clients.deadline - began)
        clients.send(0)
        return time.monotonic() - began

    def _clients(self, point: Point, deadline: float) -> Clients:
        return Clients(self._server.http_url, point.stage, self._bodies[point.stage], point.batch, deadline)

    def _load(self, point: Point, timeout: float) -> None:
        variant = self._pipeline.stage(point.stage).variant(point.variant)
        allocation = Allocation(point.variant, replicas=1, cores=point.cores, batch=point.batch)
        base = self._configurations[point.stage]
        with TritonModels(self._server.grpc_url) as models:
            models.load(point.stage, model_configuration(base, variant.version, allocation, FILL_DELAY), timeout)

    def _capture(self) -> None:
        """Send requests down the graph and keep what every stage is asked."""
        parents: dict[str, str] = {}
        for parent, child in self._pipeline.edges:
            parents.setdefault(child, parent)
        answered: dict[str, list[Message]] = {}
        for stage in self._pipeline.stages:
            if stage.name in parents:
                requests = answered[parents[stage.name]]
            else:
                requests = [self._inputs(index) for index in range(CAPTURED)]
            self._bodies[stage.name] = [request.body() for request in requests]
            if stage.name in parents.values():
                best = max(stage.variants, key=lambda variant: variant.accuracy)
                answered[stage.name] = self._answered(Point(stage.name, best.name, cores=1, batch=1), requests)

    def _answered(self, point: Point, requests: Sequence[Message]) -> list[Message]:
        """What the next stage is asked for each of the ``requests`` to this one."""
        self._load(point, CAPTURE_TIMEOUT)
        with self._clients(point, time.monotonic() + CAPTURE_TIMEOUT) as clients:
            began, answers = time.monotonic(), list[Message]()
            while len(answers) < len(requests) and (not answers or time.monotonic() < began + CAPTURE_SECONDS):
                answers.append(read_message(clients.send(len(answers)), "outputs"))
        return [handed_on(*pair, last=False) for pair in zip(requests, answers, strict=False)]


def rounds(clients: Clients, effort: Effort) -> Row:
    """The medians of rounds in which batches go one by one, then as many as keep the replica busy; of one round where
    a single batch takes longer than a round's part of the time.
    """
    share = effort.seconds / (2 * ROUNDS)
    latencies, throughputs, samples = [], [], 0
    heavy = min(clients.batch() for _ in range(2)) > share
    for _ in range(0 if heavy else WARM_UP_BATCHES - 2):
        clients.batch()
    for _ in range(1 if heavy else ROUNDS):
        batches = clients.batches(share)
        latencies.append(float(np.percentile(batches, effort.percentile)))
        throughputs.append(clients.saturate(share))
        samples += len(batches)
    return Row(median(latencies), median(throughputs), samples)
