"""What can be asked of a running adapter over HTTP: the live page, and what it is drawn from. Read-only."""

from __future__ import annotations

import time
from importlib.resources import files

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from ipa_seldon.telemetry.metrics import AdapterMetrics
from ipa_seldon.telemetry.status import Subject, find, overview, status

FRESH = {"Cache-Control": "no-store"}


def routes(subject: Subject, metrics: AdapterMetrics) -> list[Route]:
    """``/``, ``/api/status``, ``/api/status/PIPELINE``, ``/api/decisions/PIPELINE`` and ``/metrics``."""
    page = files("ipa_seldon.telemetry").joinpath("page.html").read_text("utf-8")

    def live_page(_: Request) -> Response:
        """GET /: one file that asks for nothing but the JSON below."""
        return HTMLResponse(page, headers=FRESH)

    def all_pipelines(_: Request) -> Response:
        """GET /api/status."""
        return JSONResponse(overview(subject, time.time()), headers=FRESH)

    def one_pipeline(request: Request) -> Response:
        """GET /api/status/PIPELINE."""
        name = request.path_params["name"]
        found = status(subject, name, time.time())
        return _unknown(subject, name) if found is None else JSONResponse(found, headers=FRESH)

    def decisions(request: Request) -> Response:
        """GET /api/decisions/PIPELINE: an audit log of the last decisions."""
        name = request.path_params["name"]
        shown = find(subject, name)
        if shown is None:
            return _unknown(subject, name)
        lines = "".join(f"{line}\n" for line in shown.history.audit_log())
        return Response(lines, media_type="application/jsonl", headers=FRESH)

    def exposition(_: Request) -> Response:
        """GET /metrics."""
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/", live_page),
        Route("/api/status", all_pipelines),
        Route("/api/status/{name:path}", one_pipeline),
        Route("/api/decisions/{name:path}", decisions),
        Route("/metrics", exposition),
    ]


def _unknown(subject: Subject, name: str) -> Response:
    names = ", ".join(shown.history.config.name for shown in subject.pipelines) or "none"
    return JSONResponse({"error": f"no pipeline {name!r}; accepted: {names}"}, 404, headers=FRESH)
