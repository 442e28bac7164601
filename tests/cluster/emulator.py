"""A Kubernetes API server for tests: real HTTP, resourceVersions, conflicts, watches, and faults at will.

It stores objects and nothing else: what a cluster does with them is in ``controllers.py``. Left out: who may do what,
admission, discovery, finalizers, graceful deletion, pages of lists, server-side apply, and all defaults but a
Deployment's replicas.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from tests.cluster.api import Api
from tests.cluster.calls import Asked, Call, Fault, asked
from tests.cluster.resources import ApiError, Document, Resource

CLUSTER_AGENT = "test-cluster"
"""The User-Agent of the cluster's own controllers: their requests are neither recorded nor struck by faults."""


class _Protocol(H11Protocol):
    """Lets requests reach their connection, which a fault may cut."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    """Waits for an event where uvicorn polls: there is a server for each test."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def main_loop(self) -> None:
        self.loop, self.stopping = asyncio.get_running_loop(), asyncio.Event()
        self.ready.set()
        await self.stopping.wait()


class Emulator:
    """Serves on a free port of this machine while it is entered.

    ``calls`` are the requests so far, without the cluster's own (CLUSTER_AGENT). ``resize_supported``: False is
    Kubernetes < 1.33. ``denied`` are (verb, "group/resource/subresource") that a SelfSubjectAccessReview denies, as in
    ("patch", "apps/deployments/scale") and, in the core group, ("patch", "pods/resize").
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._api = Api()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        # asyncio sends at once only on sockets that state their protocol; else each answer takes 40 ms.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        route = Route("/{path:path}", self._serve, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
        config = uvicorn.Config(
            Starlette(routes=[route]),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_level="error",
            timeout_graceful_shutdown=2,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="emulator", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._server.ready.wait(10), "the server has not started"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut_watches()
        self._server.loop.call_soon_threadsafe(self._server.stopping.set)
        self._thread.join()
        self._socket.close()

    @property
    def denied(self) -> set[tuple[str, str]]:
        """What access reviews deny; change it in place."""
        return self._api.denied

    @property
    def resize_supported(self) -> bool:
        """Whether pods have a resize subresource."""
        return self._api.resize_supported

    @resize_supported.setter
    def resize_supported(self, supported: bool) -> None:
        self._api.resize_supported = supported

    def kubeconfig(self, path: Path, namespace: str = "default") -> Path:
        """Write a kubeconfig for this server to ``path``; returns ``path``."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "emulator", "cluster": {"server": self.url}}],
            "users": [{"name": "tester", "user": {"token": "none-is-checked"}}],
            "contexts": [
                {"name": "test", "context": {"cluster": "emulator", "user": "tester", "namespace": namespace}}
            ],
            "current-context": "test",
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def register(self, group: str, version: str, plural: str, namespaced: bool = True) -> None:
        """Serve one more kind of objects; it takes any ``kind``."""
        self._api.store.register(Resource(group, version, plural, namespaced=namespaced))

    def objects(self, plural: str) -> list[Document]:
        """Copies of all objects of a kind, by namespace and name."""
        return deepcopy(self._api.store.all(plural))

    def object(self, plural: str, name: str, namespace: str = "default") -> Document:
        """A copy of one object; KeyError where there is none. Namespaces do not matter to what has none."""
        for document in self.objects(plural):
            metadata = document["metadata"]
            if metadata["name"] == name and metadata.get("namespace", namespace) == namespace:
                return document
        raise KeyError(f"{plural} {namespace}/{name}")

    def clear_calls(self) -> None:
        """Forget the calls so far."""
        self.calls.clear()

    def fail(
        self,
        times: int = 1,
        verb: str | None = None,
        resource: str | None = None,
        name: str | None = None,
        code: int | None = None,
        retry_after: float | None = None,
        delay: float = 0.0,
        cut: bool = False,
        after: bool = False,
    ) -> None:
        """Strike the next ``times`` requests that fit ``verb``, ``resource`` ("deployments/scale") and ``name``.

        Each waits ``delay`` seconds; then its connection is ``cut``, or it is answered ``code`` (with Retry-After:
        ``retry_after`` seconds), or, with neither, as usual. ``after``: what it asks for is done first, and only the
        answer lost. A client may itself repeat GET, PUT and DELETE after a cut.
        """
        fault = Fault(verb, resource, name, code, retry_after, delay, cut, after)
        with self._lock:
            self._faults += [fault] * times

    def cut_watches(self) -> None:
        """End every open watch stream."""
        self._server.loop.call_soon_threadsafe(self._api.watches.cut)

    def forget_history(self) -> None:
        """Drop the kept changes: every resourceVersion seen so far is too old to watch from. Open streams go on."""
        self._api.store.forget()

    def _struck(self, request: Asked) -> Fault | None:
        with self._lock:
            fault = next((fault for fault in self._faults if fault.fits(request)), None)
            if fault:
                self._faults.remove(fault)
        return fault

    async def _serve(self, request: Request) -> Response:
        """Answer one request, unless a fault does."""
        if request.url.path.rstrip("/") == "/version":
            return JSONResponse(self._api.version())
        try:
            wanted = await asked(request)
        except ApiError as error:
            return JSONResponse(error.document(), error.code)
        if wanted is None or not self._api.store.serves(wanted.group, wanted.version):
            return PlainTextResponse("404 page not found\n", 404)
        if request.headers.get("user-agent") == CLUSTER_AGENT:
            return await self._api.answer(wanted)
        fault = self._struck(wanted)
        answer = await (self._fail(fault, request, wanted) if fault else self._api.answer(wanted))
        self.calls.append(wanted.answered(answer.status_code if answer else 0))
        return answer or Response()

    async def _fail(self, fault: Fault, request: Request, wanted: Asked) -> Response | None:
        """The answer of a struck request; None once its connection is cut."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._server.stopping.wait(), fault.delay)
        answer = await self._api.answer(wanted) if fault.after or not (fault.cut or fault.code) else None
        if fault.cut:
            request.state.transport.abort()
            # The server is told of it before an answer is tried.
            await asyncio.sleep(0)
            return None
        if fault.code:
            headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
            error = ApiError(fault.code, "struck by a fault of the test")
            return JSONResponse(error.document(), fault.code, headers)
        return answer
