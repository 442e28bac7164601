"""What an explanation says of a decision: its figures, its words, and which decision is meant."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ipa_seldon.config import Config, read_config
from ipa_seldon.errors import ConfigError, LoadReason
from ipa_seldon.explain.account import Explanation, explain, find
from ipa_seldon.explain.document import as_document
from ipa_seldon.explain.words import limits, tables, title, told
from ipa_seldon.plan import (
    Allocation,
    Decision,
    LoadFault,
    LoadHealth,
    Observation,
    Outcome,
    Proposal,
    same_plan,
)
from ipa_seldon.telemetry.audit import Log, decision_from_json, decision_to_json, read_log
from tests.explain.logs import ONE_EACH, decided, published, simulated
from tests.telemetry.test_audit import FLOOR, log_a_run
from tests.test_config import changed, document_of_a_service, document_of_a_set, write


def config(directory: Path, **spec: Any) -> Config:
    """The documented pipeline with the quickest forecaster and the published waits, and keys of its spec changed."""
    content = changed("spec.forecaster", {"name": "max", "window": 30})
    content["spec"] |= {"queueing": "published", **spec}
    return read_config(write(directory, content))


def words(about: Explanation) -> dict[str, str]:
    """What it says, by label."""
    return dict(told(about))


def last(log: Log) -> Explanation:
    """Of the last decision."""
    return explain(log, len(log.decisions) - 1)


def test_whom_the_forecaster_followed_is_told(tmp_path: Path) -> None:
    """By `auto`: whose forecast it was, and what each lost of late, as far as that is known."""
    made = config(tmp_path, forecaster={"name": "auto", "window": 60})
    log = decided(made, 10.0)
    why = {"following": "gate", "pinball": {"gate": 0.1587, "max": None}}
    about = last(replace(log, decisions=(replace(log.decisions[-1], forecast_why=why),)))
    assert "by auto, which follows gate (recent pinball losses: gate 0.159, max –), from 60 s" in words(about)["load"]
    assert as_document(about)["load"]["forecast_why"] == why


def test_the_plan_before_and_after_with_what_it_gained(tmp_path: Path) -> None:
    """A rise from 10 to 25 requests/s: the stages that change, the cost that is added, the promise that what ran would
    have broken, and the latency that the SLO leaves.
    """
    about = last(decided(config(tmp_path), 10.0, 25.0))
    proposal = about.decision.proposal
    assert proposal is not None
    assert about.before is not None
    assert about.before.cost < proposal.cost
    said = words(about)
    assert f"{about.before.cost} → {proposal.cost} cores (+{proposal.cost - about.before.cost})" in said["gain"]
    assert "what ran breaks a promise: stage crop carries" in said["gain"]
    assert "of 6.89 s at p99" in said["latency"]
    assert "forecast 25: the peak of the next 20 s by max from 30 s in blocks of 10 s" in said["load"]
    assert "25 requests/s in the last 10 s, 25 in the mean of 30 s, 25 at most" in said["load"]
    assert title(about) == "video, decision 1 at 20 s, by ipa: applied"
    document = as_document(about)
    assert document["after"]["changed"]["crop"]["before"][0]["replicas"] == 1
    assert document["slo"]["headroom"] == pytest.approx(6.89 - proposal.latency)


def test_the_runner_up_is_behind_by_terms_that_sum_up(tmp_path: Path) -> None:
    """By how much it lost is the difference of both worths, term by term."""
    about = last(decided(config(tmp_path, objective={"alpha": 20.0, "beta": 1.0}), 10.0))
    second, proposal = about.runner_up, about.decision.proposal
    assert second is not None
    assert proposal is not None
    assert sum(second.lost.values()) == pytest.approx(proposal.objective - second.proposal.objective)
    assert set(second.lost) == {"accuracy", "cost", "batches"}
    assert "less: " in words(about)["runner-up"]
    assert as_document(about)["runner_up"]["lost"] == dict(second.lost)


BINDING: dict[str, tuple[dict[str, Any], float, str]] = {
    "slo": ({"slo": {"latency": "200ms"}, "objective": {"alpha": 100, "beta": 0.1}}, 5.0, "of 200 ms"),
    "cores": ({"limits": {"cores": 3}, "objective": {"alpha": 100}}, 14.0, "the budget: 2 of 3 cores"),
    "cost": ({"objective": {"maximise": "accuracy", "cost_at_most": 3}}, 14.0, "the cost: 2 of at most 3 cores"),
    "accuracy": ({"objective": {"minimise": "cost", "accuracy_at_least": 0.35}}, 12.0, "of 0.35"),
    "replicas": ({"limits": {"replicas": 1}, "objective": {"alpha": 100}}, 12.0, "at most 1 of a stage"),
    "none": ({}, 5.0, "nothing: no plan is better"),
}


@pytest.mark.parametrize("name", BINDING)
def test_what_bound_it_is_told_with_its_figures(tmp_path: Path, name: str) -> None:
    """Every constraint of IPA by its name, and with the limit that the operator set."""
    spec, rate, expected = BINDING[name]
    found = dict(limits(last(decided(config(tmp_path, **spec), rate))))
    assert list(found) == [name]
    assert expected in found[name]


def test_what_bound_a_set_and_a_service(tmp_path: Path) -> None:
    """A set's budget by its cores; the deadlines of what is queued; neither is told as what it is not."""
    made = read_config(write(tmp_path, document_of_a_set()))
    about = last(decided(made, 50.0, running={}))
    assert dict(limits(about))["budget"] == "the budget: 8 of 8 cores"
    assert words(about)["latency"] == "capacities keep the SLO of 750 ms at p99"
    assert as_document(about)["slo"]["headroom"] is None
    service = read_config(write(tmp_path, document_of_a_service()))
    one = {"yolo": (Allocation("yolov5s", 1, 2, 1),)}
    queued = last(decided(service, 5.0, running=one, remaining_slo=(0.3,) * 6))
    assert dict(limits(queued)) == {"queue": "deadlines: 6 queued requests have to end in time"}


