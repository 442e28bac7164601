"""The alerts fire on what they are for, and name metrics that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ipa_seldon.sidecar.metrics import OF_SIDECAR
from ipa_seldon.telemetry.catalogue import OF_ADAPTER, OF_PIPELINE
from tests.manifests.documents import MONITORING, only, read
from tests.prometheus_server import binary

UNIT_TESTS = Path(__file__).with_name("alerts_test.yaml")


@pytest.fixture
def spec() -> dict[str, Any]:
    """Of the PrometheusRule."""
    found: dict[str, Any] = only(read(MONITORING / "alerts.yaml"), "PrometheusRule")["spec"]
    return found


def rules(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """All of them, recorded ones too."""
    return [rule for group in spec["groups"] for rule in group["rules"]]


def test_every_alert_fires_on_its_cause_alone(spec: dict[str, Any], tmp_path: Path) -> None:
    """Unit tests of promtool pass, and there is one that fires for each alert."""
    for rule in rules(spec):
        rule.pop("annotations", None)
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec))
    shutil.copy(UNIT_TESTS, tmp_path / "alerts.yaml")
    command = [binary("promtool"), "test", "rules", str(tmp_path / "alerts.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    cases = [case for one in yaml.safe_load(UNIT_TESTS.read_text())["tests"] for case in one["alert_rule_test"]]
    fired = {case["alertname"] for case in cases if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules(spec) if "alert" in rule}


def test_prometheus_takes_the_rules_as_they_are(spec: dict[str, Any], tmp_path: Path) -> None:
    """Expressions and templates are sound."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec))
    command = [binary("promtool"), "check", "rules", str(tmp_path / "rules.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_says_what_to_do(spec: dict[str, Any]) -> None:
    """A severity, a summary of one line, and a runbook of one."""
    for rule in rules(spec):
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("critical", "warning")
            assert set(rule["annotations"]) == {"summary", "runbook"}
            assert not any("\n" in text for text in rule["annotations"].values())


def test_alerts_are_on_metrics_that_there_are(spec: dict[str, Any]) -> None:
    """Every name is in the catalogues, or recorded here."""
    known = {metric.name for metric in (*OF_PIPELINE, *OF_ADAPTER, *OF_SIDECAR)}
    recorded = {rule["record"] for rule in rules(spec) if "record" in rule}
    named = {name for rule in rules(spec) for name in re.findall(r"\bipa[_:][a-z0-9_:]+", rule["expr"])}
    assert named <= known | recorded
    assert recorded <= named
