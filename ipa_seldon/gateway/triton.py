"""The gateway's connections to a Triton server's HTTP endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp

from ipa_seldon.gateway.messages import HEADER_LENGTH, Body, Raw
from ipa_seldon.gateway.protocol import PUID, FaultError

CONNECTIONS = 1000
"""Open at the same time; one per request under way, so that queues form in Triton, where batches are made."""

PROBE_TIMEOUT = aiohttp.ClientTimeout(total=2)


class Answer(NamedTuple):
    """An HTTP answer, read completely; ``length`` is what its header HEADER_LENGTH says, if there is one."""

    status: int
    body: bytes
    length: str | None


class Triton:
    """A pool of kept connections to ``url``. To be made inside a running event loop, and closed in it."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
            # Triton would compress every answer for a client that does not say so, at the models' expense.
            headers={"Accept-Encoding": "identity"},
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def infer(self, path: str, body: Body, puid: str, timeout: float) -> Answer:
        """POST ``body``; TimeoutError after ``timeout`` seconds, FaultError with 503 where Triton is gone."""
        headers = {**body.headers, PUID: puid}
        return await self._call("POST", path, aiohttp.ClientTimeout(total=timeout), headers, body.stream())

    async def get(self, path: str) -> Answer:
        """GET; TimeoutError after 2 s, FaultError with 503 where Triton is gone."""
        return await self._call("GET", path, PROBE_TIMEOUT, {}, None)

    async def _call(
        self,
        method: str,
        path: str,
        limit: aiohttp.ClientTimeout,
        headers: dict[str, str],
        body: bytes | AsyncIterator[Raw] | None,
    ) -> Answer:
        try:
            async with self._session.request(
                method, self._url + path, data=body, headers=headers, timeout=limit
            ) as response:
                return Answer(response.status, await response.read(), response.headers.get(HEADER_LENGTH))
        except TimeoutError:
            raise
        except aiohttp.ClientError as error:
            raise FaultError(503, f"the Triton server at {self._url} does not answer: {error}") from error
