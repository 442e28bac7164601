"""A demo of requests with deadlines over a network, on a real Triton with real networks; short."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from ipa_seldon.demo.runner import SPONGE_PIPELINE
from ipa_seldon.loadgen.records import read_records
from ipa_seldon.telemetry.audit import read_audit_log
from tests.demo.test_demo import ipa_seldon
from tests.pages import Page
from tests.remnants import abandoned_memory, await_nothing_abandoned, processes_of

pytestmark = pytest.mark.triton
TIMES = {1: 0.2, 2: 0.12}
"""Cores -> seconds a request, far above what any machine takes: the load that needs both cores is light."""
FIXED = {"fifo-1-core": 1, "fifo-2-cores": 2}


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """Sponge's pipeline file on TIMES, with an SLO that a busy machine keeps."""
    document = yaml.safe_load(SPONGE_PIPELINE.read_text(encoding="utf-8"))
    spec = document["spec"]
    spec["repository"] = str((SPONGE_PIPELINE.parent / spec["repository"]).resolve())
    spec |= {"profile": "profile.csv", "slo": {"latency": "20s"}}
    rows = [
        f"recognise,v6-384,{cores},{batch},{batch * seconds},{1 / seconds}"
        for cores, seconds in TIMES.items()
        for batch in (1, 2)
    ]
    (tmp_path / "profile.csv").write_text("\n".join(["stage,variant,cores,batch,latency,throughput", *rows]))
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def cores_of(log: Path) -> set[int]:
    """The cores on which the stage's one pod was seen."""
    _, _, decisions = read_audit_log(log)
    return {a.cores for decision in decisions for a in decision.observation.plan["recognise"]}


def test_cores_follow_deadlines_beside_fixed_ones_first_come_first_served(tmp_path: Path, pipeline: Path) -> None:
    """Under a load that rises beyond one core: both sizes serve, no request is lost by it, and every log decides the
    same again; on fixed cores the very same requests come over the same network; all in the report.
    """
    before = abandoned_memory()
    words = ("--duration", "14", "--pattern", "ramp", "--scale", "8", "--no-calibrate", "--directory", str(tmp_path))
    done = ipa_seldon("demo", "--algorithm", "sponge", "-f", str(pipeline), *words, "--compare", "-o", "json")
    assert done.returncode == 0, done.stderr
    summaries = json.loads(done.stdout)
    assert list(summaries) == ["adaptive", *FIXED]
    assert summaries["adaptive"]["switches"] >= 1
    assert cores_of(tmp_path / "adaptive-audit.jsonl") == {1, 2}
    sent = {}
    for name, summary in summaries.items():
        assert summary["completed"] == summary["requests"] > 20, name
        assert 0 < summary["network"]["mean"] < summary["network"]["max"]
        assert ipa_seldon("replay", str(tmp_path / f"{name}-audit.jsonl")).returncode == 0
        records = sorted(read_records(tmp_path / f"{name}-requests.jsonl"), key=lambda record: record.index)
        sent[name] = [(round(record.due - records[0].due, 4), record.transfer) for record in records]
    for name, cores in FIXED.items():
        assert sent[name] == sent["adaptive"]
        assert cores_of(tmp_path / f"{name}-audit.jsonl") == {cores}
    charts = Page((tmp_path / "report.html").read_text()).charts()
    assert {"comparison", "network", "cost", "violations"} <= charts.keys()
    for name in ("cost", "violations"):
        assert [line["name"].split(" (")[0] for line in charts[name]["data"]] == [*summaries]
    await_nothing_abandoned(before)
    assert not processes_of(tmp_path)


def test_several_pods_are_shown_too(tmp_path: Path, pipeline: Path) -> None:
    """``sponge-hv``, alone, over a network of one's own: no request is lost."""
    network = tmp_path / "network.csv"
    network.write_text("second,bytes_per_second\n0,1000000\n")
    words = ("--duration", "8", "--pattern", "constant", "--scale", "7", "--network", str(network), "--size", "100KB")
    others = ("--no-calibrate", "--directory", str(tmp_path), "-o", "json")
    done = ipa_seldon("demo", "--algorithm", "sponge-hv", "-f", str(pipeline), *words, *others)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["completed"] == summary["requests"] > 20
    assert summary["network"] == pytest.approx({"mean": 0.1, "max": 0.1})
    assert not processes_of(tmp_path)
