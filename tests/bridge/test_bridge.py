"""Bridges served by the real wrapper over a real Triton, alone and in a graph whose executor is the test."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from ipa_seldon.asgi import listen, serving_beside
from ipa_seldon.bridge.settings import REMAINING_SLO
from ipa_seldon.gateway.app import create_app
from ipa_seldon.gateway.graph import Graph
from ipa_seldon.platforms.triton_server import TritonServer
from tests.bridge.microservices import ROOT, STAGE, Message, Microservice, Node, execute, installed, parameters
from tests.conftest import write_repository, write_toy_repository
from tests.waiting import wait_for

pytestmark = pytest.mark.triton

TOY = Graph("toy", ("double", "increment"), (("double", "increment"),), 10.0, {"double": {}, "increment": {}})
COLUMNS = ["number", "trace"]
GRPC = """
import json, sys
import grpc
from google.protobuf import json_format
from seldon_core.proto import prediction_pb2, prediction_pb2_grpc
stub = prediction_pb2_grpc.ModelStub(grpc.insecure_channel(sys.argv[1]))
for line in sys.argv[2:]:
    message = json_format.Parse(line, prediction_pb2.SeldonMessage())
    try:
        answer = json_format.MessageToDict(stub.Predict(message, timeout=30, wait_for_ready=True))
    except grpc.RpcError as error:
        answer = {"error": error.details()}
    print(json.dumps(answer))
"""
HELP = """
from ipa_seldon.cli import COMMANDS, cli
for command in COMMANDS:
    cli.main([command, "--help"], standalone_mode=False)
"""

Services = dict[str, Microservice]


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """The toy stages, and ``text``, which mirrors what it sees."""
    repository = write_toy_repository(tmp_path_factory.mktemp("models"), versions=1)
    write_repository("mirror", repository, versions=1)
    with TritonServer(repository, models=("double", "increment", "text")) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(triton: TritonServer) -> Iterator[str]:
    """A gateway before the toy stages, with an SLO of 10 s."""
    with serving_beside(create_app(TOY, triton.http_url), listen("127.0.0.1", 0)) as url:
        yield url


@pytest.fixture(scope="module")
def services(triton: TritonServer, gateway: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A bridge per stage, of which that to ``increment`` goes through the gateway; a router, a combiner."""
    bridged = {"double": triton.http_url, "increment": gateway, "text": triton.http_url}
    running: Services = {}
    try:
        for stage, url in bridged.items():
            running[stage] = Microservice(STAGE, tmp_path_factory.mktemp(stage), url=url, stage=stage)
        here, manifests = Path(__file__).parent, ROOT / "manifests" / "bridge"
        running["router"] = Microservice("by_tag.ByTag", tmp_path_factory.mktemp("r"), path=manifests, tag="fixed")
        running["combiner"] = Microservice("average.Average", tmp_path_factory.mktemp("c"), path=here)
        for service in running.values():
            service.await_alive()
        yield running
    finally:
        for service in running.values():
            service.end()


def table(*rows: list[Any], **meta: Any) -> Message:
    """A request of the toy stages."""
    return {"data": {"names": COLUMNS, "ndarray": list(rows)}, "meta": meta}


def fetched(url: str) -> str:
    """What a server of this test says."""
    with urlopen(url) as found:  # noqa: S310
        text: str = found.read().decode()
        return text


