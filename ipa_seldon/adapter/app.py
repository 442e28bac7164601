"""What the adapter tells over HTTP: probes, metrics, the live page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ipa_seldon.adapter.service import Service
from ipa_seldon.telemetry.metrics import AdapterMetrics
from ipa_seldon.telemetry.pages import routes


def create_app(service: Service, metrics: AdapterMetrics) -> Starlette:
    """The application, whose life is the service's."""

    async def healthz(_: Request) -> Response:
        """GET /healthz: 200 while every loop comes round."""
        silent = service.silent
        return JSONResponse({"error": f"no sign of {', '.join(silent)}"}, 503) if silent else JSONResponse({})

    async def readyz(_: Request) -> Response:
        """GET /readyz: 200 while the API server answers, for whoever leads and whoever stands by."""
        return JSONResponse({}) if service.reached else JSONResponse({"error": "no answer from the API server"}, 503)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await run_in_threadpool(service.stop)

    probes = [Route("/healthz", healthz), Route("/readyz", readyz)]
    return Starlette(routes=[*probes, *routes(service, metrics)], lifespan=lifespan)
