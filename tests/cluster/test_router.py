"""The Services of the cluster of processes: which pod gets a request, and what is answered without one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ipa_seldon.gateway.service_times import COMPUTE, read_slots, read_totals
from tests.cluster.documents import Documents
from tests.cluster.emulator import Emulator
from tests.cluster.pod_runner import loopback_address
from tests.cluster.router import Router
from tests.waiting import wait_for

CONFIGURATION = {"name": "double", "max_batch_size": 4, "instance_group": [{"count": 1}]}


class FakePod:
    """A pod of the stage ``double`` that answers with its name, once ``answers`` is set."""

    def __init__(self, name: str, documents: Documents) -> None:
        self.name = name
        self.answers = threading.Event()
        self.answers.set()
        self.seen: list[tuple[str, str | None]] = []
        self._documents = documents
        self.server = ThreadingHTTPServer((loopback_address(), 0), self._handler())
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        address, port = self.server.server_address[:2]
        ports = [{"name": "http", "containerPort": port}]
        labels = {"seldon-app-svc-double": "toy-default-double"}
        spec = {"containers": [{"name": "double", "image": "triton", "ports": ports}]}
        self._document = documents.create("pods", {"metadata": {"name": name, "labels": labels}, "spec": spec})
        self._address = address
        self.set_ready(True)

    def set_ready(self, ready: bool) -> None:
        """As the kubelet reports it."""
        status = {"podIP": self._address, "conditions": [{"type": "Ready", "status": str(ready)}]}
        self._document = self._documents.replace("pods", {**self._document, "status": status}, "status")

    def page(self, path: str) -> dict[str, Any]:
        """What it says under a path."""
        if path.endswith("/config"):
            return CONFIGURATION
        parts = {part: {"count": 2, "ns": 3_000} for part in (*COMPUTE, "success")}
        return {"pod": self.name, "model_stats": [{"name": "double", "version": "1", "inference_stats": parts}]}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pod = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                pod.seen.append((self.path, self.headers.get("Seldon-Puid")))
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                assert pod.answers.wait(10)
                body = json.dumps(pod.page(self.path)).encode()
                self.send_response(418 if "teapot" in self.path else 200)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("From", pod.name)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815  # the name that http.server calls

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler


@pytest.fixture
def start(kubeconfig: Path) -> Iterator[Callable[[str], FakePod]]:
    """Starts pods by name."""
    pods: list[FakePod] = []
    with Documents(kubeconfig, "default", "kubelet") as documents:

        def started(name: str) -> FakePod:
            pods.append(FakePod(name, documents))
            return pods[-1]

        yield started
        for pod in pods:
            pod.answers.set()
            pod.server.shutdown()
            pod.server.server_close()


@pytest.fixture
def router(emulator: Emulator) -> Iterator[Router]:
    """Over the test's API server."""
    with Router(emulator.url) as running:
        yield running


def ask(router: Router, path: str, method: str = "POST") -> tuple[int, dict[str, Any], str | None]:
    """Status, body, and which pod answered."""
    with closing(HTTPConnection(urlsplit(router.url).netloc, timeout=10)) as connection:
        connection.request(method, path, body=b"{}" if method == "POST" else None, headers={"Seldon-Puid": "7"})
        answer = connection.getresponse()
        return answer.status, json.load(answer), answer.getheader("From")


def test_a_request_goes_to_a_pod_of_its_stage_that_is_ready(router: Router, start: Callable[[str], FakePod]) -> None:
    """As it came, its headers included, and the answer comes back as it is; 503 where there is no such pod."""
    assert ask(router, "/v2/models/double/infer")[0] == 503
    pod = start("one")
    wait_for(lambda: router.ready("double") == 1)
    assert ask(router, "/v2/models/double/infer")[::2] == (200, "one")
    assert ask(router, "/v2/models/double/versions/2/teapot?x=1", "GET")[0] == 418
    assert pod.seen == [("/v2/models/double/infer", "7"), ("/v2/models/double/versions/2/teapot?x=1", "7")]
    assert ask(router, "/v2/models/increment/infer")[0] == 503
    pod.set_ready(False)
    wait_for(lambda: router.ready("double") == 0)
    status, body, _ = ask(router, "/v2/models/double/infer")
    assert (status, body) == (503, {"error": "no pod of 'double' is ready"})


def test_the_least_busy_pod_is_next(router: Router, start: Callable[[str], FakePod]) -> None:
    """While one has a request under way all others go to the other; when none is busy they take turns."""
    pods = {name: start(name) for name in ("one", "two")}
    wait_for(lambda: router.ready("double") == 2)
    assert {ask(router, "/v2/models/double/infer")[2] for _ in range(2)} == {"one", "two"}
    for pod in pods.values():
        pod.answers.clear()
        pod.seen.clear()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(ask, router, "/v2/models/double/infer")
        wait_for(lambda: pods["one"].seen or pods["two"].seen)
        busy, free = ("one", "two") if pods["one"].seen else ("two", "one")
        pods[free].answers.set()
        assert {ask(router, "/v2/models/double/infer")[2] for _ in range(5)} == {free}
        pods[busy].answers.set()
        assert held.result()[2] == busy


def test_pods_look_like_the_instances_of_one_server(router: Router, start: Callable[[str], FakePod]) -> None:
    """The gateway reads the requests of both out of /stats, and what both take on out of /config."""
    for name in ("one", "two"):
        start(name)
    wait_for(lambda: router.ready("double") == 2)
    assert read_totals(ask(router, "/v2/models/double/stats", "GET")[1]) == {"1": (4, 6_000 * len(COMPUTE))}
    assert read_slots(ask(router, "/v2/models/double/config", "GET")[1]) == 8


def test_a_pod_that_does_not_answer_is_a_bad_gateway(router: Router, start: Callable[[str], FakePod]) -> None:
    """Until it is known not to be ready its requests fail, as they do in a cluster."""
    pod = start("one")
    wait_for(lambda: router.ready("double") == 1)
    pod.server.shutdown()
    pod.server.server_close()
    status, body, _ = ask(router, "/v2/models/double/infer")
    assert status == 502
    assert body["error"].startswith("a pod of 'double' does not answer: ")


def test_pods_are_followed_through_lost_watches(
    router: Router, emulator: Emulator, start: Callable[[str], FakePod]
) -> None:
    """A pod that comes, and one that goes, while nobody watches."""
    start("one")
    wait_for(lambda: router.ready("double") == 1)
    emulator.cut_watches()
    start("two")
    wait_for(lambda: router.ready("double") == 2)
