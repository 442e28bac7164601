"""The Services in front of the pods: each request goes to a pod of its stage that is ready, the least busy one first.

Connections to pods are kept, and chosen anew for each request, as a mesh does it; kube-proxy alone chooses a pod for
each connection.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from tests.cluster.emulator import CLUSTER_AGENT
from tests.cluster.resources import Document

SERVICE_LABEL = "seldon-app-svc-"
"""How the labels begin by which Seldon's Services choose the pods of a node, whose name follows."""
AGAIN = 0.05
"""Seconds until a watch that has ended is begun anew."""
BODY_LIMIT = 2**26
HOP = frozenset({"host", "connection", "keep-alive", "transfer-encoding", "content-length"})
"""Headers of one connection alone."""
_WATCHED = aiohttp.ClientTimeout(total=None)


@dataclass
class Backend:
    """A pod: whether it takes requests, how many are ``under_way``, and when it was chosen last."""

    url: str
    stages: frozenset[str]
    ready: bool = False
    under_way: int = 0
    chosen: float = 0.0


class Router:
    """Serves /v2/models/STAGE... on a free port of this machine while it is entered; ``api`` is the API server's URL.

    What pods say of their ``stats`` and their ``config`` is told as if it were of one server, with their instances.
    """

    def __init__(self, api: str, namespace: str = "default") -> None:
        self._pods_url = f"{api}/api/v1/namespaces/{namespace}/pods"
        self._backends: dict[str, Backend] = {}
        self._session: aiohttp.ClientSession
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), name="router")
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10), "the router has not started"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._loop.close()

    def ready(self, stage: str) -> int:
        """How many pods of a stage are sent requests."""
        return len(self._of(stage))

    async def _run(self) -> None:
        application = web.Application(client_max_size=BODY_LIMIT)
        application.router.add_route("*", r"/v2/models/{stage:[^/]+}{rest:.*}", self._serve)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # queues are to form in the pods
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding",),
        ) as self._session:
            following = asyncio.create_task(self._follow())
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._started.set()
            await self._stopping.wait()
            following.cancel()
            await asyncio.wait([following])
            await runner.cleanup()

    async def _follow(self) -> None:
        """Keep the backends as the API says."""
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                version = await self._list()
                query = {"watch": "true", "resourceVersion": version}
                async with self._session.get(
                    self._pods_url, params=query, headers={"User-Agent": CLUSTER_AGENT}, timeout=_WATCHED
                ) as stream:
                    async for line in stream.content:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            break
                        self._take(event["object"], gone=event["type"] == "DELETED")
            await asyncio.sleep(AGAIN)

    async def _list(self) -> str:
        """Take all pods there are; returns the version to watch from."""
        async with self._session.get(self._pods_url, headers={"User-Agent": CLUSTER_AGENT}) as answer:
            found = await answer.json()
        for uid in self._backends.keys() - {pod["metadata"]["uid"] for pod in found["items"]}:
            del self._backends[uid]
        for pod in found["items"]:
            self._take(pod)
        version: str = found["metadata"]["resourceVersion"]
        return version

    def _take(self, pod: Document, gone: bool = False) -> None:
        uid, status = pod["metadata"]["uid"], pod.get("status", {})
        if gone or "podIP" not in status:
            self._backends.pop(uid, None)
            return
        conditions = {condition["type"]: condition["status"] for condition in status["conditions"]}
        backend = self._backends.setdefault(uid, _backend(pod))
        backend.ready = conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]

    def _of(self, stage: str) -> list[Backend]:
        return [backend for backend in self._backends.values() if backend.ready and stage in backend.stages]

    async def _serve(self, request: web.Request) -> web.Response:
        stage, rest = request.match_info["stage"], request.match_info["rest"]
        backends = self._of(stage)
        if not backends:
            return web.json_response({"error": f"no pod of {stage!r} is ready"}, status=503)
        try:
            if rest in _MERGED:
                return await self._merged(request, backends)
            return await self._sent(request, min(backends, key=lambda one: (one.under_way, one.chosen)))
        except aiohttp.ClientError as error:
            return web.json_response({"error": f"a pod of {stage!r} does not answer: {error}"}, status=502)

    async def _sent(self, request: web.Request, backend: Backend) -> web.Response:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in HOP}
        body = await request.read()
        backend.under_way, backend.chosen = backend.under_way + 1, time.monotonic()
        try:
            async with self._session.request(
                request.method, backend.url + request.raw_path, data=body or None, headers=headers
            ) as answer:
                kept = {key: value for key, value in answer.headers.items() if key.lower() not in HOP}
                return web.Response(body=await answer.read(), status=answer.status, headers=kept)
        finally:
            backend.under_way -= 1

    async def _merged(self, request: web.Request, backends: Sequence[Backend]) -> web.Response:
        async def asked(backend: Backend) -> Document:
            async with self._session.get(backend.url + request.raw_path) as answer:
                found: Document = await answer.json(content_type=None)
                return found

        merge = _MERGED[request.match_info["rest"]]
        return web.json_response(merge(await asyncio.gather(*map(asked, backends))))


def _backend(pod: Document) -> Backend:
    (port,) = (
        port["containerPort"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports", ())
        if port["name"] == "http"
    )
    stages = (
        label.removeprefix(SERVICE_LABEL) for label in pod["metadata"]["labels"] if label.startswith(SERVICE_LABEL)
    )
    return Backend(f"http://{pod['status']['podIP']}:{port}", frozenset(stages))


def _statistics(answers: Sequence[Document]) -> Document:
    """The sums, version by version."""
    versions: dict[str, Document] = {}
    for model in (model for answer in answers for model in answer["model_stats"]):
        version = model["version"]
        versions[version] = _sum(versions[version], model) if version in versions else model
    return {"model_stats": list(versions.values())}


def _sum(one: Mapping[str, Any], other: Mapping[str, Any]) -> Document:
    """Numbers added, at every depth; of what is none, the first."""
    return {
        key: _sum(value, other[key]) if isinstance(value, dict) else value + other[key] if _number(value) else value
        for key, value in one.items()
    }


def _number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _configuration(answers: Sequence[Document]) -> Document:
    """The first, with the instances of all."""
    groups = [group for answer in answers for group in answer.get("instance_group", ())]
    return {**answers[0], "instance_group": groups}


_MERGED = {"/stats": _statistics, "/config": _configuration}
