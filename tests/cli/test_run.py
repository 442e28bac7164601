"""``ipa-seldon run`` on this machine, on a real Triton: what it does in which mode."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ipa_seldon.plan import Outcome
from ipa_seldon.telemetry.audit import read_audit_log
from tests.adapter.files import write_toy
from tests.remnants import abandoned_memory, await_nothing_abandoned
from tests.waiting import wait_for

pytestmark = pytest.mark.triton
PROFILE = "stage,variant,cores,batch,latency,throughput\n" + "".join(
    f"{stage},{variant},1,1,0.1,{rate}\n"
    for stage in ("double", "increment")
    for variant, rate in (("light", 10), ("heavy", 1))
)
"""Of a machine so slow that a few requests are a load."""


@contextmanager
def running(path: Path, audit: Path, *arguments: str) -> Iterator[str]:
    """The URL of the gateway of ``run``, which ends well when it is told to."""
    command = [sys.executable, "-m", "ipa_seldon", "run", "-f", str(path), "--port", "0", "--audit", str(audit)]
    process = subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        yield next(line.split("serving at ")[1].split("/v2")[0] for line in process.stderr if "serving at" in line)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert (process.returncode, "Traceback" in said) == (0, False)
    finally:
        process.kill()
        process.communicate()


def send(url: str, requests: int) -> None:
    """Each is answered."""
    tensors = [{"name": name, "shape": [1, 1], "datatype": "INT32", "data": [7]} for name in ("number", "trace")]
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
        for _ in range(requests):
            connection.request("POST", "/v2/models/infer", json.dumps({"inputs": tensors}))
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True)


def lines(path: Path) -> list[dict[str, Any]]:
    """The records of a log that are complete."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


@pytest.fixture
def file(tmp_path: Path, toy_repository: Path) -> Path:
    """The toy pipeline, to be adapted."""
    path = write_toy(tmp_path, repository=str(toy_repository))
    (tmp_path / "toy.csv").write_text(PROFILE)
    return path


def test_what_is_only_recommended_is_told_and_not_done(file: Path, tmp_path: Path) -> None:
    """While requests come more replicas are recommended, decision after decision, from the one that goes on running;
    ``report --agreement`` reads the log, and finds that more was advised than ran.
    """
    before, audit = abandoned_memory(), tmp_path / "audit.jsonl"
    with running(file, audit, "--mode", "recommend") as url:

        def recommended() -> int:
            send(url, 10)
            advised = [line["proposal"]["plan"] for line in lines(audit) if line.get("outcome") == "recommended"]
            return sum(plan["double"][0]["replicas"] > 1 for plan in advised)

        wait_for(lambda: recommended() >= 8, period=0)
    await_nothing_abandoned(before)
    _, _, decisions = read_audit_log(audit)
    assert {one.outcome for one in decisions} <= {Outcome.RECOMMENDED, Outcome.UNCHANGED, Outcome.NO_DATA}
    assert {one.observation.plan["double"][0].replicas for one in decisions} == {1}
    advised = [one for one in decisions if one.outcome is Outcome.RECOMMENDED]
    command = [sys.executable, "-m", "ipa_seldon", "report", "--agreement", str(audit), "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["moments"] == sum(one.proposal is not None for one in decisions)
    assert found["agreed_ratio"] == pytest.approx(1 - len(advised) / found["moments"])
    assert found["agreed_time_ratio"] <= found["stages"]["double"]["replicas"] < 1
    assert found["advice"]["core_hours"] > found["ran"]["core_hours"]
    figures = found["simulated"]["figures"]
    assert figures["what ran"]["requests"] == figures["advice followed"]["requests"] > 20
    assert figures["what ran"]["violation_ratio"] >= figures["advice followed"]["violation_ratio"]
    assert found["disagreements"][0]["ran"]["double"][0]["replicas"] == 1


def test_the_files_mode_holds_and_off_decides_nothing(file: Path, tmp_path: Path) -> None:
    """``mode: off`` of the file serves, and that is all: its log has a head and no decision."""
    audit = tmp_path / "audit.jsonl"
    file.write_text(file.read_text().replace("model_uri:", "mode: 'off'\n    model_uri:"))
    with running(file, audit) as url:
        send(url, 200)  # for longer than the interval
    assert len(lines(audit)) == 1
