"""What is found of Prometheus: on a real one, where series matter, else on sockets."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ipa_seldon.config import Config, read_config
from ipa_seldon.doctor.findings import Finding, Status
from ipa_seldon.doctor.load import load, reachable, triton
from ipa_seldon.prometheus import Prometheus
from tests.doctor.conftest import VideoWorld
from tests.prometheus.servers import HOST, answering
from tests.prometheus_server import PrometheusServer
from tests.test_config import changed, document, write
from tests.waiting import wait_for

COUNT = "seldon_api_executor_server_requests_seconds_count"
NAMESPACE = "default"
AGES = {"fresh": (6, 1), "stale": (606, 601), "seldom": (61, 1), "elsewhere": (6, 1)}
"""Of the two scrapes of each graph, in seconds; ``elsewhere`` has no label ``namespace``."""
STAGES = ("crop", "classification")


class Pages:
    """An exporter whose first page is the older scrape of each graph, each later one the newer."""

    def __init__(self) -> None:
        self.begin = math.floor(time.time())
        self.asked = 0

    def page(self) -> str:
        """The next one; its series have timestamps, so that they may be old."""
        which = min(self.asked, 1)
        self.asked += 1
        lines = []
        for graph, ages in AGES.items():
            labels = f'deployment_name="{graph}",predictor_name="default",service="predictions",code="200"'
            if graph != "elsewhere":
                labels += f',namespace="{NAMESPACE}"'
            lines.append(f"{COUNT}{{{labels}}} {100 * which} {1000 * (self.begin - ages[which])}")
        lines += [f'nv_inference_request_success{{model="{stage}",namespace="{NAMESPACE}"}} 1' for stage in STAGES]
        lines.append('nv_inference_request_success{model="half",namespace="other"} 1')
        return "\n".join([*lines, ""])


@contextmanager
def exporting() -> Iterator[str]:
    """Where the pages are scraped: host:port."""
    pages = Pages()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.page().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: stderr is the test's."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"{HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that has scraped both pages."""
    directory = tmp_path_factory.mktemp("prometheus")
    with exporting() as target, PrometheusServer([target], 0.5, directory) as server:
        found = Prometheus(server.url)
        both = f'count_over_time({COUNT}{{deployment_name="stale"}}[1h])'
        wait_for(lambda: found.arrivals(both, 1, time.time()) == [2.0], 30)
        wait_for(lambda: found.arrivals("count(nv_inference_request_success)", 1, time.time()) == [3.0], 30)
        yield found


def config(directory: Path, name: str, arrivals: str | None = None) -> Config:
    """The config of the pipeline ``name``."""
    content = document()
    content["metadata"]["name"] = name
    content["spec"]["seldon"] = {"model_uri": "gs://bucket/video", "arrivals": arrivals}
    return read_config(write(directory, content))


@pytest.mark.prometheus
def test_a_load_that_is_measured(prometheus: Prometheus, tmp_path: Path) -> None:
    """It is told: 100 requests in 5 s."""
    found = load(prometheus, config(tmp_path, "fresh"), NAMESPACE)
    assert found.status is Status.OK
    assert found.message.startswith("20 requests/s, as of ")


@pytest.mark.prometheus
def test_no_series(prometheus: Prometheus, tmp_path: Path) -> None:
    """The query, to be tried by hand, and what to apply."""
    found = load(prometheus, config(tmp_path, "unknown"), NAMESPACE)
    assert found.status is Status.FAIL
    assert found.message.startswith("no series at all in the last hour: sum(irate(")
    assert 'deployment_name="unknown"' in found.message
    assert "kubectl apply -k manifests/monitoring" in found.remedy


@pytest.mark.prometheus
def test_series_that_have_ended(prometheus: Prometheus, tmp_path: Path) -> None:
    """How old the last data is."""
    found = load(prometheus, config(tmp_path, "stale"), NAMESPACE)
    assert found.status is Status.FAIL
    assert found.message.startswith("stale: the last data is ")
    assert 580 < int(found.message.split()[5]) < 700


@pytest.mark.prometheus
def test_series_that_are_scraped_too_seldom(prometheus: Prometheus, tmp_path: Path) -> None:
    """A minute between two scrapes is more than the query bears."""
    found = load(prometheus, config(tmp_path, "seldom"), NAMESPACE)
    assert (found.status, found.message) == (Status.FAIL, "no two scrapes within 15 s")
    assert "every 5 s" in found.remedy


