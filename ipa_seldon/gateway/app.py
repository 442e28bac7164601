"""The gateway as an ASGI application: the routes of the Open Inference Protocol v2, arrivals, budgets and metrics."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ipa_seldon import __version__
from ipa_seldon.gateway.budgets import SEND_TIME, RecentBudgets, least, read_budget
from ipa_seldon.gateway.counts import Counts
from ipa_seldon.gateway.dispatch import read_table
from ipa_seldon.gateway.dispatcher import Dispatcher
from ipa_seldon.gateway.executor import Call, Executor
from ipa_seldon.gateway.graph import Graph
from ipa_seldon.gateway.intake import Intake
from ipa_seldon.gateway.messages import Body
from ipa_seldon.gateway.metrics import GatewayMetrics
from ipa_seldon.gateway.models import Model
from ipa_seldon.gateway.protocol import PUID, RefusedError, read_request, versions_header
from ipa_seldon.gateway.service_times import ServiceTimes
from ipa_seldon.gateway.triton import Triton

Run = Callable[[Call], Awaitable[Body]]

CLIENT_GONE = 499
"""The client closed the connection before its request was complete (the code nginx logs for this)."""


class Gateway:
    """The routes of one pipeline. ``triton`` is open while the application runs."""

    def __init__(self, graph: Graph, triton_url: str) -> None:
        self._graph = graph
        self._triton_url = triton_url
        self._metrics = GatewayMetrics(graph.name, graph.stages)
        self._arrivals = Counts(time.time())
        self._missed = Counts(time.time())
        self._budgets = RecentBudgets()
        self._intake = Intake()
        self._warned = False
        self._dispatcher = Dispatcher(graph)
        self._triton: Triton
        self._times: ServiceTimes
        self._executor: Executor

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Hold the connections to Triton while the application runs."""
        del app
        self._triton = Triton(self._triton_url)
        self._times = ServiceTimes(self._graph, self._triton, self._dispatcher)
        self._executor = Executor(self._graph, self._triton, self._metrics, self._dispatcher, self._times)
        watching = asyncio.create_task(self._times.watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            await self._triton.close()

    async def infer_graph(self, request: Request) -> Response:
        """POST /v2/models/infer: the whole graph."""
        return await self._infer(request, self._executor.run)

    async def infer_stage(self, request: Request) -> Response:
        """POST /v2/models/{stage}[/versions/{version}]/infer: one stage alone."""
        version = request.path_params.get("version")
        return await self._infer(request, lambda call: self._executor.run_stage(call, self._stage_of(request), version))

    async def _infer(self, request: Request, run: Run) -> Response:
        """Count, answer within the budget, measure. The arrival counts before anything can fail."""
        arrived = time.monotonic()
        self._arrivals.count(time.time())
        self._metrics.arrived()
        headers = {PUID: request.headers.get(PUID) or uuid.uuid4().hex}
        status, budget = 500, self._graph.slo
        try:
            budget = self._read_budget(request)
            async with self._intake.body(request) as content:
                message = read_request(request.headers, content)
                deadline = arrived + budget
                self._budgets.add(now := time.monotonic(), deadline - now)
                call = Call(headers[PUID], message, deadline, rank=deadline if self._graph.by_deadline else arrived)
                body = await run(call)
            headers |= self._served_by(call)
            status = 200
            return Response(body.content, headers=headers | body.headers)
        except RefusedError as refusal:
            status = refusal.status
            return JSONResponse({"error": refusal.reason}, status, headers)
        except ClientDisconnect:
            status = CLIENT_GONE
            return Response(status_code=status, headers=headers)
        finally:
            seconds = time.monotonic() - arrived
            outcome = _outcome(status, seconds <= budget)
            self._metrics.answered(outcome, status, seconds)
            if outcome != "completed":
                self._missed.count(time.time())

    def _read_budget(self, request: Request) -> float:
        """Seconds that a request may still take. The first time that its clock seems not to be ours, that is said."""
        budget = read_budget(request.headers, self._graph.slo, time.time())
        if budget.off:
            self._metrics.unsynchronised()
            if not self._warned:
                where = f"{abs(budget.off):.3f} s {'after' if budget.off > 0 else 'before'} it arrived"
                logging.getLogger(__name__).warning(
                    "gateway %s: header %s: a request was sent %s: are the clocks synchronised? It gets the whole SLO; "
                    "ipa_gateway_unsynchronised_requests_total counts more",
                    *(self._graph.name, SEND_TIME, where),
                )
            self._warned = True
        return budget.seconds

    def _served_by(self, call: Call) -> dict[str, str]:
        """What answered, as version numbers and, where they are known, as names of variants."""
        names = {
            stage: self._graph.variants[stage][version]
            for stage, version in call.versions.items()
            if version in self._graph.variants.get(stage, {})
        }
        served = {"Ipa-Versions": versions_header(call.versions, self._graph.stages)}
        return served | ({"Ipa-Variants": versions_header(names, self._graph.stages)} if names else {})

    def _stage_of(self, request: Request) -> str:
        stage: str = request.path_params["stage"]
        if stage not in self._graph.stages:
            raise RefusedError(404, f"model {stage!r} is unknown; accepted: {', '.join(self._graph.stages)}")
        return stage

    async def metadata(self, request: Request) -> Response:
        """GET /v2: what this is, and the SLO in seconds."""
        del request
        extensions = ["binary_tensor_data"]
        return JSONResponse(
            {"name": self._graph.name, "version": __version__, "extensions": extensions, "slo": self._graph.slo}
        )

    async def live(self, request: Request) -> Response:
        """GET /v2/health/live."""
        del request
        return JSONResponse({"live": True})

    async def ready(self, request: Request) -> Response:
        """GET /v2/health/ready: 200 when every stage is ready, else 503 naming those that are not."""
        del request
        ends = await asyncio.gather(*(self._is_ready(stage) for stage in self._graph.stages))
        missing = [stage for stage, ready in zip(self._graph.stages, ends, strict=True) if not ready]
        if missing:
            return JSONResponse({"error": f"not ready: {', '.join(missing)}"}, 503)
        return JSONResponse({"ready": True})

    async def _is_ready(self, stage: str) -> bool:
        """Whether any of the models that its requests go to is."""
        return any(await asyncio.gather(*(self._is_model_ready(model) for model in self._dispatcher.serving(stage))))

    async def _is_model_ready(self, model: Model) -> bool:
        try:
            return (await self._triton.get(f"{model.path()}/ready")).status == 200
        except (RefusedError, TimeoutError):
            return False

    async def stage_route(self, request: Request) -> Response:
        """GET a stage's metadata or readiness, as Triton gives it; of a set of variants that of the asked version, or
        of the first.
        """
        try:
            stage, version = self._stage_of(request), request.path_params.get("version")
            known = self._dispatcher
            model = known.serving(stage)[0] if version is None else known.named(stage, str(version))
            part = "/ready" if request.url.path.endswith("/ready") else ""
            status, body, _ = await self._triton.get(model.path(None if version is None else str(version)) + part)
        except RefusedError as refusal:
            return JSONResponse({"error": refusal.reason}, refusal.status)
        except TimeoutError:
            return JSONResponse({"error": "the Triton server does not answer in time"}, 504)
        return Response(body, status, media_type="application/json")

    async def dispatched(self, request: Request) -> Response:
        """GET /dispatch: stage -> version -> weight, requests in flight, and health."""
        del request
        return JSONResponse(self._dispatcher.report())

    async def dispatch(self, request: Request) -> Response:
        """PUT /dispatch: stage -> version -> weight, in place of the table so far; from this machine only."""
        if not _is_local(request):
            return JSONResponse({"error": "dispatch: accepted: clients on this machine"}, 403)
        try:
            table = read_table(await request.body(), self._graph)
        except RefusedError as refusal:
            return JSONResponse({"error": refusal.reason}, refusal.status)
        models = self._dispatcher.models(table)
        for model in models:
            model.reconsider()
        # Before requests go there: a queue must not hold back what new or larger models can take.
        await self._times.measure(models)
        self._dispatcher.replace(table)
        return JSONResponse(self._dispatcher.report())

    async def metrics(self, request: Request) -> Response:
        """GET /metrics: the Prometheus text format."""
        del request
        return Response(self._metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def arrivals(self, request: Request) -> Response:
        """GET /arrivals?seconds=N: requests received per complete second, the last one ending at ``end``, and how many
        were answered late or not at all in that second.
        """
        wanted = request.query_params.get("seconds", "120")
        if not wanted.isdecimal():
            return JSONResponse({"error": f"seconds: {wanted!r}; accepted: a whole number"}, 400)
        now = time.time()
        end, counts = self._arrivals.series(now, int(wanted))
        return JSONResponse({"end": end, "counts": counts, "missed": self._missed.series(now, int(wanted))[1]})

    async def queue(self, request: Request) -> Response:
        """GET /queue: what requests that wait for a batch have left (seconds), and what those had that came lately."""
        del request
        now = time.monotonic()
        remaining = [deadline - now for deadline in self._dispatcher.deadlines()]
        return JSONResponse({"remaining_slo": least(remaining), "budgets": least(self._budgets.at(now))})


def create_app(graph: Graph, triton_url: str) -> Starlette:
    """The application for ``graph`` over the Triton server at ``triton_url`` (its HTTP endpoint)."""
    gateway = Gateway(graph, triton_url)
    stage = "/v2/models/{stage}"
    routes = [
        Route("/v2/models/infer", gateway.infer_graph, methods=["POST"]),
        Route(f"{stage}/infer", gateway.infer_stage, methods=["POST"]),
        Route(f"{stage}/versions/{{version:int}}/infer", gateway.infer_stage, methods=["POST"]),
        Route("/v2", gateway.metadata),
        Route("/v2/health/live", gateway.live),
        Route("/v2/health/ready", gateway.ready),
        *(Route(f"{stage}{part}", gateway.stage_route) for part in ("", "/ready")),
        *(Route(f"{stage}/versions/{{version:int}}{part}", gateway.stage_route) for part in ("", "/ready")),
        Route("/metrics", gateway.metrics),
        Route("/arrivals", gateway.arrivals),
        Route("/queue", gateway.queue),
        Route("/dispatch", gateway.dispatched),
        Route("/dispatch", gateway.dispatch, methods=["PUT"]),
    ]
    return Starlette(routes=routes, lifespan=gateway.lifespan, exception_handlers={HTTPException: _http_error})


def _is_local(request: Request) -> bool:
    if request.client is None:
        return False
    address = ipaddress.ip_address(request.client.host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _outcome(status: int, in_time: bool) -> str:
    if status == 200:
        return "completed" if in_time else "late"
    return "dropped" if status == 504 else "failed"


async def _http_error(request: Request, error: Exception) -> Response:
    """No such route or method, in the v2 error format."""
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, str(error))
    return JSONResponse({"error": f"{request.method} {request.url.path}: {detail}"}, status)
