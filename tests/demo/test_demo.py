"""The demo from end to end on a real Triton with real networks, and ``run`` beside it; short."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import ipa_seldon as ipa_seldon_package
from ipa_seldon.demo.runner import TEXT_PIPELINE
from ipa_seldon.loadgen.records import read_records
from ipa_seldon.plan import Outcome
from ipa_seldon.telemetry.audit import read_audit_log
from tests.pages import get, get_json
from tests.remnants import abandoned_memory, await_nothing_abandoned, processes_of
from tests.waiting import wait_for

pytestmark = pytest.mark.triton
KEYS = {
    *("requests", "completed", "late", "dropped", "violation_ratio", "latency", "accuracy", "mean_cost"),
    *("decisions", "switches", "failed_requests_during_switches"),
}


def ipa_seldon(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ipa_seldon", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


@pytest.mark.alone
@pytest.mark.parametrize("platform", ["local", "seldon"])
def test_a_short_demo_serves_adapts_and_reports(tmp_path: Path, platform: str) -> None:
    """A ramp over real images: the summary alone on standard output, answers read correctly, switches, none failed;
    a report; a log that decides the same again; and nothing left behind. On one Triton, and on pods of a cluster.
    """
    before = abandoned_memory()
    # A peak that the lightest variants carry on a machine of half the speed too.
    words = ("--duration", "24", "--pattern", "ramp", "--scale", "40", "--no-calibrate", "--directory", str(tmp_path))
    done = ipa_seldon("demo", "--platform", platform, *words, "-o", "json")
    assert done.returncode == 0, done.stderr
    assert "live page: http://127.0.0.1:" in done.stderr
    summary = json.loads(done.stdout)
    assert set(summary) >= KEYS
    assert summary["requests"] > 100
    assert summary["completed"] > summary["requests"] / 3
    assert summary["accuracy"] > 0.4
    assert summary["switches"] >= 1
    assert summary["failed"] == summary["failed_requests_during_switches"] == 0
    assert summary["decisions"] >= 5
    records = read_records(tmp_path / "adaptive-requests.jsonl")
    assert len(records) == summary["requests"]
    assert {stage for record in records for stage in record.variants} == {"detect", "recognise"}
    _, _, decisions = read_audit_log(tmp_path / "adaptive-audit.jsonl")
    assert {decision.outcome for decision in decisions} <= {
        *(Outcome.APPLIED, Outcome.UNCHANGED, Outcome.HELD, Outcome.DEGRADED, Outcome.NO_DATA)
    }
    replayed = ipa_seldon("replay", str(tmp_path / "adaptive-audit.jsonl"))
    assert replayed.returncode == 0, replayed.stdout
    report = (tmp_path / "report.html").read_text()
    assert json.loads(ipa_seldon("report", str(tmp_path), "-o", "json").stdout) == summary
    again = ipa_seldon("report", str(tmp_path), "--output-file", str(tmp_path / "again.html"))
    assert (tmp_path / "again.html").read_text() == report, again.stderr
    assert "detect" in report
    assert "<script src" not in report
    await_nothing_abandoned(before)
    assert not processes_of(tmp_path)


def test_a_cluster_without_a_checkout_is_one_line(tmp_path: Path) -> None:
    """A package without the tests beside it says what --platform seldon needs, before it starts anything."""
    shutil.copytree(Path(ipa_seldon_package.__file__).parent, tmp_path / "ipa_seldon")
    command = [sys.executable, "-m", "ipa_seldon", "demo", "--platform", "seldon", "-f", str(TEXT_PIPELINE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    assert done.returncode == 1
    assert (
        done.stderr == "Error: --platform seldon needs a checkout of the repository: its cluster is in tests/cluster\n"
    )


def test_run_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """``run`` announces its gateway and its live page, answers, adapts, and ends cleanly on SIGINT with its log
    complete.
    """
    before = abandoned_memory()
    document = yaml.safe_load(TEXT_PIPELINE.read_text())
    spec = document["spec"]
    for key in ("profile", "repository"):
        spec[key] = str((TEXT_PIPELINE.parent / spec[key]).resolve())
    spec["interval"] = "1s"
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump(document))
    audit = tmp_path / "audit.jsonl"
    command = [sys.executable, "-m", "ipa_seldon", "run", "-f", str(path), "--port", "0", "--audit", str(audit)]
    command += ["--status-port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        assert process.stderr is not None
        page = next(line.split("live page at ")[1].strip() for line in process.stderr if "live page at" in line)
        url = next(line.split("serving at ")[1].split("/v2")[0] for line in process.stderr if "serving at" in line)
        loaded = ipa_seldon("load", "--url", url, "--pattern", "ramp", "--duration", "4", "--scale", "5", "-o", "json")
        assert json.loads(loaded.stdout)["completed"] >= 1, loaded.stderr
        wait_for(lambda: len(audit.read_text().splitlines()) >= 3)  # its head and two decisions
        found = get_json(page, "/api/status/text")
        assert found["decisions"]
        assert all(stage["current"] for stage in found["stages"])
        assert get(page, "/healthz")[0] == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
    _, _, decisions = read_audit_log(audit)
    assert len(decisions) >= 2
    await_nothing_abandoned(before)
    assert not processes_of(tmp_path)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--pattern", "wild"), "accepted: constant, steady-low"),
        (("--trace", "absent.csv"), "absent.csv"),
        (("--duration", "-3s"), "--duration"),
        (("-f", "absent.yaml"), "absent.yaml"),
    ],
)
def test_a_demo_that_cannot_run_says_so_before_it_starts_anything(words: tuple[str, ...], expected: str) -> None:
    """One line, exit code 2, no server."""
    done = ipa_seldon("demo", *words)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "serving" not in done.stderr
    assert "Traceback" not in done.stderr
