"""A fixed plan on a real Triton under loads that are repeated: the requests, and the batches that ran for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import psutil
from numpy.typing import NDArray

from ipa_seldon.bootstrap import LocalServing, serve_locally
from ipa_seldon.config import Config
from ipa_seldon.errors import ConfigError, PlatformError
from ipa_seldon.experiments.validation import Measurement, Round, busy_seconds
from ipa_seldon.gateway.messages import Message, read_message
from ipa_seldon.loadgen import ANSWERED, Payload, RequestRecord
from ipa_seldon.loadgen.sender import Clock, Sender, Target
from ipa_seldon.plan import Plan
from ipa_seldon.platforms.triton_server import TRACES
from ipa_seldon.platforms.triton_trace import Execution, read_executions, switch_tracing
from ipa_seldon.simulation.workload import poisson_arrivals

Floats = NDArray[np.float64]

LEAD = 0.3
"""Seconds between starting the load generator and its first request."""
SETTLING = 2.0
"""Seconds after the start: by then the gateway has read from Triton how much its stages take on."""
WARM_UP = 10
PILOT = 8
"""Seconds of the load from which the capacity is reckoned."""
LEAST = 20
"""Requests in a round, on average, below which there is nothing to learn from it."""


@dataclass(frozen=True)
class Trial:
    """What to measure: each of ``rates`` (requests/s; none: ``shares`` of what the pipeline is found to carry) in
    ``pairs`` of rounds of ``seconds`` (whole). ``seed`` decides the arrivals and which request carries what.
    """

    rates: tuple[float, ...]
    shares: tuple[float, ...]
    pairs: int
    seconds: int
    seed: int


@dataclass(frozen=True, eq=False)
class _Sent:
    """A round whose batches are still to be read; ``start`` and ``end`` on the monotonic clock."""

    round: Round
    start: float
    end: float


def measure(
    config: Config, plan: Plan, payloads: Sequence[Payload], trial: Trial, say: Callable[[str], None]
) -> Measurement:
    """Serve ``plan`` on a real Triton and send it the loads of ``trial``, interleaved round by round, so that what
    drifts in the machine meets all of them; progress in words to ``say``.

    ConfigError for rates that are too low for their time and for payloads that are no requests; PlatformError when
    nothing is answered.
    """
    _check(trial, trial.rates)
    with _Bench.serving(config, plan, _requests(payloads)) as bench:
        one_by_one = 1 / bench.warm_up()
        switch_tracing(bench.triton, on=True)
        rates = trial.rates or bench.shares_of_capacity(trial, one_by_one)
        _check(trial, rates)
        words = ", ".join(f"{rate:.1f}" for rate in rates)
        say(f"loads: {words} requests/s, {trial.pairs} pairs of rounds of {trial.seconds} s each")
        sent: dict[float, list[tuple[_Sent, _Sent]]] = {rate: [] for rate in rates}
        for k in range(trial.pairs):
            say(f"pair {k + 1} of {trial.pairs}")
            once, again = ([bench.send_load(rate, trial.seconds, trial.seed + k) for rate in rates] for _ in range(2))
            for rate, one, other in zip(rates, once, again, strict=True):
                sent[rate].append((one, other))
        executions = bench.executions()
    return {
        rate: [(_complete(one, executions), _complete(other, executions)) for one, other in pairs]
        for rate, pairs in sent.items()
    }


def _check(trial: Trial, rates: Sequence[float]) -> None:
    for rate in rates:
        if rate * trial.seconds < LEAST:
            raise ConfigError(
                f"rates: {rate:.3g} requests/s for {trial.seconds} s: accepted: at least {LEAST} requests in a round"
            )


def _requests(payloads: Sequence[Payload]) -> list[Message]:
    try:
        return [read_message(payload.body, "inputs") for payload in payloads]
    except ValueError as error:
        raise ConfigError(f"body: no v2 inference request; {error}") from error


class _Bench:
    """A served pipeline, and the load generator for it."""

    def __init__(self, serving: LocalServing, slo: float, requests: Sequence[Message], directory: Path) -> None:
        self.triton = serving.platform.server.http_url
        self._target = Target(serving.gateway.url, slo)
        self._requests = requests
        self._directory = directory

    @classmethod
    @contextmanager
    def serving(cls, config: Config, plan: Plan, requests: Sequence[Message]) -> Iterator[_Bench]:
        """Serve ``plan`` in this context."""
        with (
            TemporaryDirectory(prefix="ipa-seldon-") as directory,
            serve_locally(config, plan, log_directory=Path(directory)) as serving,
        ):
            yield cls(serving, config.pipeline.slo, requests, Path(directory))

    def warm_up(self) -> float:
        """Send a few requests one by one; the median of their latencies (seconds)."""
        time.sleep(SETTLING)
        return median(float(self.send(np.zeros(1), k).round.latencies[0]) for k in range(WARM_UP))

    def shares_of_capacity(self, trial: Trial, one_by_one: float) -> tuple[float, ...]:
        """The trial's shares as requests/s, of the capacity that the busiest stage turns out to have.

        It is found under load, since stages that share cores slow each other down: at ``one_by_one`` requests/s, what
        one client completes which waits for each answer, a pipeline is never overloaded.
        """
        pilot = _complete(self.send_load(one_by_one, PILOT, trial.seed), self.executions())
        switch_tracing(self.triton, on=True)
        capacity = min(len(pilot.due) / busy for busy in busy_seconds(pilot).values())
        return tuple(share * capacity for share in trial.shares)

    def executions(self) -> list[Execution]:
        """Every batch since tracing was first switched on; it is off after that."""
        switch_tracing(self.triton, on=False)
        return read_executions(self._directory / TRACES)

    def send_load(self, rate: float, seconds: int, seed: int) -> _Sent:
        """Send ``rate`` requests/s; ``seed`` decides when each is sent, and what it carries."""
        return self.send(poisson_arrivals(np.full(seconds, rate), seed), seed)

    def send(self, times: Floats, seed: int) -> _Sent:
        """Send a request at each of ``times`` (seconds from the start) and await the answers; ``seed`` shuffles what
        they carry.
        """
        payloads = _numbered(self._requests, len(times), np.random.default_rng((seed, 3)))
        records: list[RequestRecord] = []
        clock = Clock()
        start = clock.now() + LEAD
        before = _cores_used()
        sender = Sender(self._target, payloads, records.append)
        asyncio.run(_send(sender, (start + times).tolist()))
        passed, own, machine = (after - then for after, then in zip(_cores_used(), before, strict=True))
        records.sort(key=lambda record: record.index)
        latencies = np.array([record.latency if record.outcome in ANSWERED else np.nan for record in records])
        if not np.isfinite(latencies).any():
            raise PlatformError(f"no request was answered; the last one ended with status {records[-1].status}")
        others = max(machine - own, 0.0) / passed
        return _Sent(Round(times, latencies, (), others), clock.monotonic(start), time.monotonic())


def _numbered(requests: Sequence[Message], count: int, generator: np.random.Generator) -> list[Payload]:
    """``count`` of the ``requests``, in an order of chance, with their places as ids.

    In one order those of some seconds would be heavier than those of others, in every round again.
    """
    chosen = generator.permutation(np.arange(count) % len(requests))
    return [
        Payload(Message({**requests[which].fields, "id": str(place)}, requests[which].raw).body())
        for place, which in enumerate(chosen)
    ]


async def _send(sender: Sender, due: Sequence[float]) -> None:
    await sender.send(due, asyncio.Event())


def _cores_used() -> tuple[float, float, float]:
    """The time, and the processor seconds until now of this process with all it started, and of the whole machine."""
    myself = psutil.Process()
    own = 0.0
    for process in (myself, *myself.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            used = process.cpu_times()
            own += used.user + used.system
    machine = psutil.cpu_times()
    return time.monotonic(), own, sum(machine) - machine.idle - machine.iowait


def _complete(sent: _Sent, executions: Sequence[Execution]) -> Round:
    """The round with its batches, out of all ``executions``."""
    mine = (
        replace(
            e,
            queued=tuple(moment - sent.start for moment in e.queued),
            began=e.began - sent.start,
            ended=e.ended - sent.start,
        )
        for e in executions
        if sent.start <= e.began < sent.end
    )
    return replace(sent.round, executions=tuple(mine))
