"""The adapter's process on a cluster: real HTTP to an API server, a real Prometheus, operator, kubelet and sidecars."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from copy import deepcopy
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from ipa_seldon.bootstrap import build_algorithm, first_plan, replay_decisions, seldon_documents
from ipa_seldon.cluster.api import CONFIG_MAPS, SELDON_DEPLOYMENTS, Cluster
from ipa_seldon.config import read_config
from ipa_seldon.errors import LoadReason
from ipa_seldon.gateway.process import GatewayProcess
from ipa_seldon.plan import Outcome
from ipa_seldon.prometheus import Executor, Prometheus
from ipa_seldon.specs.desired import KEY
from ipa_seldon.specs.seldon import plan_name
from ipa_seldon.telemetry.audit import read_audit_log
from ipa_seldon.telemetry.catalogue import OF_ADAPTER, OF_PIPELINE
from tests.adapter.executor import ExecutorExporter
from tests.adapter.files import toy_document, write_toy
from tests.cluster.controllers import Kubelet, Operator
from tests.cluster.emulator import Emulator
from tests.cluster.sidecars import SidecarPods
from tests.cluster.world import door
from tests.expositions import assert_catalogued
from tests.prometheus_server import PrometheusServer
from tests.waiting import wait_for

pytestmark = pytest.mark.prometheus
ROOT = Path(__file__).parents[2]
RESNET = ROOT / "manifests" / "pipelines" / "resnet" / "pipeline.yaml"


class Process:
    """``ipa-seldon run --platform seldon`` of its own; what it says is kept."""

    def __init__(self, kubeconfig: Path, prometheus: str, *arguments: str) -> None:
        command = [sys.executable, "-m", "ipa_seldon", "run", "--platform", "seldon", "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--prometheus", prometheus, *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(ROOT)},
        )
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.said.extend(line.rstrip() for line in self.process.stderr)

    def says(self, words: str) -> bool:
        """Whether it has said that, so far."""
        return any(words in line for line in list(self.said))

    def get(self, page: str) -> tuple[int, str]:
        """Status and text of one of its pages."""
        wait_for(lambda: self.says("tells at "), 30)
        port = next(line for line in self.said if "tells at " in line).rpartition(":")[2]
        with closing(HTTPConnection("127.0.0.1", int(port), timeout=10)) as connection:
            connection.request("GET", f"/{page}")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def status(self, pipeline: str = "") -> dict[str, Any]:
        """What it says of a pipeline, or of all."""
        return dict(json.loads(self.get(f"api/status/{pipeline}" if pipeline else "api/status")[1]))

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series with these labels; 0 without any."""
        total = 0.0
        for line in self.get("metrics")[1].splitlines():
            found = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
            if found and all(f'{key}="{value}"' in (found[1] or "") for key, value in labels.items()):
                total += float(found[2])
        return total

    def end(self, number: int = signal.SIGTERM) -> int:
        """The exit code after a signal."""
        self.process.send_signal(number)
        code = self.process.wait(60)
        self._reader.join()
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code


