"""The sidecar's loop in a thread, and what it tells over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ipa_seldon.platforms.triton_models import LOAD_DEADLINE
from ipa_seldon.sidecar.metrics import SidecarMetrics
from ipa_seldon.sidecar.reconciler import Reconciler, Round

PATIENCE = 2 * LOAD_DEADLINE
"""Seconds without the end of a round after which the loop counts as dead: a round has two loads at most."""


class Sidecar:
    """Runs ``reconciler`` every ``poll`` seconds; ``say`` gets a line when something has changed."""

    def __init__(self, stage: str, reconciler: Reconciler, poll: float, say: Callable[[str], None]) -> None:
        self._stage = stage
        self._reconciler = reconciler
        self._poll = poll
        self._say = say
        self._metrics = SidecarMetrics(stage)
        self._last = Round(None, None, ready=False, error="no round has ended yet")
        self._ended = time.monotonic()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Rounds until ``stop`` is called."""
        while not self._stopping.is_set():
            ended = self._reconciler.step()
            self._tell(ended)
            self._metrics.observe(ended)
            self._last, self._ended = ended, time.monotonic()
            self._stopping.wait(self._poll)

    def stop(self) -> None:
        """End the loop after the round under way."""
        self._stopping.set()

    def _tell(self, ended: Round) -> None:
        """One line per change: this runs for months."""
        if ended.running != self._last.running and ended.running is not None:
            took = "" if ended.load_seconds is None else f", loaded in {ended.load_seconds:.2f} s"
            self._say(f"{self._stage}: runs {ended.running}{took}")
        if ended.error and ended.error != self._last.error:
            self._say(f"{self._stage}: {ended.error}")

    def healthz(self, _: Request) -> Response:
        """GET /healthz: 200 while rounds end."""
        silent = time.monotonic() - self._ended
        if silent > PATIENCE:
            return JSONResponse({"error": f"no round has ended for {silent:.0f} s"}, 503)
        return JSONResponse({})

    def readyz(self, _: Request) -> Response:
        """GET /readyz: 200 while Triton serves a plan of ours, also while a newer one cannot be loaded."""
        last = self._last
        return JSONResponse({}) if last.ready else JSONResponse({"error": last.error or "loading the plan"}, 503)

    def status(self, _: Request) -> Response:
        """GET /status: what is wanted, what runs, and why not."""
        last = self._last
        return JSONResponse(
            {
                "stage": self._stage,
                "wanted": last.wanted and asdict(last.wanted),
                "running": last.running and asdict(last.running),
                "ready": last.ready,
                "in_sync": last.in_sync,
                "error": last.error,
            }
        )

    def metrics(self, _: Request) -> Response:
        """GET /metrics."""
        return Response(self._metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


def create_app(sidecar: Sidecar) -> Starlette:
    """The application, whose life is the loop's."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        thread = threading.Thread(target=sidecar.run, name="sidecar", daemon=True)
        thread.start()
        try:
            yield
        finally:
            # Not waited for: Triton would carry a load that is under way to its end without us.
            sidecar.stop()

    pages = ("healthz", "readyz", "status", "metrics")
    return Starlette(routes=[Route(f"/{page}", getattr(sidecar, page)) for page in pages], lifespan=lifespan)