def test_damping_is_told_with_what_it_held_back(tmp_path: Path) -> None:
    """A gain that no switch reaches: what would have run, what that would have gained, and the reason."""
    made = config(tmp_path, damping={"gain": 1000.0})
    two = {stage: (replace(allocation, replicas=2),) for stage, (allocation,) in ONE_EACH.items()}
    about = last(decided(made, 5.0, running=two))
    assert about.decision.outcome is Outcome.HELD
    said = words(about)
    assert "is below 1000" in said["decision"]
    assert "damping: gain" in said["bound by"]
    assert "4 → 2 cores (-2)" in said["held back"]
    assert about.held_back is not None
    assert {answer.change.name: answer.proposal and answer.proposal.cost for answer in about.answers}[
        "without damping"
    ] == about.held_back.cost


def test_a_rate_that_is_held_up_is_told(tmp_path: Path) -> None:
    """After a peak the stabilised rate decides: told beside the forecast, as is the plan without damping."""
    about = last(decided(config(tmp_path, damping={"stabilization": "60s"}), 25.0, 5.0))
    assert (about.load.forecast, about.load.decided_for) == (5.0, 25.0)
    assert "decided for 25 requests/s, of which 5 are forecast; without it: crop" in words(about)["bound by"]
    _, (_, rows) = tables(about)
    (less,) = (row for row in rows if row[0] == "load -10 %")
    assert less[1] == "no change (decided for 25 requests/s all the same)"


def test_the_price_of_switching_is_told(tmp_path: Path) -> None:
    """Where a plan would change if switches cost nothing, that price binds it."""
    content = changed("spec.forecaster", {"name": "max"})
    content["spec"] |= {"queueing": "published", "objective": {"alpha": 100, "switching": 10}}
    for stage in content["spec"]["stages"].values():
        for variant in stage["variants"].values():
            variant["load_time"] = 10
    about = last(decided(read_config(write(tmp_path, content)), 5.0))
    found = dict(limits(about))
    assert "10 for every second that a core starts up; without it: crop: yolov5n" in found["switching"]


@pytest.mark.parametrize("algorithm", ["ipa", "ipa-sets", "infadapter", "sponge", "static", "vpa"])
def test_every_decision_of_a_log_can_be_explained(tmp_path: Path, algorithm: str) -> None:
    """Whatever its outcome: words, tables of as many cells as headings, and JSON without what is no number; what was
    decided comes out again.
    """
    _, path = log_a_run(tmp_path, "max", steps=16, algorithm=algorithm)
    log = read_log(path)
    for index in range(len(log.decisions)):
        about = explain(log, index)
        assert about.same_again
        assert all(text for _, text in told(about))
        json.dumps(as_document(about), allow_nan=False)
        for headings, rows in tables(about):
            assert {len(row) for row in rows} <= {len(headings)}


def test_where_nothing_was_decided_it_says_what_would_have_been(tmp_path: Path) -> None:
    """No data, and a platform out of reach: by the forecast before; before any load was known there is nothing."""
    _, path = log_a_run(tmp_path, "max", steps=12)
    log = read_log(path)
    no_data, failed = explain(log, 3), explain(log, 7)
    assert (no_data.decision.outcome, failed.decision.outcome) == (Outcome.NO_DATA, Outcome.FAILED)
    assert (no_data.load.assumed, failed.load.assumed) == (2, 6)
    assert "forecast: none, that of decision 2 stands in" in words(no_data)["load"]
    for about in (no_data, failed):
        assert about.decision.proposal is None
        assert about.proposal is not None
        assert "by that forecast it would have been: " in words(about)["decision"]
        assert len(about.answers) > 4
    assert "out of reach" in words(failed)["decision"]
    blind = Decision(Observation(10.0, (math.nan,) * 10, {}), Outcome.NO_DATA)
    about = explain(replace(log, decisions=(blind,), ticks=(0,)), 0)
    assert "nothing to decide" in words(about)["note"]
    assert as_document(about)["changes"] == []