@pytest.mark.prometheus
def test_series_without_the_namespace(prometheus: Prometheus, tmp_path: Path) -> None:
    """The label that the query names, and the series lack."""
    found = load(prometheus, config(tmp_path, "elsewhere"), NAMESPACE)
    assert (found.status, found.message) == (Status.FAIL, "its series have no label namespace='default'")


@pytest.mark.prometheus
@pytest.mark.parametrize(
    ("arrivals", "status", "words"),
    [
        (f"sum(irate({COUNT}[15s]))", Status.OK, "requests/s, as of "),
        (COUNT, Status.FAIL, "series answer"),
        ("sum(absent_series)", Status.FAIL, "no series at all in the last hour: sum(absent_series)"),
        ("sum(", Status.FAIL, "answers 400: 1:5: parse error"),
    ],
)
def test_a_query_of_the_files_own(
    prometheus: Prometheus, tmp_path: Path, arrivals: str, status: Status, words: str
) -> None:
    """It is asked instead; several series, none, and a query that is none are told apart."""
    found = load(prometheus, config(tmp_path, "unknown", arrivals), NAMESPACE)
    assert found.status is status
    assert words in found.message
    assert ("spec.seldon.arrivals" in found.remedy) == (status is Status.FAIL)


@pytest.mark.prometheus
def test_tritons_own_series(prometheus: Prometheus, tmp_path: Path) -> None:
    """Of each stage, in this namespace; a warning at most."""
    video = config(tmp_path, "video")
    assert triton(prometheus, video, NAMESPACE).status is Status.OK
    found = triton(prometheus, video, "other")
    assert found.status is Status.WARN
    assert found.message.startswith("Triton's own series are there for 0 of 2 stages")


@pytest.mark.prometheus
def test_the_series_of_a_pipeline_on_a_cluster(prometheus: Prometheus, world: VideoWorld) -> None:
    """By the command, with the cluster's namespace: nothing has been asked of this pipeline yet."""
    found = world.examined("--prometheus", prometheus.url)
    assert found["prometheus"].status is Status.OK
    assert found["load"].message.startswith("video: no series at all in the last hour")
    assert 'namespace="default"' in found["load"].message
    assert found["triton"].status is Status.OK
    assert found.failed() == ["load"]


@pytest.mark.prometheus
def test_the_prometheus_of_the_environment_or_of_the_file(
    prometheus: Prometheus, world: VideoWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the command line names none it is the environment's, else each file's, in whose words the rest is told."""
    stated = {"source": "triton", "window": "3s", "prometheus": {"url": prometheus.url}}
    path = write(tmp_path, changed("spec.seldon", {"model_uri": "gs://bucket/video", "load": stated}))
    monkeypatch.delenv("PROMETHEUS_URL", raising=False)
    found = world.examined("-f", str(path))
    assert found["prometheus"].status is Status.WARN
    assert "sum(irate(nv_inference_request_success{" in found["load"].message
    assert "have the Tritons of its first stage scraped" in found["load"].remedy
    monkeypatch.setenv("PROMETHEUS_URL", prometheus.url)
    assert world.examined("-f", str(path))["prometheus"].message == f"Prometheus at {prometheus.url} answers"
    monkeypatch.setenv("PROMETHEUS_TLS_INSECURE_SKIP_VERIFY", "perhaps")
    found = world.examined("-f", str(path))
    assert found["prometheus"].message.startswith("PROMETHEUS_TLS_INSECURE_SKIP_VERIFY: 'perhaps': accepted: ")
    assert "load" not in found


def test_a_prometheus_that_does_not_answer(world: VideoWorld) -> None:
    """One finding with the system's reason; nothing else is asked of it."""
    with closing(socket.socket()) as held:
        held.bind((HOST, 0))
        found = world.examined("--prometheus", f"http://{HOST}:{held.getsockname()[1]}")
    assert found.failed() == ["prometheus"]
    assert "Connection refused" in found["prometheus"].message
    assert "port-forward" in found["prometheus"].remedy
    assert "load" not in found


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"status": "success", "data": {"result": []}}'])
def test_something_else_answers(body: bytes) -> None:
    """A page, or an API of another kind."""
    with answering(200, body) as asked:
        found: Finding = reachable(Prometheus(asked.url))
    assert found.status is Status.FAIL
    assert "not an answer of Prometheus" in found.message


def test_no_url(world: VideoWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning: not looked at."""
    monkeypatch.delenv("PROMETHEUS_URL", raising=False)
    found = world.examined()
    assert found["prometheus"].status is Status.WARN
    assert found.code == 0