def test_a_stage_answers_in_the_form_it_is_asked(services: Services) -> None:
    """A table, a tensor, texts, one text, bytes that are no text, and v2 itself, each as what it came as."""
    double = services["double"]
    inputs = [{"name": name, "shape": [1, 1], "datatype": "INT32", "data": [7]} for name in COLUMNS]
    asked: list[tuple[Microservice, Message]] = [
        (double, {"data": {"names": COLUMNS, "ndarray": [[20, 0], [3, 4]]}}),
        (double, {"data": {"names": COLUMNS, "tensor": {"shape": [1, 2], "values": [20.0, 0.0]}}}),
        (double, {"jsonData": {"inputs": inputs}}),
        (services["text"], {"data": {"ndarray": [["one"], ["zwölf"]]}}),
        (services["text"], {"strData": "zwölf"}),
        (services["text"], {"binData": base64.b64encode(b"\xff\xfe\x00").decode()}),
    ]
    answers = []
    for service, message in asked:
        status, answer = service.predict(message)
        assert status == 200, answer
        answers.append({key: value for key, value in answer.items() if key != "meta"})
    outputs = answers[2]["jsonData"].pop("outputs")
    assert [(output["name"], output["data"]) for output in outputs] == [("number", [14]), ("trace", [71])]
    assert answers == [
        {"data": {"names": COLUMNS, "ndarray": [[40, 1], [6, 41]]}},
        {"data": {"names": COLUMNS, "tensor": {"shape": [1, 2], "values": [40, 1]}}},
        {"jsonData": {"model_name": "double", "model_version": "1"}},
        {"data": {"names": ["mirrored"], "ndarray": [["eno"], ["flöwz"]]}},
        {"strData": "flöwz"},
        {"binData": base64.b64encode(b"\x00\xfe\xff").decode()},
    ]


