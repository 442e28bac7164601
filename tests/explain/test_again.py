"""Deciding a logged decision again: the same as it was, and solved where something is changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ipa_seldon.algorithms import ALGORITHMS
from ipa_seldon.bootstrap import build_algorithm
from ipa_seldon.config import read_config
from ipa_seldon.explain.again import Case, Effect, answers, decider
from ipa_seldon.explain.changes import AS_IT_WAS
from ipa_seldon.plan import Decision, Observation, Outcome, Proposal
from ipa_seldon.telemetry.audit import Log, read_log
from tests.explain.logs import decided, published, simulated
from tests.telemetry.test_audit import log_a_run
from tests.test_config import changed, document, document_of_a_service, document_of_a_set, write


def cases(log: Log) -> list[tuple[Decision, Case]]:
    """Every decision of a log that made a plan, with what it was made from."""
    return [
        (decision, Case(log.config, decision.rate, decision.observation, log.decisions[:k]))
        for k, decision in enumerate(log.decisions)
        if decision.rate is not None and decision.proposal is not None
    ]


def again(case: Case) -> Proposal:
    """What a case is decided to, as it was."""
    return decider(case, AS_IT_WAS).decide(case.rate, case.observation)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_was_decided_comes_out_again(tmp_path: Path, algorithm: str) -> None:
    """Whatever an algorithm and its damping remember, they remember it from a log of decisions, without making them
    again: faults, gaps and switches that failed included.
    """
    _, path = log_a_run(tmp_path, "max", algorithm=algorithm)
    for decision, case in cases(read_log(path)):
        assert again(case) == decision.proposal


@pytest.mark.parametrize(
    ("pipeline", "algorithm", "peak"),
    [
        ("video", "ipa", 30.0),
        ("video", "ipa-sets", 30.0),
        ("resnet", "infadapter", 150.0),
        ("yolo-sponge", "sponge", 20.0),
        ("yolo-sponge", "sponge-hv", 40.0),
    ],
)
def test_simulated_runs_come_out_again(tmp_path: Path, pipeline: str, algorithm: str, peak: float) -> None:
    """The same of pipelines that come with the project, with their damping, queues and replicas that start."""
    log = simulated(tmp_path / "run.jsonl", published(pipeline, algorithm), peak)
    assert Outcome.APPLIED in {decision.outcome for decision in log.decisions}
    for decision, case in cases(log)[::3]:
        assert again(case) == decision.proposal


@pytest.mark.parametrize(
    ("document", "algorithm", "rates"),
    [
        (document_of_a_set(), "infadapter", (50.0, 10.0, 10.0)),
        (document_of_a_set(), "vpa", (5.0, *(50.0,) * 130)),
        (document_of_a_service(), "sponge-hv", (60.0, 60.0, 5.0, 5.0)),
        (changed("spec.baselines", {"rate": 20}), "hpa", (25.0, *(5.0,) * 32)),
        (changed("spec.damping", {"stabilization": "60s"}), "ipa", (25.0, 5.0)),
        (changed("spec.damping", {"cooldown": "60s"}), "ipa", (10.0, 25.0, 5.0)),
        (document(), "rim", (25.0, 5.0)),
    ],
)
def test_what_is_remembered_decides(
    tmp_path: Path, document: dict[str, Any], algorithm: str, rates: tuple[float, ...]
) -> None:
    """A load that falls: who forgets what was decided before decides otherwise, who remembers it does not."""
    document["spec"] |= {"forecaster": {"name": "max"}, "algorithm": algorithm}
    log = decided(read_config(write(tmp_path, document)), *rates, running={})
    forgetful = [again(replace(case, before=())) == decision.proposal for decision, case in cases(log)]
    assert not all(forgetful)
    for decision, case in cases(log):
        assert again(case) == decision.proposal


@pytest.mark.parametrize(("pipeline", "peak"), [("video", 30.0), ("yolo-sponge", 20.0)])
def test_other_loads_are_solved_with_what_was_remembered(tmp_path: Path, pipeline: str, peak: float) -> None:
    """A tenth more and less load give what a loop would have decided that made every decision before as it was."""
    log = simulated(tmp_path / "run.jsonl", published(pipeline), peak)
    for _, case in cases(log)[1::7]:
        found = {answer.change.name: answer.proposal for answer in answers(case, again(case))}
        for name, factor in (("load -10 %", 0.9), ("load +10 %", 1.1)):
            loop = build_algorithm(log.config)
            for decision in case.before:
                loop.decide(decision.rate or 0.0, decision.observation)
            assert found[name] == loop.decide(case.rate * factor, case.observation)


def small(directory: Path, replicas: int = 1, **spec: object) -> Case:
    """One replica a stage, accuracy above all: the accurate detector carries 6.57 requests/s, the light one 15.1."""
    content = changed("spec.limits", {"batch": 1, "replicas": replicas})
    content["spec"] |= {"queueing": "published", "forecaster": {"name": "max"}}
    content["spec"]["objective"] |= {"alpha": 100}
    content["spec"] |= spec
    config = read_config(write(directory, content))
    return Case(config, 6.2, Observation(100.0, (6.0,) * 60, {}))


def by_name(case: Case) -> dict[str, tuple[Effect, str]]:
    """Change -> what it leads to, and the detector that then runs."""
    found = answers(case, again(case))
    return {a.change.name: (a.effect, a.proposal.plan["crop"][0].variant if a.proposal else "") for a in found}


def test_a_tenth_more_load_takes_another_variant(tmp_path: Path) -> None:
    """6.2 requests/s fit the accurate detector's 6.57, 6.82 do not; a tenth less changes nothing."""
    found = by_name(small(tmp_path))
    assert found["load +10 %"] == (Effect.CHANGED, "yolov5n")
    assert found["load -10 %"] == (Effect.SAME, "yolov5s")
    assert found["alpha -10 %"] == (Effect.SAME, "yolov5s")


def test_what_no_plan_keeps_is_infeasible(tmp_path: Path) -> None:
    """15 requests/s are the light detector's limit, so that a tenth more is infeasible, and told with the reason."""
    case = replace(small(tmp_path), rate=15.0)
    found = {answer.change.name: answer for answer in answers(case, again(case))}
    assert found["load +10 %"].effect is Effect.INFEASIBLE
    assert "16.5 requests/s" in found["load +10 %"].reason
    assert found["load -10 %"].effect is Effect.SAME


def test_a_file_that_would_be_refused_makes_no_plan(tmp_path: Path) -> None:
    """A budget below one replica of every stage: unknown, in the words of the file's own check, without its path."""
    case = small(tmp_path, limits={"batch": 1, "replicas": 1, "cores": 2})
    found = {answer.change.name: answer for answer in answers(case, again(case))}
    assert found["budget -1 core"].effect is Effect.UNKNOWN
    assert found["budget -1 core"].reason.startswith("spec.limits.cores: 1: accepted: at least 2")
    assert found["budget +1 core"].effect is Effect.SAME
