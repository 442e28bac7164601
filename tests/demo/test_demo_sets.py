"""A demo of variants that share a stage, on a real Triton with real networks; short."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from ipa_seldon.loadgen.records import read_records
from ipa_seldon.telemetry.audit import read_audit_log
from tests.demo.recogniser import recogniser_on
from tests.demo.test_demo import ipa_seldon
from tests.remnants import abandoned_memory, await_nothing_abandoned, processes_of

pytestmark = [pytest.mark.triton, pytest.mark.alone]
CAPACITIES = """variant,cores,slo,capacity,load_time
v6-160,1,5,15,1
v6-224,1,5,1,1
v6-288,1,5,1,1
v6-384,1,5,6,1
"""
"""Far below what any machine takes: the load that makes two variants share it is light."""


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """The recogniser's pipeline on two cores, with CAPACITIES and an SLO that a busy machine keeps."""
    return recogniser_on(tmp_path, CAPACITIES, slo="5s")


def test_variants_serve_together_and_are_as_accurate_as_their_shares_say(tmp_path: Path, pipeline: Path) -> None:
    """Under a load that rises beyond the best variant: two serve at once, each about what its share comes to; the mean
    accuracy is that of the shares within four standard errors; and no transition loses a request.
    """
    before = abandoned_memory()
    words = ("--duration", "45", "--pattern", "ramp", "--scale", "12", "--no-calibrate", "--directory", str(tmp_path))
    done = ipa_seldon("demo", "--algorithm", "infadapter", "-f", str(pipeline), *words, "-o", "json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["failed"] == summary["dropped"] == 0
    assert summary["switches"] >= 1
    _, _, decisions = read_audit_log(tmp_path / "adaptive-audit.jsonl")
    assert any(len(decision.observation.plan["recognise"]) >= 2 for decision in decisions)
    variants = summary["variants"]["recognise"]
    served = {name: one for name, one in variants.items() if one["requests"]}
    assert {"v6-160", "v6-384"} <= set(served)
    planned = sum(one["planned"] for one in variants.values())
    stated = yaml.safe_load(pipeline.read_text())["spec"]["stages"]["recognise"]["variants"]
    for name, one in variants.items():
        # A request is due up to a switch before the plan counts that answers it.
        assert one["requests"] == pytest.approx(one["planned"], abs=0.1 * planned), name
    mean = sum(one["planned"] * stated[name]["accuracy"] for name, one in variants.items()) / planned
    lines = sum(record.expected for record in read_records(tmp_path / "adaptive-requests.jsonl"))
    # The two lines of a picture stand or fall together, and pictures repeat after 200.
    independent = min(lines, 300) / 2
    assert summary["accuracy"] == pytest.approx(mean, abs=4 * (mean * (1 - mean) / independent) ** 0.5)
    assert stated["v6-160"]["accuracy"] < summary["accuracy"] < stated["v6-384"]["accuracy"]
    assert 'id="variants"' in (tmp_path / "report.html").read_text()
    await_nothing_abandoned(before)
    assert not processes_of(tmp_path)