class Namespace:
    """A cluster that moves by itself, a Prometheus, and processes of adapters."""

    def __init__(self, stack: ExitStack, emulator: Emulator, directory: Path) -> None:
        self.emulator = emulator
        self.directory = directory
        self.kubeconfig = emulator.kubeconfig(directory / "kubeconfig")
        self.cluster: Cluster = door(self.kubeconfig)
        self._stack = stack
        self.executor = stack.enter_context(ExecutorExporter({"toy": 20.0, "other": 20.0}))
        self.prometheus = stack.enter_context(PrometheusServer([self.executor.target], 0.5, directory / "prometheus"))
        self.pods = SidecarPods(self.plan)
        stack.callback(self.pods.close)
        stack.enter_context(Operator(self.kubeconfig).run())
        stack.enter_context(Kubelet(self.kubeconfig, runner=self.pods).run())

    def plan(self) -> str:
        """Of all graphs: their stages have the same names, and these tests never look at both."""
        found = self.cluster.get(CONFIG_MAPS, plan_name("toy"))
        return str(((found or {}).get("data") or {}).get(KEY, ""))

    def render(self, name: str = "toy", **spec: Any) -> None:
        """What ``ipa-seldon render | kubectl apply`` does."""
        config = read_config(write_toy(self.directory, name, **spec))
        for document in seldon_documents(config, first_plan(build_algorithm(config))):
            kind = CONFIG_MAPS if document["kind"] == "ConfigMap" else SELDON_DEPLOYMENTS
            self.cluster.create(kind, document)

    def adapter(self, *arguments: str) -> Process:
        """One more adapter."""
        process = Process(self.kubeconfig, self.prometheus.url, *arguments)
        self._stack.callback(self._kill, process)
        return process

    def _kill(self, process: Process) -> None:
        if process.process.poll() is None:
            process.end(signal.SIGKILL)

    def replicas(self, graph: str = "toy") -> int:
        """Of the first stage; 0 before it has a Deployment."""
        name = f"{graph}-default-0-double-ipa-sidecar"
        found = [d for d in self.emulator.objects("deployments") if d["metadata"]["name"] == name]
        return int(found[0]["spec"]["replicas"]) if found else 0

    def events(self, reason: str, graph: str = "toy") -> list[str]:
        """Their messages."""
        found = [e for e in self.emulator.objects("events") if e["involvedObject"]["name"] == graph]
        return [event["message"] for event in found if event["reason"] == reason]


@pytest.fixture
def namespace(emulator: Emulator, tmp_path: Path) -> Iterator[Namespace]:
    """Prometheus is skipped where it is not installed."""
    with ExitStack() as stack:
        yield Namespace(stack, emulator, tmp_path)


