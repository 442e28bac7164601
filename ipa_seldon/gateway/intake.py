"""Takes in the bodies of requests, as long as neither one nor all together are too large."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from ipa_seldon.gateway.protocol import RefusedError

LARGEST = 64 * 2**20
"""Bytes of a body: many times what models take."""
MOST = 512 * 2**20
"""Bytes of all bodies under way: hundreds of pictures, which an overload would pile up without end."""


class Intake:
    """Keeps bodies of up to ``largest`` bytes, and ``most`` at a time in all."""

    def __init__(self, largest: int = LARGEST, most: int = MOST) -> None:
        self._largest = largest
        self._most = most
        self._kept = 0

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request that is under way in this context; RefusedError as soon as there is too much, with 413
        where it is this body's, else with 503.
        """
        pieces: list[bytes] = []
        size = 0
        try:
            async for piece in request.stream():
                size += len(piece)
                self._kept += len(piece)
                if size > self._largest:
                    raise RefusedError(413, f"the body is too large; accepted: {self._largest} bytes")
                if self._kept > self._most:
                    raise RefusedError(503, f"requests under way have {self._most} bytes already; try again later")
                pieces.append(piece)
            body = b"".join(pieces)
            pieces.clear()
            yield body
        finally:
            self._kept -= size
