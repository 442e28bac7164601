"""How much of requests the gateway keeps."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from starlette.requests import Request

from ipa_seldon.gateway.intake import Intake
from ipa_seldon.gateway.protocol import RefusedError


def request(*pieces: bytes, ends: bool = True) -> Request:
    """One whose body comes in ``pieces``, and after them its end or nothing more."""
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or not ends}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


async def test_bodies_are_kept_up_to_a_limit_each() -> None:
    """A body in pieces is whole; one byte more than the limit is a 413 that tells it, and is not waited for."""
    intake = Intake(largest=10, most=100)
    async with intake.body(request(b"01234", b"56789")) as body:
        assert body == b"0123456789"
    with pytest.raises(RefusedError, match="too large; accepted: 10 bytes") as refused:
        await intake.body(request(b"01234", b"567890")).__aenter__()
    assert refused.value.status == 413


async def test_bodies_are_kept_up_to_a_limit_in_all() -> None:
    """What does not fit beside those under way is a 503; it fits once they have ended, in whatever way."""
    intake = Intake(largest=10, most=25)
    async with AsyncExitStack() as under_way:
        for _ in range(2):
            await under_way.enter_async_context(intake.body(request(b"0123456789")))
        for _ in range(2):
            with pytest.raises(RefusedError, match="under way have 25 bytes already") as refused:
                await intake.body(request(b"012345")).__aenter__()
            assert refused.value.status == 503
        await under_way.enter_async_context(intake.body(request(b"01234")))
    with pytest.raises(ZeroDivisionError):
        async with intake.body(request(b"0123456789")):
            raise ZeroDivisionError
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0), intake.body(request(b"0123456789", ends=False)):
            pass
    for _ in range(2):
        await under_way.enter_async_context(intake.body(request(b"0123456789")))
    await under_way.aclose()