def test_an_adapter_follows_the_load(namespace: Namespace) -> None:
    """Started before there is any pipeline, it finds the rendered one by itself; more load brings replicas, less takes
    them; health, readiness, metrics and the live page tell; SIGTERM ends it with 0 and frees the lease.
    """
    adapter = namespace.adapter("--audit", str(namespace.directory / "audit"))
    wait_for(lambda: adapter.says("leads"), 30)
    namespace.render()
    namespace.executor.load("toy", 350.0)
    wait_for(lambda: namespace.replicas() == 4, 60)
    assert adapter.get("healthz")[0] == adapter.get("readyz")[0] == 200
    wait_for(lambda: adapter.metric("ipa_current_replicas", stage="double", variant="light") == 4, 30)
    assert adapter.metric("ipa_adapter_leader") == 1
    assert adapter.metric("ipa_decisions_total", pipeline="toy", outcome="applied") >= 1
    assert adapter.metric("ipa_forecast_requests_per_second", pipeline="toy") == pytest.approx(350, rel=0.25)
    assert adapter.metric("ipa_slo_violation_ratio", namespace="default", pipeline="toy") == 0
    assert 'ipa_slo_violation_ratio{namespace="default",pipeline="toy"}' in adapter.get("metrics")[1]
    assert_catalogued(adapter.get("metrics")[1], (*OF_PIPELINE, *OF_ADAPTER))
    assert adapter.metric("ipa_adapter_api_calls_total", verb="patch", resource="deployments/scale", code="200") >= 2
    assert "<title>ipa-seldon</title>" in adapter.get("")[1]
    wait_for(lambda: adapter.status("toy")["state"] == "ok", 30)
    found = adapter.status("toy")
    assert found["role"] == "leader"
    assert [stage["current"][0]["replicas"] for stage in found["stages"]] == [4, 4]
    assert found["load"] == pytest.approx(350, rel=0.25)
    head, *records = map(json.loads, adapter.get("api/decisions/toy")[1].splitlines())
    assert head["pipeline"]["metadata"]["name"] == "toy"
    assert "applied" in {record["outcome"] for record in records}
    namespace.executor.load("toy", 50.0)
    wait_for(lambda: namespace.replicas() == 1, 60)
    assert len(namespace.events("Applied")) >= 2
    assert adapter.end() == 0
    assert not adapter.says("Traceback")
    assert namespace.emulator.object("leases", "ipa-seldon-adapter")["spec"]["holderIdentity"] == ""
    lines = (namespace.directory / "audit" / "toy.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["pipeline"]["metadata"]["name"] == "toy"


def test_of_two_adapters_one_acts_and_the_other_takes_over(namespace: Namespace) -> None:
    """Only the leader writes; killed, the other goes on within the lease's duration, and nothing happens twice."""
    namespace.render()
    first = namespace.adapter()
    wait_for(lambda: first.says("leads"), 30)
    second = namespace.adapter()
    wait_for(lambda: second.get("readyz")[0] == 200, 30)
    namespace.executor.load("toy", 250.0)
    wait_for(lambda: namespace.replicas() == 3, 60)
    assert 'pipeline="toy"' not in second.get("metrics")[1]
    assert second.metric("ipa_adapter_leader") == 0
    assert [(row["name"], row["state"]) for row in second.status()["pipelines"]] == [("toy", "standby")]
    first.end(signal.SIGKILL)
    namespace.executor.load("toy", 450.0)
    wait_for(lambda: namespace.replicas() == 5, 60)
    assert second.says("leads")
    # A round is counted once it has ended, which is after its first write.
    wait_for(lambda: second.metric("ipa_decisions_total", pipeline="toy", outcome="applied") >= 1, 30)
    applied = namespace.events("Applied")
    assert len(applied) == len(set(applied))


def test_a_pipeline_that_fails_stops_no_other(namespace: Namespace) -> None:
    """A file that is wrong, a graph that is missing and an algorithm that falls over: each is told and counted, and
    the sound pipeline beside them is adapted.
    """
    namespace.render()
    namespace.render("other", algorithm="tests.adapter.faulty:Faulty")
    broken = toy_document("broken", interval="never")
    labels = {"ipa.seldon.io/kind": "pipeline"}
    import yaml

    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "broken-pipeline", "labels": labels},
        "data": {"pipeline.yaml": yaml.safe_dump(broken)},
    }
    namespace.cluster.create(CONFIG_MAPS, document)
    lost = toy_document("lost")
    lost["spec"]["profile"] = "profile.csv"
    sound = namespace.emulator.object("configmaps", "toy-pipeline")["data"]["profile.csv"]
    document = {**document, "metadata": {"name": "lost-pipeline", "labels": labels}}
    document["data"] = {"pipeline.yaml": yaml.safe_dump(lost), "profile.csv": sound}
    namespace.cluster.create(CONFIG_MAPS, document)
    adapter = namespace.adapter()
    namespace.executor.load("toy", 350.0)
    wait_for(lambda: namespace.replicas() == 4, 60)
    assert adapter.says("ConfigMap broken-pipeline: pipeline.yaml: spec.interval: 'never'")
    assert adapter.metric("ipa_adapter_source_invalid", source="broken-pipeline") == 1
    assert "pipeline.yaml: spec.interval: 'never'" in adapter.status()["invalid"]["broken-pipeline"]
    wait_for(lambda: adapter.says("lost: failed: observe: no SeldonDeployment 'lost' in namespace 'default'"), 30)
    assert adapter.metric("ipa_decisions_total", pipeline="lost", outcome="failed") >= 1
    wait_for(lambda: adapter.says("other: begun again after a fault"), 30)
    assert adapter.says("ZeroDivisionError")
    assert adapter.metric("ipa_errors_total", pipeline="other", component="loop") >= 1
    assert adapter.get("healthz")[0] == 200


def test_pipelines_come_change_and_go(namespace: Namespace) -> None:
    """A changed file is followed without a restart, one that becomes wrong is told while what it said before goes on,
    and a deleted one is adapted no more.
    """
    namespace.render()
    adapter = namespace.adapter()
    namespace.executor.load("toy", 350.0)
    wait_for(lambda: namespace.replicas() == 4, 60)

    def rewrite(**spec: Any) -> None:
        import yaml

        document = toy_document("toy", **spec)
        document["spec"]["profile"] = "profile.csv"
        data = {"pipeline.yaml": yaml.safe_dump(document)}
        namespace.cluster.patch(CONFIG_MAPS, "toy-pipeline", {"data": data})

    rewrite(interval="never")
    wait_for(lambda: adapter.says("what it said before is followed"), 30)
    rewrite(limits={"batch": 1, "replicas": 2})
    wait_for(lambda: namespace.replicas() == 2, 60)
    rewrite(seldon={"model_uri": "pvc://models/toy", "mode": "off"})
    wait_for(lambda: adapter.says("toy-pipeline: off"), 30)
    assert 'pipeline="toy"' not in adapter.get("metrics")[1]
    assert adapter.status()["pipelines"] == []
    namespace.cluster.patch(CONFIG_MAPS, "toy-pipeline", {"metadata": {"labels": {"ipa.seldon.io/kind": None}}})
    wait_for(lambda: 'source="toy-pipeline"' not in adapter.get("metrics")[1], 30)


