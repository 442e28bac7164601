"""Serves an ASGI application: as a process that ends with the one that needs it, or in a thread."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import uvicorn
from anyio.from_thread import start_blocking_portal
from starlette.applications import Starlette

from ipa_seldon.errors import PlatformError

KEEP_ALIVE = 75
"""Seconds an idle connection is kept: longer than clients keep theirs (aiohttp: 15 s), so that no request is sent into
a connection that is just being closed."""

POLL = 0.02
PARENT_POLL = 0.5


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, on a free port where ``port`` is 0; PlatformError where it cannot be had."""
    # asyncio switches Nagle's algorithm off only where the protocol is named; with it an answer waits 40 ms for an ACK.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PlatformError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return listener


def url_of(listener: socket.socket) -> str:
    """``http://host:port`` of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@asynccontextmanager
async def serving(app: Starlette, listener: socket.socket, slo: float) -> AsyncIterator[str]:
    """Answer on ``listener`` inside this context, which yields the URL; at its end finish the requests under way.

    Draining ends at the latest a little after the ``slo`` (seconds).
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(slo) + 1,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not (server.started or task.done()):
            await asyncio.sleep(POLL)
        yield url_of(listener)
    finally:
        server.should_exit = True
        await task


@contextmanager
def serving_beside(app: Starlette, listener: socket.socket) -> Iterator[str]:
    """As ``serving``, in a thread beside the caller's."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serving(app, listener, 0.0)) as url:
        yield url


async def serve_process(
    app: Starlette, listener: socket.socket, slo: float, announce: Callable[[str], None], parent: int | None
) -> None:
    """Serve as the main task of a process, until SIGINT, SIGTERM, or until ``parent`` is gone (None: never).

    ``announce`` gets the URL once requests are answered; ``parent`` is the id of the process that started this one.
    """
    told = asyncio.Event()
    # uvicorn handles signals only while it serves, and raises them again at its end; these hold before and after.
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with serving(app, listener, slo) as url:
        announce(url)
        while not told.is_set() and (parent is None or os.getppid() == parent):
            with suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), PARENT_POLL)
