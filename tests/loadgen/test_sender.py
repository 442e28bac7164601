"""The open-loop sender and its command, against a small gateway."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ipa_seldon.asgi import listen, serving
from ipa_seldon.demo.requests import payloads
from ipa_seldon.errors import PlatformError
from ipa_seldon.gateway.messages import HEADER_LENGTH, Body
from ipa_seldon.loadgen import Payload, RequestOutcome, RequestRecord
from ipa_seldon.loadgen.records import read_records
from ipa_seldon.loadgen.sender import Sender, Target, announced_slo
from ipa_seldon.simulation.workload import poisson_arrivals


@dataclass
class Answers:
    """Answers request k with ``statuses[k]`` (200 past the end), once ``gate`` is set; knows when all have arrived."""

    statuses: list[int] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    slos: list[float] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    lengths: list[str | None] = field(default_factory=list)
    encodings: set[str] = field(default_factory=set)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def infer(self, request: Request) -> Response:
        """Answer like a gateway."""
        k = len(self.slos)
        self.slos.append(float(request.headers["Ipa-Remaining-Slo"]))
        self.bodies.append(await request.body())
        self.lengths.append(request.headers.get(HEADER_LENGTH))
        self.encodings.add(request.headers["Accept-Encoding"])
        async with self.arrived:
            self.arrived.notify_all()
        await self.gate.wait()
        status = self.statuses[k] if k < len(self.statuses) else 200
        return JSONResponse({"outputs": []}, status, {"Ipa-Variants": "detect=v3@160x64;recognise=v6@160"})

    async def wait_for(self, count: int) -> None:
        """Until ``count`` requests have arrived."""
        async with self.arrived:
            await asyncio.wait_for(self.arrived.wait_for(lambda: len(self.slos) >= count), 20)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """The URL while it is served."""

        async def metadata(request: Request) -> Response:
            del request
            return JSONResponse({"name": "text", "slo": 0.7})

        routes = [Route("/v2/models/infer", self.infer, methods=["POST"]), Route("/v2", metadata)]
        async with serving(Starlette(routes=routes), listen("127.0.0.1", 0), 5.0) as url:
            yield url


def one_line(answer: bytes) -> int:
    """A scorer that finds one line in an answer that is JSON."""
    return len(json.loads(answer)) and 1


PAYLOADS = [Payload(Body(b'{"inputs": []}'), 2, one_line), Payload(Body(b'{"inputs": [1]}'), 2, one_line)]


async def test_stalled_server_does_not_delay_later_requests() -> None:
    """Open loop: all requests leave though not one has been answered, and each has its record in the end."""
    answers, records = Answers(), list[RequestRecord]()
    async with answers.served() as url:
        start = time.time()
        sending = asyncio.create_task(
            Sender(Target(url, 30.0), PAYLOADS, records.append).send(
                [start + 0.01 * k for k in range(50)], asyncio.Event()
            )
        )
        await answers.wait_for(50)
        assert records == []
        answers.gate.set()
        await sending
    assert sorted(record.index for record in records) == list(range(50))
    assert all(record.outcome is RequestOutcome.COMPLETED for record in records)
    assert all(record.due <= record.sent <= record.done for record in records)
    assert answers.bodies.count(b'{"inputs": [1]}') == 25


async def test_outcomes_scores_and_variants() -> None:
    """200 in time, 504 and any other answer become COMPLETED, DROPPED and FAILED; only answers are scored."""
    answers, records = Answers([200, 504, 503, 400]), list[RequestRecord]()
    answers.gate.set()
    async with answers.served() as url:
        start = time.time()
        await Sender(Target(url, 30.0), PAYLOADS, records.append).send(
            [start + 0.2 * k for k in range(4)], asyncio.Event()
        )
    by_index = sorted(records, key=lambda record: record.index)
    assert [record.outcome.value for record in by_index] == ["completed", "dropped", "failed", "failed"]
    assert [record.status for record in by_index] == [200, 504, 503, 400]
    assert [(record.matched, record.expected) for record in by_index] == [(1, 2), (0, 2), (0, 2), (0, 2)]
    assert by_index[0].variants == {"detect": "v3@160x64", "recognise": "v6@160"}


async def test_binary_payloads_are_sent_as_they_are() -> None:
    """However large: the bytes follow the JSON, whose length is in the header, for one request after the other."""
    answers, records = Answers(), list[RequestRecord]()
    answers.gate.set()
    head, raw = b'{"inputs": [{}]}', bytes(range(256)) * 8000
    async with answers.served() as url:
        start = time.time()
        sender = Sender(Target(url, 30.0), [Payload(Body(head, raw)), PAYLOADS[0]], records.append)
        await sender.send([start + 0.2 * k for k in range(3)], asyncio.Event())
    assert answers.bodies == [head + raw, PAYLOADS[0].body.head, head + raw]
    assert answers.lengths == [str(len(head)), None, str(len(head))]
    assert answers.encodings == {"identity"}
    assert [(record.status, record.matched, record.expected) for record in records][::2] == [(200, 0, 0)] * 2


async def test_budget_counts_from_when_a_request_was_due() -> None:
    """A request that leaves late has that much less left, an answer past the SLO is late, and neither is hidden."""
    answers, records = Answers(), list[RequestRecord]()
    answers.gate.set()
    async with answers.served() as url:
        await Sender(Target(url, 0.5), PAYLOADS, records.append).send([time.time() - 2.0], asyncio.Event())
    assert answers.slos[0] < -1.5
    assert records[0].sent - records[0].due >= 2.0
    assert records[0].latency >= 2.0
    assert records[0].outcome is RequestOutcome.LATE


async def test_a_network_delays_requests_and_takes_from_their_budgets() -> None:
    """A request is sent when it is over the network, with what that left of its SLO, which may be nothing; a quick one
    overtakes a slow one. Latency counts from when its client sent it.
    """
    answers, records = Answers(), list[RequestRecord]()
    answers.gate.set()
    async with answers.served() as url:
        start = time.time()
        # The first was sent long ago, and on the network for longer than its SLO.
        due, transfers = [start - 40.0, start, start + 0.1], [40.0, 1.0, 0.2]
        sender = Sender(Target(url, 30.0), PAYLOADS, records.append)
        await sender.send(due, asyncio.Event(), transfers)
    assert [record.index for record in sorted(records, key=lambda record: record.sent)] == [0, 2, 1]
    by_index = sorted(records, key=lambda record: record.index)
    assert [(record.due, record.transfer) for record in by_index] == list(zip(due, transfers, strict=True))
    assert all(record.done >= record.sent >= record.due + record.transfer for record in records)
    left = [30.0 - (record.sent - record.due) for record in records]
    assert sorted(answers.slos) == pytest.approx(sorted(left), abs=1e-5)
    assert min(answers.slos) < 0
    assert [record.outcome.value for record in by_index] == ["late", "completed", "completed"]
    assert all(record.delay == record.sent - record.due - record.transfer for record in records)


async def test_unanswered_requests_are_given_up() -> None:
    """A server that never answers, or none at all, costs the timeout and leaves failed records."""
    answers, records = Answers(), list[RequestRecord]()
    async with answers.served() as url:
        await asyncio.wait_for(
            Sender(Target(url, 0.1, timeout=0.3), PAYLOADS, records.append).send([time.time()], asyncio.Event()), 10
        )
        answers.gate.set()
    gone = Sender(Target(url, 0.1), PAYLOADS, records.append)
    await gone.send([time.time()], asyncio.Event())
    assert [(record.outcome, record.status) for record in records] == [(RequestOutcome.FAILED, 0)] * 2


async def test_stop_keeps_what_there_is() -> None:
    """Stopping starts no further request, awaits those under way for a bounded time, and records them all."""
    answers, records, stop = Answers(), list[RequestRecord](), asyncio.Event()
    async with answers.served() as url:
        times = [time.time() + 3600.0 * (k // 3) for k in range(6)]
        sending = asyncio.create_task(Sender(Target(url, 0.1), PAYLOADS, records.append).send(times, stop))
        await answers.wait_for(3)
        stop.set()
        await asyncio.wait_for(sending, 20)
        answers.gate.set()
    assert sorted(record.index for record in records) == [0, 1, 2]


async def test_slo_is_learnt_from_the_gateway() -> None:
    """The gateway's metadata tells the SLO; a server that does not answer is one clear error."""
    answers = Answers()
    async with answers.served() as url:
        assert await announced_slo(url) == 0.7
    with pytest.raises(PlatformError, match="does not answer"):
        await announced_slo(url)