def test_recommended_only(namespace: Namespace) -> None:
    """As from a laptop, by a file: with --mode recommend no graph, Deployment or plan is changed, and the plan is told
    as an Event, an annotation, a metric, and in the audit log as recommended.
    """
    namespace.render()
    wait_for(lambda: namespace.emulator.objects("deployments"), 30)

    def desired() -> list[Any]:
        documents = [*namespace.emulator.objects("deployments"), namespace.emulator.object("seldondeployments", "toy")]
        maps = [(one["metadata"]["name"], one.get("data")) for one in namespace.emulator.objects("configmaps")]
        return [*((one["metadata"]["name"], one["spec"]) for one in documents), *maps]

    before, directory = deepcopy(desired()), namespace.directory
    arguments = ("--mode", "recommend", "-f", str(directory / "toy.yaml"), "--audit", str(directory / "audit"))
    adapter = namespace.adapter(*arguments)
    namespace.executor.load("toy", 350.0)
    wait_for(lambda: any("double light x4" in message for message in namespace.events("Recommended")), 60)

    def annotated() -> bool:
        annotations = namespace.emulator.object("seldondeployments", "toy")["metadata"].get("annotations") or {}
        return "double light x4" in annotations.get("ipa.seldon.io/recommended", "")

    wait_for(annotated, 30)
    assert desired() == before
    wait_for(lambda: adapter.metric("ipa_desired_replicas", pipeline="toy", stage="double") == 4, 30)
    assert adapter.metric("ipa_decisions_total", pipeline="toy", outcome="recommended") >= 1
    assert adapter.metric("ipa_current_replicas", pipeline="toy", stage="double") == 1
    assert adapter.metric("ipa_mode", pipeline="toy", mode="recommend") == 1
    found = adapter.status("toy")
    assert found["state"] == "recommended"
    assert (found["stages"][0]["current"][0]["replicas"], found["stages"][0]["desired"][0]["replicas"]) == (1, 4)
    adapter.end()
    _, _, decisions = read_audit_log(directory / "audit" / "toy.jsonl")
    advised = [decision for decision in decisions if decision.outcome is Outcome.RECOMMENDED]
    assert any(decision.proposal and decision.proposal.plan["double"][0].replicas == 4 for decision in advised)
    assert {decision.observation.plan["double"][0].replicas for decision in decisions if decision.rate} == {1}
    assert {decision.error for decision in advised} == {""}


def test_a_prometheus_that_goes_away_takes_nothing_with_it(namespace: Namespace) -> None:
    """Rounds without a load hold what runs, whatever was last seen; then the fallback's floor runs, and an Event, the
    metrics, the audit log and one line of the log say so and why. A pipeline whose floor is lower keeps what it has.
    """
    fallback = {"failureThreshold": 4, "behavior": "currentReplicasIfHigher"}
    namespace.render(fallback={**fallback, "rate": 350})
    namespace.render("other", fallback={**fallback, "rate": 50})
    namespace.executor.load("toy", 50.0)
    namespace.executor.load("other", 250.0)
    known = Executor("other", "default", "default").arrivals_query()
    prometheus = Prometheus(namespace.prometheus.url)
    wait_for(lambda: prometheus.arrivals(known, 1, time.time()) > [200.0], 30)
    adapter = namespace.adapter("--audit", str(namespace.directory / "audit"))
    wait_for(lambda: (namespace.replicas(), namespace.replicas("other")) == (1, 3), 60)
    wait_for(lambda: adapter.metric("ipa_decisions_total", pipeline="toy", outcome="unchanged") > 0, 30)
    namespace.prometheus.stop()
    wait_for(lambda: namespace.replicas() == 4, 60)
    wait_for(lambda: namespace.events("LoadMissing") and namespace.events("LoadMissing", "other"), 30)
    wait_for(lambda: any("toy: LoadMissing: " in line for line in adapter.said), 30)
    assert namespace.replicas("other") == 3
    (event,) = namespace.events("LoadMissing")
    assert event.startswith("no load for 4 rounds (unreachable): Prometheus at http://127.0.0.1:")
    assert sum("toy: no_data: unreachable: Prometheus at" in line for line in adapter.said) == 1
    assert sum("toy: LoadMissing: " in line for line in adapter.said) == 1
    assert adapter.metric("ipa_decisions_total", pipeline="toy", outcome="no_data") == 3
    assert adapter.metric("ipa_decisions_total", pipeline="toy", outcome="fallback") >= 1
    assert adapter.metric("ipa_fallback_active", pipeline="toy") == 1
    assert adapter.metric("ipa_load_faults_total", pipeline="toy", reason="unreachable") >= 4
    assert adapter.end() == 0
    for name in ("toy", "other"):
        config, algorithm, decisions = read_audit_log(namespace.directory / "audit" / f"{name}.jsonl")
        assert decisions[-1].load.reason is LoadReason.UNREACHABLE
        assert replay_decisions(config, algorithm, decisions) == []


