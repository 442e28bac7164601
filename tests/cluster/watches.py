"""Watch streams. They live in the event loop that also writes, so no change falls between backlog and queue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

from tests.cluster.resources import ApiError, Document, Resource
from tests.cluster.selectors import Matches
from tests.cluster.store import Event, Store

BOOKMARK_PERIOD = 0.5
"""Seconds of silence; a real API server waits about a minute."""


@dataclass(frozen=True)
class Watching:
    """What a stream shows: from ``start`` on (None: everything there is, then its changes), for ``seconds``."""

    resource: Resource
    namespace: str
    matches: Matches
    start: int | None
    seconds: float | None
    bookmarks: bool


class Watches:
    """The open streams over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: set[asyncio.Queue[Event | None]] = set()

    def publish(self, event: Event) -> None:
        """Tell every stream of a change."""
        for queue in self._open:
            queue.put_nowait(event)

    def cut(self) -> None:
        """End every stream."""
        for queue in self._open:
            queue.put_nowait(None)

    async def stream(self, watching: Watching) -> AsyncIterator[bytes]:
        """The lines of one stream."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        deadline = None if watching.seconds is None else loop.time() + watching.seconds
        self._open.add(queue)
        try:
            try:
                backlog = self._backlog(watching)
            except ApiError as error:
                yield _line("ERROR", error.document())
                return
            for line in backlog:
                yield line
            while deadline is None or loop.time() < deadline:
                left = BOOKMARK_PERIOD if deadline is None else min(BOOKMARK_PERIOD, deadline - loop.time())
                try:
                    event = await asyncio.wait_for(queue.get(), left)
                except TimeoutError:
                    if watching.bookmarks:
                        yield _line("BOOKMARK", self._bookmark(watching.resource))
                    continue
                if event is None:
                    return
                for line in _shown(watching, event):
                    yield line
        finally:
            self._open.remove(queue)

    def _backlog(self, watching: Watching) -> list[bytes]:
        if watching.start is None:
            present = self._store.within(watching.resource, watching.namespace)
            return [_line("ADDED", document) for document in present if watching.matches(document)]
        return [line for event in self._store.since(watching.start) for line in _shown(watching, event)]

    def _bookmark(self, resource: Resource) -> Document:
        metadata = {"resourceVersion": str(self._store.version)}
        return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}


def _shown(watching: Watching, event: Event) -> list[bytes]:
    """The line of a change, none where it is not looked for; what stops matching is deleted."""

    def seen(document: Document | None) -> bool:
        return (
            document is not None
            and watching.namespace in ("", document["metadata"].get("namespace"))
            and watching.matches(document)
        )

    if event.resource != watching.resource:
        return []
    if event.after is not None and seen(event.after):
        return [_line("MODIFIED" if seen(event.before) else "ADDED", event.after)]
    if event.before is not None and seen(event.before):
        metadata = {**event.before["metadata"], "resourceVersion": str(event.version)}
        return [_line("DELETED", {**event.before, "metadata": metadata})]
    return []


def _line(kind: str, document: Document) -> bytes:
    return json.dumps({"type": kind, "object": document}).encode() + b"\n"
