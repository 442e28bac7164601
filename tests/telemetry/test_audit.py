"""The audit log: complete, readable, and it decides the same again."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from ipa_seldon.algorithms import ALGORITHMS, BY_CAPACITY
from ipa_seldon.bootstrap import build_algorithm, build_controller, replay_decisions
from ipa_seldon.cli import cli
from ipa_seldon.config import Config, read_config
from ipa_seldon.errors import ConfigError, LoadReason
from ipa_seldon.plan import Decision, LoadFault, LoadHealth, Observation, Outcome
from ipa_seldon.telemetry.audit import AuditLog, decision_from_json, decision_to_json, read_audit_log
from tests.factories import OF_A_SERVICE
from tests.fakes import MemoryPlatform
from tests.test_config import changed, document_of_a_service, document_of_a_set, write

SLOW = LoadFault(LoadReason.TIMEOUT, "no answer within 5 s")
FLOOR = {"failureThreshold": 2, "behavior": "static", "rate": 15}


def log_a_run(directory: Path, forecaster: str, steps: int = 40, **spec: object) -> tuple[Config, Path]:
    """A log of ``steps`` decisions over a seeded load that rises and falls, with faults and gaps in it, and four rounds
    without a load.
    """
    content = changed("spec.forecaster", {"name": forecaster, "window": 120, "aggregate": 10, "horizon": 20})
    if spec.get("algorithm") in BY_CAPACITY:
        content["spec"] |= {**document_of_a_set()["spec"], "profile": None}
    if spec.get("algorithm") in OF_A_SERVICE:
        content["spec"] |= {**document_of_a_service()["spec"], "forecaster": content["spec"]["forecaster"]}
    content["spec"] |= spec
    content["spec"]["damping"] = {"cooldown": "30s", "gain": 0.001}
    config = read_config(write(directory, content))
    seconds = np.arange(steps * 10 + 120)
    rates = 12 + 11 * np.sin(seconds / 60)
    load = np.random.default_rng(5).poisson(rates).astype(float)
    load[150:156] = math.nan
    platform = MemoryPlatform({}, [])
    path = directory / "audit.jsonl"
    with AuditLog(path, config) as log:
        loop = build_controller(config, platform, build_algorithm(config), [log])
        for step in range(steps):
            now = 10 * (step + 1)
            platform.arrivals = tuple(load[max(0, now - 140) : now].tolist()) if step != 3 else (math.nan,) * 10
            platform.observe_fails = step == 7
            platform.apply_fails = step in (9, 10)
            platform.missing = SLOW if step in range(30, 34) else None
            loop.step(1.7e9 + now)
    return config, path


def test_a_log_of_an_older_version_decides_the_same_again(tmp_path: Path) -> None:
    """Plans that say nothing of GPUs, and a file whose stages do, for the cost per hour: it can be read, and nothing
    comes out differently.
    """
    _, path = log_a_run(tmp_path, "last", prices={"cpu_hourly_cost": 1})
    head, *lines = map(json.loads, path.read_text().splitlines())
    head["pipeline"]["spec"]["prices"]["gpu_hourly_cost"] = 0.0
    for stage in head["pipeline"]["spec"]["stages"].values():
        stage["gpus"] = 0.5
        for variant in stage["variants"].values():
            del variant["device"], variant["gpus"]
    for line in lines:
        for plan in (line["plan_before"], line.get("proposal", {}).get("plan", {})):
            for one in (one for allocations in plan.values() for one in allocations):
                del one["gpus"]
    path.write_text("".join(json.dumps(line) + "\n" for line in (head, *lines)))
    config, algorithm, decisions = read_audit_log(path)
    assert len(decisions) == 40
    assert replay_decisions(config, algorithm, decisions) == []


@pytest.mark.parametrize("forecaster", ["arima", "gate", "max", "auto"])
def test_a_replayed_log_decides_the_same(tmp_path: Path, forecaster: str) -> None:
    """Every rate and every plan comes out of the log again, faults, gaps and damping included."""
    _, path = log_a_run(tmp_path, forecaster)
    config, algorithm, decisions = read_audit_log(path)
    assert {d.outcome for d in decisions} >= {Outcome.APPLIED, Outcome.FAILED, Outcome.NO_DATA, Outcome.UNCHANGED}
    assert len({str(d.proposal.plan) for d in decisions if d.proposal}) > 1
    assert replay_decisions(config, algorithm, decisions) == []
    result = CliRunner().invoke(cli, ["replay", str(path)], standalone_mode=False)
    assert result.return_value == 0
    assert "40 decisions, 0 different" in result.output


def test_a_log_tells_which_forecaster_was_followed(tmp_path: Path) -> None:
    """With `auto` every decision says whom it followed and what each lost of late, a switch among them; decided again,
    all of it comes out the same. Without, there is nothing to tell.
    """
    _, path = log_a_run(tmp_path, "auto", steps=150)
    config, algorithm, decisions = read_audit_log(path)
    told = [decision.forecast_why for decision in decisions if decision.rate is not None]
    assert len({why["following"] for why in told}) > 1
    assert all(loss > 0 for loss in told[-1]["pinball"].values())
    assert replay_decisions(config, algorithm, decisions) == []
    last = decisions[-1]
    untrue = replace(last, forecast_why={**last.forecast_why, "following": "average"})
    (difference,) = replay_decisions(config, algorithm, [*decisions[:-1], untrue])
    assert (difference["tick"], difference["what"]) == (149, "forecast_why")
    _, plain = log_a_run(tmp_path, "max", steps=3)
    assert [decision.forecast_why for decision in read_audit_log(plain)[2]] == [{}, {}, {}]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_is_a_function_of_what_it_observed(tmp_path: Path, algorithm: str) -> None:
    """Whatever an algorithm remembers, it remembers the same when its log is decided again, the floor of a fallback
    included, which leaves no trace in it.
    """
    written, path = log_a_run(tmp_path, "max", algorithm=algorithm, fallback=FLOOR)
    config, name, decisions = read_audit_log(path)
    assert [decision.outcome for decision in decisions[30:34]] == [Outcome.NO_DATA] + [Outcome.FALLBACK] * 3
    assert name == algorithm
    assert config.capacities == written.capacities
    assert [v.load_time for s in config.pipeline.stages for v in s.variants] == [
        v.load_time for s in written.pipeline.stages for v in s.variants
    ]
    assert sum(decision.rate is not None for decision in decisions) > 30
    assert replay_decisions(config, name, decisions) == []


def test_a_load_that_was_missing_is_kept(tmp_path: Path) -> None:
    """What its source said, and what was made of it, comes back; one that was changed afterwards is noticed. A log from
    before there was a fallback has neither.
    """
    _, path = log_a_run(tmp_path, "max", steps=34)
    config, algorithm, decisions = read_audit_log(path)
    missing = decisions[30:34]
    assert [decision.observation.fault for decision in missing] == [SLOW] * 4
    assert [decision.load for decision in missing] == [LoadHealth(*SLOW, n, n >= 3) for n in range(1, 5)]
    assert replay_decisions(config, algorithm, decisions) == []
    untrue = replace(missing[0], load=LoadHealth())
    (difference,) = replay_decisions(config, algorithm, [*decisions[:30], untrue])
    assert (difference["tick"], difference["what"]) == (30, "load")
    record = decision_to_json(missing[0])
    del record["load"], record["load_fault"]
    assert decision_from_json(record).load == LoadHealth()
    assert decision_from_json(record).observation.fault is None


def test_deadlines_and_starting_replicas_are_kept() -> None:
    """All that Sponge decides by comes back; a log from before there were such fields reads as one without."""
    decision = Decision(
        Observation(10.0, (3.0,), {}, remaining_slo=(0.4, -0.1), budgets=(0.7, 0.9), ready={"yolo": 1}),
        Outcome.UNCHANGED,
        forecast_why={"following": "max"},
    )
    record = json.loads(json.dumps(decision_to_json(decision)))
    assert decision_from_json(record) == decision
    del record["budgets"], record["ready"], record["forecast_why"]
    assert decision_from_json(record).forecast_why == {}
    older = decision_from_json(record).observation
    assert (older.remaining_slo, older.budgets, older.ready) == ((0.4, -0.1), (), {})


def test_a_gap_that_nothing_bounds_is_kept(tmp_path: Path) -> None:
    """JSON has no infinity: it is null there, and comes back; a log from before there were gaps reads as exact."""
    _, path = log_a_run(tmp_path, "last", steps=1)
    decision = read_audit_log(path)[2][0]
    assert decision.proposal is not None
    endless = replace(decision, proposal=replace(decision.proposal, gap=math.inf))
    record = json.loads(json.dumps(decision_to_json(endless), allow_nan=False))
    assert decision_from_json(record) == endless
    del record["proposal"]["gap"]
    assert decision_from_json(record) == decision


@pytest.mark.parametrize(
    "objective",
    [
        {"maximise": "accuracy", "cost_at_most": 6, "accuracy": "average"},
        {"minimise": "cost", "accuracy_at_least": 0.35, "delta": 0.001},
    ],
)
def test_a_log_with_a_constraint_decides_the_same(tmp_path: Path, objective: dict[str, Any]) -> None:
    """The log holds the constraint as it was written, without weights, and every decision comes out again."""
    config, path = log_a_run(tmp_path, "max", steps=20, objective=objective)
    again, algorithm, decisions = read_audit_log(path)
    assert again.document == config.document
    head = json.loads(path.read_text().splitlines()[0])
    assert head["pipeline"]["spec"]["objective"] == {"accuracy": "product", "delta": 1e-6, "switching": 0.0} | objective
    assert len({str(d.proposal.plan) for d in decisions if d.proposal}) > 1
    assert replay_decisions(again, algorithm, decisions) == []


def test_a_log_that_was_tampered_with_is_noticed(tmp_path: Path) -> None:
    """A forecast or an arrival that was changed afterwards shows as a difference: exit code 1."""
    _, path = log_a_run(tmp_path, "max", steps=15)
    lines = path.read_text().splitlines()
    record = json.loads(lines[-1])
    record["arrivals"][-1] = 500.0
    path.write_text("\n".join([*lines[:-1], json.dumps(record)]) + "\n")
    result = CliRunner().invoke(cli, ["replay", str(path), "-o", "json"], standalone_mode=False)
    assert result.return_value == 1
    assert json.loads(result.output)["different"][0]["what"] == "rate"


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """Configuration, profile and decisions survive the round trip; half a last line (a kill) is left out."""
    config, path = log_a_run(tmp_path, "last", steps=12)
    path.write_text(path.read_text() + '{"tick": 12, "ti')
    again, _, decisions = read_audit_log(path)
    assert again.document == config.document
    assert {k: dict(p.points) for k, p in again.profiles.items()} == {
        k: dict(p.points) for k, p in config.profiles.items()
    }
    assert len(decisions) == 12


@pytest.mark.parametrize("text", ["", "{}\n", "nonsense\n", '{"format": 1}\n', '{"format": 99}\n'])
def test_files_that_are_no_log(tmp_path: Path, text: str) -> None:
    """One line that names the file."""
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"x\.jsonl"):
        read_audit_log(path)