def test_a_gateway_takes_the_place_of_prometheus(namespace: Namespace) -> None:
    """Load and deadlines that an algorithm decides by are those of the requests that came through the gateway, whatever
    Prometheus has; it orders them, so the pods need not.
    """
    rows = [
        f"double,light,{c},{b},{0.005 + 0.004 * b / c},{b / (0.005 + 0.004 * b / c)}" for c in (1, 2) for b in (1, 2)
    ]
    header = "stage,variant,cores,batch,latency,throughput"
    (namespace.directory / "sponge.csv").write_text("\n".join([header, *rows]) + "\n")
    spec: dict[str, Any] = {
        "algorithm": "sponge",
        "graph": {"name": "double"},
        "stages": {"double": {"variants": {"light": {"accuracy": 0.5, "version": 1}}}},
        "profile": "sponge.csv",
    }
    path = write_toy(namespace.directory, **spec)
    with GatewayProcess(path, "http://127.0.0.1:9") as gateway:
        namespace.render(**spec, seldon={"model_uri": "pvc://models/toy", "gateway": gateway.url})
        namespace.adapter("--audit", str(namespace.directory / "audit"))
        log = namespace.directory / "audit" / "toy.jsonl"
        wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 1, 60)
        for _ in range(25):
            assert answer(gateway.url, 0.4) == 503  # there is no Triton

        def decided() -> bool:
            lines = [json.loads(line) for line in log.read_text().splitlines()[1:]]
            return any(sum(filter(None, line["arrivals"])) == 25 and len(line["budgets"]) == 25 for line in lines)

        wait_for(decided, 30)
    assert "slo" not in namespace.plan()


def answer(url: str, left: float) -> int:
    """The status of a request with so many seconds left."""
    with closing(HTTPConnection(url.removeprefix("http://"), timeout=10)) as connection:
        connection.request("POST", "/v2/models/infer", '{"inputs": []}', {"Ipa-Remaining-Slo": str(left)})
        return connection.getresponse().status


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--platform", "seldon", "-f", str(RESNET)],
            "spec.seldon.load.prometheus.url: missing; accepted: there, by --prometheus or by PROMETHEUS_URL",
        ),
        (["--platform", "local"], "--file: accepted: one pipeline file"),
        (["-f", "x.yaml", "--namespace", "x"], "--namespace: accepted: only with --platform seldon"),
        (["--platform", "seldon", "--status-port", "0"], "--status-port: accepted: only with --platform local"),
        (["--platform", "seldon", "--prometheus", "http://127.0.0.1:9"], "no cluster: "),
        (["--platform", "seldon", "--prometheus", "http://127.0.0.1:9", "-f", "absent.yaml"], "absent.yaml: "),
    ],
)
def test_a_wrong_start_is_one_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    """Wrong options, a file and a cluster that are not there: each ends at once, with what would be accepted."""
    command = [sys.executable, "-m", "ipa_seldon", "run", *arguments]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PROMETHEUS_")}
    environment["KUBECONFIG"] = str(tmp_path / "absent")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
