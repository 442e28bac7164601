"""Sends requests when they are due. Nothing here waits for an answer before the next request leaves (open loop)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import aiohttp

from ipa_seldon.errors import PlatformError
from ipa_seldon.loadgen import Payload, RequestOutcome, RequestRecord

LAST_ANSWERS = 1.0
"""Seconds past the SLO that answers under way are awaited once the load was stopped early."""


@dataclass(frozen=True)
class Target:
    """The server at ``url`` and where it takes requests, by default as a gateway does. ``slo`` in seconds counts from
    when a request is due; ``timeout`` (seconds) is when a request without an answer is given up, and so the longest
    wait at the end.
    """

    url: str
    slo: float
    timeout: float = 30.0
    path: str = "/v2/models/infer"


class Clock:
    """Seconds since the epoch that never jump: the wall clock of when it was made, carried on by the monotonic one."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.monotonic() + self._offset

    def monotonic(self, epoch: float) -> float:
        """The monotonic clock's reading at ``epoch``."""
        return epoch - self._offset


class Sender:
    """Sends ``payloads`` in turn to ``target``; ``record`` gets the record of each request as it ends."""

    def __init__(self, target: Target, payloads: Sequence[Payload], record: Callable[[RequestRecord], None]) -> None:
        self._target = target
        self._payloads = payloads
        self._record = record
        self._clock = Clock()

    async def send(
        self, due_times: Sequence[float], stop: asyncio.Event, transfers: Sequence[float] | None = None
    ) -> None:
        """Send one request at each of ``due_times`` (seconds since the epoch, ascending), then await the answers.

        With ``transfers`` a request is due at its client, and leaves here when it has been on the network for that many
        seconds, with that much less of its SLO left; a small one may overtake a large one. Once ``stop`` is set no
        request is started any more, and those under way have until a little after their SLO.
        """
        on_network = [0.0] * len(due_times) if transfers is None else transfers
        under_way: set[asyncio.Task[None]] = set()
        # No limit: a request must never wait for a connection that another one holds.
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
            for index in sorted(range(len(due_times)), key=lambda k: due_times[k] + on_network[k]):
                due, transfer = due_times[index], on_network[index]
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(self._clock.monotonic(due + transfer)):
                        await stop.wait()
                if stop.is_set():
                    break
                task = group.create_task(self._one(session, index, due, transfer))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await self._finish(under_way, stop)

    async def _finish(self, under_way: set[asyncio.Task[None]], stop: asyncio.Event) -> None:
        """Until all requests have ended; after ``stop`` those that take too long are cancelled."""
        stopping = asyncio.create_task(stop.wait())
        while under_way and not stop.is_set():
            await asyncio.wait([*under_way, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if under_way:
            await asyncio.wait(under_way, timeout=self._target.slo + LAST_ANSWERS)
        for task in under_way:
            task.cancel()

    async def _one(self, session: aiohttp.ClientSession, index: int, due: float, transfer: float) -> None:
        payload = self._payloads[index % len(self._payloads)]
        sent = self._clock.now()
        headers = {
            **payload.body.headers,
            "Accept-Encoding": "identity",  # else a Triton that is asked directly compresses its answers
            "Ipa-Remaining-Slo": f"{self._target.slo - (sent - due):.6f}",
        }
        status, answer = 0, b""
        told: Mapping[str, str] = {}
        try:
            async with session.post(
                f"{self._target.url.rstrip('/')}{self._target.path}",
                data=payload.body.stream(),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=self._target.timeout),
            ) as response:
                answer = await response.read()
                status = response.status
                told = response.headers
        except (aiohttp.ClientError, TimeoutError):
            status = 0
        finally:
            done = self._clock.now()
            self._record(
                RequestRecord(
                    index=index,
                    due=due,
                    sent=sent,
                    done=done,
                    outcome=outcome_of(status, done - due <= self._target.slo),
                    status=status,
                    variants=variants_of(told),
                    expected=payload.expected,
                    matched=payload.matched(answer) if status == 200 else 0,
                    transfer=transfer,
                )
            )


def outcome_of(status: int, in_time: bool) -> RequestOutcome:
    """What became of a request; ``status`` 0 means that there was no answer."""
    if status == 200:
        return RequestOutcome.COMPLETED if in_time else RequestOutcome.LATE
    return RequestOutcome.DROPPED if status == 504 else RequestOutcome.FAILED


def variants_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Stage -> the variant that answered, as the gateway's header names it; its version where it has no name."""
    named = headers.get("Ipa-Variants") or headers.get("Ipa-Versions", "")
    return dict(part.split("=", 1) for part in named.split(";") if "=" in part)


async def announced_slo(url: str) -> float:
    """The SLO in seconds that the gateway at ``url`` announces; PlatformError where there is none."""
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url.rstrip('/')}/v2") as response:
            return float(json.loads(await response.read())["slo"])
    except (aiohttp.ClientError, TimeoutError) as error:
        raise PlatformError(f"the gateway at {url} does not answer: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PlatformError(f"the server at {url} announces no SLO; give one with --slo") from error