async def run_load(url: str, *options: str) -> asyncio.subprocess.Process:
    """The command as a process of its own."""
    command = "from ipa_seldon.cli import main; main()"
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", command, "load", "--url", url, *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run_to_the_end(
    answers: Answers, directory: Path, *options: str
) -> tuple[dict[str, Any], list[RequestRecord]]:
    """What the command prints as JSON, and its records, once every request of one body was answered."""
    (directory / "body.json").write_bytes(b'{"inputs": []}')
    files = ("--body", str(directory / "body.json"), "--records", str(directory / "records.jsonl"))
    answers.gate.set()
    async with answers.served() as url:
        process = await run_load(url, *options, *files, "-o", "json")
        output, errors = await process.communicate()
    assert process.returncode == 0, errors
    return json.loads(output), read_records(directory / "records.jsonl")


async def test_command_sends_a_trace(tmp_path: Path) -> None:
    """``ipa-seldon load`` replays a trace from the given start, writes the records and prints the summary as JSON."""
    (tmp_path / "trace.csv").write_text("second,rps\n0,40\n1,0\n2,80\n")
    answers, start = Answers(), time.time() + 2.0
    figures, records = await run_to_the_end(
        answers,
        tmp_path,
        *("--trace", str(tmp_path / "trace.csv"), "--damping", "2", "--seed", "1", "--slo", "10"),
        *("--start-at", str(start)),
    )
    assert figures["requests"] == figures["completed"] == len(records) == len(answers.slos)
    assert 30 <= len(records) <= 95
    seconds = {int(record.due - start) for record in records}
    assert seconds == {0, 2}