def test_a_fallback_is_told_beside_what_the_last_forecast_would_have_led_to(tmp_path: Path) -> None:
    """A floor for a load that is missing: why it is missing, what the floor runs, and what was known to run before."""
    log = decided(config(tmp_path), 10.0, 25.0)
    fault = LoadFault(LoadReason.EMPTY, "nothing answers the query")
    seen = Observation(30.0, (), ONE_EACH, fault=fault)
    health = LoadHealth(fault.reason, fault.words, failures=3, fallback=True)
    floor = decided(config(tmp_path), 40.0).decisions[0].proposal
    fallback = Decision(seen, Outcome.FALLBACK, proposal=floor, load=health)
    about = explain(replace(log, decisions=(*log.decisions, fallback), ticks=(0, 1, 2)), 2)
    said = words(about)
    assert "nothing answers the query; forecast: none, that of decision 1 stands in: 25" in said["load"]
    assert floor is not None
    assert about.proposal is not None
    assert same_plan(about.proposal.plan, floor.plan)
    assert (about.running, about.same_again) == (ONE_EACH, True)
    assert "by that forecast it would have been: crop: yolov5n ×1 b1 → yolov5n ×2" in said["decision"]
    assert "note" not in said


def test_without_a_load_what_runs_is_known_all_the_same(tmp_path: Path) -> None:
    """The floor that a fallback has put in place is what ran before the next round, not what was decided last."""
    _, path = log_a_run(tmp_path, "max", steps=33, fallback={**FLOOR, "rate": 40})
    log = read_log(path)
    floor = log.decisions[31].proposal
    assert floor is not None
    assert explain(log, 32).running == floor.plan != log.decisions[31].observation.plan


def test_a_plan_that_was_refused_is_told(tmp_path: Path) -> None:
    """What would have run, and why it does not."""
    log = decided(config(tmp_path), 25.0)
    (decision,) = log.decisions
    refused = replace(decision, outcome=Outcome.REFUSED, error="apply: no quota is left")
    said = words(explain(replace(log, decisions=(refused,)), 0))
    assert "refused, what runs keeps running; apply: no quota is left; it would have run: crop" in said["decision"]


def test_an_old_log_is_told_from_what_is_known_now(tmp_path: Path) -> None:
    """A log without the reasons of later versions: these come from deciding it again."""
    log = decided(
        config(tmp_path, damping={"gain": 1000.0}), 5.0, running={**ONE_EACH, "crop": (Allocation("yolov5n", 3, 1, 1),)}
    )
    record = decision_to_json(log.decisions[0])
    for newer in ("budgets", "ready"):
        del record[newer]
    record["proposal"]["why"] = {}
    old = explain(replace(log, decisions=(decision_from_json(record),)), 0)
    assert old.same_again
    assert words(old) == words(explain(log, 0))


def test_what_comes_out_differently_is_said(tmp_path: Path) -> None:
    """A plan that the log's configuration does not lead to, in a log that begins late: both are told."""
    log = decided(config(tmp_path), 10.0, 25.0)
    forged = replace(log.decisions[1], proposal=replace(_proposal(log.decisions[1]), plan=ONE_EACH))
    about = explain(replace(log, decisions=(log.decisions[0], forged), ticks=(40, 41)), 1)
    assert not about.same_again
    note = words(about)["note"]
    assert note.startswith("decided again it comes out differently: crop: ")
    assert "before decision 40, with which this log begins, is missing" in note
    assert as_document(about)["decided_again"]["changed"] != {}


def _proposal(decision: Decision) -> Proposal:
    assert decision.proposal is not None
    return decision.proposal


def test_which_decision_is_meant(tmp_path: Path) -> None:
    """The last that changed the plan, the last of all, one by number, the one in force at a time; else what is
    accepted.
    """
    log = simulated(tmp_path / "run.jsonl", published("video"), 30.0, seconds=60)
    late = replace(log, ticks=tuple(tick + 100 for tick in log.ticks))
    switch = find(log)
    assert log.decisions[switch].outcome is Outcome.APPLIED
    assert Outcome.APPLIED not in {decision.outcome for decision in log.decisions[switch + 1 :]}
    assert find(log, last=True) == len(log.decisions) - 1
    assert find(late, tick=103) == 3
    assert (find(log, time=10.0), find(log, time=12.4), find(log, time=12.5)) == (3, 3, 4)
    assert find(replace(log, decisions=log.decisions[:1], ticks=(0,))) == 0
    with pytest.raises(ConfigError, match=r"run\.jsonl: tick 3: accepted: 100 to 123"):
        find(late, tick=3)
    with pytest.raises(ConfigError, match=r"run\.jsonl: time 99: accepted: 2\.5 to 62\.5, seconds"):
        find(log, time=99.0)
    with pytest.raises(ConfigError, match=r"run\.jsonl: no decision yet"):
        find(replace(log, decisions=(), ticks=()))