def test_grpc_answers_the_same(services: Services) -> None:
    """In all forms; whole numbers survive that gRPC has doubles alone, and an error brings Triton's words."""
    inputs = [{"name": name, "shape": [1, 1], "datatype": "INT32", "data": [7]} for name in COLUMNS]
    asked: list[Message] = [
        table([20, 0], tags={REMAINING_SLO: 20}),
        {"data": {"names": COLUMNS, "tensor": {"shape": [1, 2], "values": [3, 4]}}},
        {"jsonData": {"inputs": inputs}},
        table([-1, 0]),
    ]
    command = [installed("python"), "-c", GRPC, f"127.0.0.1:{services['double'].grpc}", *map(json.dumps, asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    array, tensor, outputs, error = map(json.loads, done.stdout.splitlines())
    assert array["data"] == {"names": COLUMNS, "ndarray": [[40.0, 1.0]]}
    assert 0 < array["meta"]["tags"][REMAINING_SLO] < 20
    assert tensor["data"] == {"names": COLUMNS, "tensor": {"shape": [1, 2], "values": [6.0, 41.0]}}
    assert [output["data"] for output in outputs["jsonData"]["outputs"]] == [[14.0], [71.0]]
    assert "stage 'double': number must not be negative" in error["error"]


@pytest.mark.parametrize(
    ("message", "status", "words"),
    [
        (table([-1, 0]), 500, "stage 'double': number must not be negative"),
        (table([0.5, 0]), 400, "stage 'double': input 'number' is INT32, and one of the numbers is not"),
        ({"data": {"ndarray": [[1, 2]]}}, 400, "stage 'double': the inputs are number, trace; accepted: columns named"),
        ({"jsonData": {"inputs": []}}, 400, "expected 2 inputs but got 0 inputs for model 'double'"),
        ({"strData": "1"}, 400, "stage 'double': the inputs are number, trace; accepted: columns named so, jsonData"),
        (table([1, 0], tags={REMAINING_SLO: "soon"}), 400, "'soon'; accepted: seconds as a decimal number"),
        (table([1, 0], tags={REMAINING_SLO: 0}), 504, "stage 'double': no time is left"),
    ],
)
def test_errors_have_words_and_a_status(services: Services, message: Message, status: int, words: str) -> None:
    """Triton's own where it refuses, ours before it is asked; the next request is answered."""
    found, answer = services["double"].predict(message)
    assert (found, answer["status"]["status"]) == (status, 1), answer
    assert words in answer["status"]["info"]
    assert services["double"].predict(table([1, 0]))[0] == 200


def test_a_graph_with_a_router_and_a_combiner(services: Services) -> None:
    """Router, combiner and a chain of two bridges, one through the gateway; tags tell what has answered."""
    double = Node("MODEL", services["double"])
    chain = Node("MODEL", services["double"], [Node("MODEL", services["increment"])])
    graph = Node("ROUTER", services["router"], [Node("COMBINER", services["combiner"], [double, chain]), double])
    routed = execute(graph, table([20, 0], [3, 0], puid="mine", tags={"fixed": True}))
    assert routed["data"]["ndarray"] == [[40, 1], [6, 1]]
    combined = execute(graph, table([20, 0], [3, 0], puid="mine", tags={"other": 1}))
    assert combined["data"]["ndarray"] == [[40.5, 6.0], [6.5, 6.0]]
    assert combined["meta"]["puid"] == "mine"
    assert combined["meta"]["tags"] == {"other": 1, "Ipa-Version-double": "1", "Ipa-Version-increment": "1"}


def test_what_is_left_is_passed_on(services: Services, gateway: str) -> None:
    """By header, as Seldon's executor hands it to each node, or by tag, which is newer: the gateway is told, less what
    has passed, and so are the nodes behind.
    """
    for headers, tags, stated in (({REMAINING_SLO: "9"}, {}, 9), ({REMAINING_SLO: "9"}, {REMAINING_SLO: 8}, 8)):
        status, answer = services["increment"].predict(table([1, 0], tags=tags), headers)
        assert status == 200, answer
        least = min(json.loads(fetched(f"{gateway}/queue"))["budgets"])
        assert stated - 1 < least <= stated
        assert stated - 1 < answer["meta"]["tags"][REMAINING_SLO] < least


def test_triton_drops_what_comes_too_late(services: Services, triton: TritonServer, tmp_path: Path) -> None:
    """A request that queues longer than it has left ends with 504, and Triton rejects it instead of running it."""
    started = tmp_path / "started"

    def rejected() -> bool:
        failures = re.findall(r"nv_inference_request_failure{(.*)} (\d+)", fetched(triton.metrics_url))
        return [number for labels, number in failures if 'model="text"' in labels and "REJECTED" in labels] == ["1"]

    with ThreadPoolExecutor() as pool:
        long = pool.submit(services["text"].predict, {"strData": str(started)})
        wait_for(started.exists)
        status, answer = services["text"].predict({"strData": "late"}, {REMAINING_SLO: "0.1"})
        assert (status, answer["status"]["reason"]) == (504, "TRITON_TIMEOUT"), answer
        assert long.result()[0] == 200
    wait_for(rejected)


def test_it_is_as_ready_as_its_stage(services: Services, triton: TritonServer) -> None:
    """While Triton is gone the bridge is alive but not ready, and says so to whoever asks; then it serves again."""
    double = services["double"]
    assert double.get("/health/status")[0] == 200
    triton.stop()
    assert double.get("/health/ping")[0] == 200
    status, words = double.get("/health/status")
    assert status == 503
    assert f"stage 'double': {triton.http_url} does not answer: [Errno 111] Connection refused" in words
    assert double.predict(table([20, 0]))[0] == 503
    triton.start()
    wait_for(lambda: double.get("/health/status")[0] == 200)
    assert double.predict(table([20, 0]))[0] == 200


def test_requests_are_timed(services: Services) -> None:
    """Each answer counts in a histogram, in seconds, where Seldon's wrapper has its metrics; an error does not."""
    double = services["double"]

    def values() -> tuple[float, float]:
        text = double.get("/metrics", double.metrics)[1]
        found = [
            re.findall(rf"^ipa_bridge_request_seconds_{part}{{.*}} (\S+)", text, re.M) for part in ("count", "sum")
        ]
        return sum(map(float, found[0])), sum(map(float, found[1]))

    count, seconds = values()
    began = time.monotonic()
    double.predict(table([1, 0]))
    double.predict(table([-1, 0]))
    took = time.monotonic() - began
    counted, summed = values()
    assert counted == count + 1
    assert 0 < summed - seconds < took


def test_wrong_parameters_end_it_without_a_traceback() -> None:
    """The wrapper ends with status 1, its last line says what is wrong."""
    command = [installed("seldon-core-microservice"), STAGE, "--parameters", parameters(url="triton:8000", stage="x")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"{STAGE}: parameter 'url': 'triton:8000'; accepted: http://host")
    assert "Traceback" not in done.stderr


def test_every_command_works_beside_the_wrapper() -> None:
    """With the old click that seldon-core pins."""
    done = subprocess.run([installed("python"), "-c", HELP], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