async def test_command_sends_over_a_network(tmp_path: Path) -> None:
    """With --network and --size requests keep the times at which their clients send them, and come as much later as
    their bytes take: 50 KB take half a second at 100 KB/s, 200 KB longer than the SLO. The summary tells the seconds.
    """
    (tmp_path / "load.csv").write_text("second,rps\n0,20\n1,20\n")
    (tmp_path / "network.csv").write_text("second,bytes_per_second\n0,100000\n")
    answers, start = Answers(), time.time() + 2.0
    figures, records = await run_to_the_end(
        answers,
        tmp_path,
        *("--trace", str(tmp_path / "load.csv"), "--slo", "1.5", "--start-at", str(start)),
        *("--seed", "1", "--network", str(tmp_path / "network.csv"), "--size", "50KB,200KB"),
    )
    records.sort(key=lambda record: record.index)
    sent = poisson_arrivals(np.array([20.0, 20.0]), seed=1)
    assert [record.due - start for record in records] == pytest.approx(sent.tolist(), abs=1e-5)
    assert {round(record.transfer, 6) for record in records} == {0.5, 2.0}
    assert all(record.sent >= record.due + record.transfer for record in records)
    left = [1.5 - (record.sent - record.due) for record in records]
    assert sorted(answers.slos) == pytest.approx(sorted(left), abs=1e-5)
    assert figures["network"]["max"] == pytest.approx(2.0)
    assert figures["late"] >= sum(record.transfer > 1.5 for record in records) > 0


async def test_command_makes_up_what_it_sends(tmp_path: Path) -> None:
    """Requests of the tensor that it is told, here in binary; where there is nothing to read, no accuracy is told."""
    answers = Answers()
    answers.gate.set()
    (tmp_path / "load.csv").write_text("second,rps\n0,10\n")
    async with answers.served() as url:
        load = ("--trace", str(tmp_path / "load.csv"), "--slo", "10", "--tensor", "crop", "--seed", "3", "-o", "json")
        process = await run_load(url, *load)
        output, errors = await process.communicate()
    assert process.returncode == 0, errors
    figures = json.loads(output)
    assert figures["requests"] == figures["completed"] == len(answers.bodies) > 0
    assert figures["accuracy"] is None
    sent = payloads("crop", 3, len(answers.bodies))
    assert set(answers.bodies) == {payload.body.content for payload in sent}
    assert set(answers.lengths) == {payload.body.headers[HEADER_LENGTH] for payload in sent}


async def test_command_keeps_its_records_on_interrupt(tmp_path: Path) -> None:
    """Ctrl-C ends the command cleanly with the summary of what was sent."""
    (tmp_path / "body.json").write_bytes(b'{"inputs": []}')
    answers = Answers()
    answers.gate.set()
    async with answers.served() as url:
        process = await run_load(
            *(url, "--pattern", "steady-high", "--scale", "50", "--duration", "1h"),
            *("--body", str(tmp_path / "body.json"), "--records", str(tmp_path / "records.jsonl"), "-o", "json"),
        )
        await answers.wait_for(20)
        process.send_signal(signal.SIGINT)
        output, errors = await process.communicate()
    assert process.returncode == 0, errors
    assert json.loads(output)["requests"] == len(read_records(tmp_path / "records.jsonl")) == len(answers.slos)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "exactly one of --pattern and --trace"),
        (("--pattern", "calm"), "steady-low"),
        (("--pattern", "ramp", "--trace", "x.csv"), "exactly one"),
        (("--trace", "/nonexistent.csv"), "/nonexistent.csv"),
        (("--pattern", "ramp", "--duration", "1", "--slo", "1", "--body", "/nonexistent"), "/nonexistent"),
        (("--pattern", "ramp", "--network", "4g-bus"), "--network and --size together"),
        (("--pattern", "ramp", "--network", "5g", "--size", "1KB"), "one of 4g-bus, 4g-foot, 4g-static"),
        (("--pattern", "ramp", "--network", "4g-bus", "--size", "big"), "size: 'big': accepted: bytes"),
    ],
)
async def test_wrong_usage_is_one_line_and_exit_2(options: tuple[str, ...], words: str) -> None:
    """What the operator got wrong is named in one line; exit code 2."""
    process = await run_load("http://127.0.0.1:9", *options)
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert words in errors.decode()
    assert "Traceback" not in errors.decode()
