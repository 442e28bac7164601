"""Advice against what ran: figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ipa_seldon.advice.agreement import (
    Moment,
    agreement,
    as_json,
    difference_words,
    disagreements,
    moments,
    schedule,
)
from ipa_seldon.bootstrap import build_algorithm
from ipa_seldon.config import Config
from ipa_seldon.plan import Allocation, Decision, Observation, Outcome, Plan, Proposal, Status
from tests.advice.logs import light, toy_config


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The toy pipeline."""
    return toy_config(tmp_path)


def decision(time: float, outcome: Outcome, ran: Plan, advice: Plan | None) -> Decision:
    proposal = advice and Proposal(
        advice, Status.OPTIMAL, 1.0, 0.5, 2, 0.1, 100.0, "test", {"binding": "slo"}, reason="a reason"
    )
    return Decision(Observation(time, (1.0,), ran), outcome, 50.0, proposal or None)


def test_a_decision_stands_until_the_next() -> None:
    """What was applied ran from then on, what was only recommended or refused did not; the last lasts an interval."""
    one, two = light(1), light(2)
    found = moments(
        [
            decision(10.0, Outcome.APPLIED, one, two),
            decision(15.0, Outcome.RECOMMENDED, one, two),
            decision(17.0, Outcome.REFUSED, one, two),
            decision(20.0, Outcome.UNCHANGED, one, one),
            decision(22.0, Outcome.NO_DATA, two, None),
        ],
        4.0,
    )
    assert [(moment.time, moment.seconds, moment.ran) for moment in found] == [
        (10.0, 5.0, two),
        (15.0, 2.0, one),
        (17.0, 3.0, one),
        (20.0, 2.0, one),
        (22.0, 4.0, two),
    ]
    assert [moment.agrees for moment in found] == [True, False, False, True, False]
    assert found[0].why == "a reason; limited by slo"
    assert schedule(found) == (two, ((15.0, one), (22.0, two)))


def test_agreement_is_of_moments_and_of_time(config: Config) -> None:
    """Of three moments with advice one agrees, for 6 of 10 s; each aspect of each stage by itself; core hours and
    accuracy of either side. The moment without advice counts nowhere.
    """
    heavy: Plan = {"double": (Allocation("heavy", 3, 2, 1),), "increment": (Allocation("light", 1, 1, 1),)}
    found = agreement(
        [
            Moment(0.0, 6.0, light(1), light(1)),
            Moment(6.0, 3.0, light(1), light(3)),
            Moment(9.0, 1.0, light(1), heavy),
            Moment(10.0, 90.0, light(1), {}),
        ],
        config.pipeline,
    )
    assert (found["moments"], found["without_advice"], found["hours"]) == (3, 1, 10 / 3600)
    assert (found["agreed_ratio"], found["agreed_time_ratio"]) == (pytest.approx(1 / 3), 0.6)
    assert found["stages"] == {
        "double": {"variant": 0.9, "replicas": 0.6, "cores": 0.9, "batch": 1.0, "share": 1.0},
        "increment": dict.fromkeys(("variant", "replicas", "cores", "batch", "share"), 1.0),
    }
    assert found["ran"] == {"core_hours": pytest.approx(20 / 3600), "accuracy": pytest.approx(0.25)}
    cores = 6 * 2 + 3 * 4 + 1 * 7
    assert found["advice"] == {"core_hours": pytest.approx(cores / 3600), "accuracy": pytest.approx(0.275)}


def test_sets_are_compared_variant_by_variant(config: Config) -> None:
    """In whatever order they are listed; a share that differs is a disagreement of shares alone."""
    heavy, other = Allocation("heavy", 1, 1, 1, 0.4), Allocation("light", 2, 1, 1, 0.6)
    ran: Plan = dict(light(1)) | {"double": (heavy, other)}
    shared: Plan = dict(light(1)) | {"double": (replace(other, share=0.5), replace(heavy, share=0.5))}
    found = agreement([Moment(0.0, 1.0, ran, shared)], config.pipeline)["stages"]["double"]
    assert found == {"variant": 1.0, "replicas": 1.0, "cores": 1.0, "batch": 1.0, "share": 0.0}


def test_without_advice_there_is_nothing_to_agree_with(config: Config) -> None:
    """Figures that rest on nothing are null."""
    found = agreement([Moment(0.0, 5.0, light(1), {})], config.pipeline)
    assert found["agreed_ratio"] is found["agreed_time_ratio"] is found["ran"]["accuracy"] is None
    assert found["stages"]["double"]["variant"] is None


def test_the_largest_disagreements_are_told_with_why(config: Config) -> None:
    """First what ran without carrying the load, by how long; then by what it lost over time; the same two plans are one
    disagreement, at its highest rate. What the file does not have is told as that.
    """
    foreign: Plan = dict(light(1)) | {"double": (Allocation("huge", 1, 1, 1),)}
    found = disagreements(
        [
            Moment(0.0, 50.0, light(3), light(1), 60.0),
            Moment(50.0, 5.0, light(1), light(3, 3), 230.0, "limited by slo"),
            Moment(55.0, 5.0, light(1), light(3, 3), 250.0, "limited by slo"),
            Moment(60.0, 3.0, foreign, light(1), 10.0),
            Moment(63.0, 500.0, light(1), light(1), 60.0),
            Moment(563.0, 20.0, light(2), light(1), 60.0),
        ],
        build_algorithm(config),
        most=3,
    )
    assert [(one.time, one.seconds) for one in found] == [(50.0, 10.0), (60.0, 3.0), (0.0, 50.0)]
    assert found[0].lost is None
    assert found[2].lost == pytest.approx(2.0)
    assert found[0].why == "at 250 requests/s; what ran carries 100 within the SLO; 4 cores more; limited by slo"
    assert found[1].why == "at 10 requests/s; what ran is no plan that the algorithm could make"
    assert found[2].why == "at 60 requests/s; 2 cores fewer"
    assert difference_words(found[2]) == "double light x3 (1 core, batch 1) -> double light x1 (1 core, batch 1)"
    assert as_json(found[0])["ran"]["double"][0]["replicas"] == 1
