"""The figures of a run, on runs small enough to work out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from ipa_seldon.forecasters import ForecastSettings
from ipa_seldon.loadgen import RequestOutcome, RequestRecord
from ipa_seldon.plan import (
    Allocation,
    Decision,
    Observation,
    Outcome,
    Plan,
    Proposal,
    Status,
    changed_stages,
    is_switch,
)
from ipa_seldon.runs.summary import RunResult, by_variant, mean_cost, summary, timeline

LIGHT = {"detect": (Allocation("light", 1, 1, 1),), "recognise": (Allocation("light", 1, 1, 1),)}
HEAVY = {"detect": (Allocation("heavy", 2, 2, 4),), "recognise": (Allocation("light", 1, 1, 1),)}
ACCURACY = {1: 0.4, 2: 0.8}


def decision(time: float, before: Plan, after: Plan, outcome: Outcome, took: float = 0.5) -> Decision:
    """A decision of a run that started at 100 s."""
    accuracy = ACCURACY[next(iter(after.values()))[0].replicas]
    proposal = Proposal(after, Status.OPTIMAL, 1.0, accuracy, 2, 0.1, 20.0, "auto")
    return Decision(Observation(time, (), before), outcome, 5.0, proposal, "", 0.5, took)


def request(due: float, latency: float, outcome: RequestOutcome, matched: int = 1, expected: int = 2) -> RequestRecord:
    """A request that was sent 10 ms late."""
    return RequestRecord(0, due, due + 0.01, due + latency, outcome, 200, {}, expected, matched)


def result(decisions: Sequence[Decision] = (), records: Sequence[RequestRecord] = ()) -> RunResult:
    """A run from 100 s to 120 s."""
    return RunResult("adaptive", 1.0, 99, 100.0, 120.0, tuple(decisions), tuple(records))


def test_counts_latency_and_accuracy_are_over_the_right_requests() -> None:
    """Late requests were answered: they are in latency and accuracy; dropped and failed ones are only violations."""
    figures = summary(
        result(
            records=[
                request(101, 0.2, RequestOutcome.COMPLETED, matched=2),
                request(102, 0.4, RequestOutcome.COMPLETED),
                request(103, 1.5, RequestOutcome.LATE),
                request(104, 9.0, RequestOutcome.DROPPED, matched=0),
                request(105, 9.0, RequestOutcome.FAILED, matched=0),
            ]
        )
    )
    assert [figures[key] for key in ("requests", "completed", "late", "dropped", "failed")] == [5, 2, 1, 1, 1]
    assert figures["violation_ratio"] == pytest.approx(3 / 5)
    assert figures["latency"]["p50"] == pytest.approx(0.4)
    assert 0.4 < figures["latency"]["p99"] <= 1.5
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["start_delay"]["max"] == pytest.approx(0.01)


def test_mean_cost_weighs_plans_by_the_time_they_ran() -> None:
    """Two cores until a switch begins at 105 s, six while it lasts, as the stage that stays counts once, and five cores
    from its end at 106 s on.
    """
    run = result([decision(100, LIGHT, LIGHT, Outcome.UNCHANGED), decision(105, LIGHT, HEAVY, Outcome.APPLIED)])
    assert [(s.start, s.end) for s in timeline(run)] == [(100, 106), (106, 120)]
    assert mean_cost(run) == pytest.approx((2 * 5 + 6 * 1 + 5 * 14) / 20)


def test_a_switch_costs_both_plans_within_the_run_only() -> None:
    """Of a switch that began before the load, or ends after it, only the seconds in between are counted."""
    early = result([decision(99.5, LIGHT, HEAVY, Outcome.APPLIED)])
    assert mean_cost(early) == pytest.approx((6 * 0.5 + 5 * 19.5) / 20)
    late = result([decision(119.5, LIGHT, HEAVY, Outcome.APPLIED)])
    assert mean_cost(late) == pytest.approx((2 * 19.5 + 6 * 0.5) / 20)


def test_the_time_before_the_first_plan_costs_nothing() -> None:
    """The mean is over the time in which a plan ran."""
    run = result([decision(103, {}, HEAVY, Outcome.APPLIED)])
    assert [(s.start, s.end) for s in timeline(run)] == [(104, 120)]
    assert mean_cost(run) == pytest.approx(5)


def test_only_replacing_a_running_plan_is_a_switch() -> None:
    """The first plan, an unchanged, a held and a failed decision are none; a degraded one that changed the plan is."""
    decisions = [
        decision(100, {}, LIGHT, Outcome.APPLIED),
        decision(102, LIGHT, LIGHT, Outcome.UNCHANGED),
        decision(104, LIGHT, HEAVY, Outcome.APPLIED),
        decision(106, HEAVY, LIGHT, Outcome.HELD),
        decision(108, HEAVY, LIGHT, Outcome.FAILED),
        decision(110, HEAVY, LIGHT, Outcome.DEGRADED),
        decision(112, LIGHT, LIGHT, Outcome.DEGRADED),
    ]
    assert [is_switch(d) for d in decisions] == [False, False, True, False, False, True, False]
    figures = summary(result(decisions))
    assert (figures["decisions"], figures["switches"], figures["stage_changes"]) == (7, 2, 2)
    assert (figures["switches_up"], figures["switches_down"]) == (1, 1)
    assert changed_stages(decisions[2]) == ["detect"]


@pytest.mark.parametrize(
    ("due", "latency", "outcome", "blamed"),
    [
        (104.0, 0.5, RequestOutcome.FAILED, 0),
        (104.0, 1.5, RequestOutcome.FAILED, 1),
        (105.5, 0.1, RequestOutcome.FAILED, 1),
        (106.9, 0.5, RequestOutcome.FAILED, 1),
        (107.1, 0.5, RequestOutcome.FAILED, 0),
        (105.5, 0.1, RequestOutcome.DROPPED, 0),
    ],
)
def test_a_failure_is_blamed_on_a_switch_it_overlaps(
    due: float, latency: float, outcome: RequestOutcome, blamed: int
) -> None:
    """From the decision at 105 s until one second after its plan ran at 106 s; drops are no failures."""
    figures = summary(result([decision(105, LIGHT, HEAVY, Outcome.APPLIED)], [request(due, latency, outcome)]))
    assert figures["failed_requests_during_switches"] == blamed


def test_an_empty_run_has_a_summary() -> None:
    """No decision and no request: zero counts, None for what cannot be known, nothing said of requests; all JSON."""
    figures = json.loads(json.dumps(summary(result())))
    assert (figures["decisions"], figures["switches"], figures["mean_cost"]) == (0, 0, 0.0)
    assert (figures["expected_accuracy"], figures["expected_latency"]) == (None, {"mean": None, "max": None})
    assert figures["forecast"] == {"judged": 0, "smape": None, "coverage": None, "pinball": None}
    assert not {"requests", "violation_ratio", "latency", "accuracy", "variants"} & set(figures)


def test_requests_that_were_all_lost_have_a_summary() -> None:
    """None was answered: every one a violation, and None for latency and accuracy."""
    figures = summary(result(records=[request(101, 9.0, RequestOutcome.FAILED, matched=0)]))
    assert figures["latency"] == {"p50": None, "p99": None}
    assert (figures["accuracy"], figures["violation_ratio"]) == (None, 1.0)


def test_expectations_are_of_what_ran_weighted_by_time() -> None:
    """Five seconds of the light plan and ten of the heavy one; a plan that was only recommended, the last five, is
    expected of nothing.
    """
    decisions = [
        decision(100, LIGHT, LIGHT, Outcome.UNCHANGED),
        decision(105, LIGHT, HEAVY, Outcome.APPLIED),
        decision(115, HEAVY, LIGHT, Outcome.RECOMMENDED),
    ]
    figures = summary(result(decisions))
    assert figures["expected_accuracy"] == pytest.approx((5 * 0.4 + 10 * 0.8) / 15)
    assert figures["expected_latency"] == {"mean": pytest.approx(0.1), "max": 0.1}


def test_forecasts_are_judged_by_what_came() -> None:
    """Three forecasts of 5 requests/s for two seconds each: 4 came, then 8, and the last is not over within the run."""
    loads = {100: 4.0, 102: 4.0, 104: 8.0}
    decisions = [
        replace(one, observation=replace(one.observation, arrivals=(loads[time],) * 2))
        for time in loads
        for one in [decision(time, LIGHT, LIGHT, Outcome.UNCHANGED)]
    ]
    settings = ForecastSettings(horizon=2, quantile=0.9)
    figures = summary(replace(result(decisions), forecaster=settings))["forecast"]
    assert (figures["judged"], figures["coverage"]) == (2, 0.5)
    assert figures["smape"] == pytest.approx((1 / 4.5 + 3 / 6.5) / 2)
    assert figures["pinball"] == pytest.approx((0.1 * 1 + 0.9 * 3) / 2)


def test_the_summary_has_the_promised_keys(make_run: Callable[..., RunResult]) -> None:
    """Scripts read these keys; a made-up adaptive run fills all of them, and switches both ways."""
    figures = summary(replace(make_run(), name="adaptive"))
    promised = "requests completed late dropped violation_ratio latency accuracy mean_cost decisions switches"
    assert {*promised.split(), "failed_requests_during_switches"} <= set(figures)
    assert set(figures["latency"]) == {"p50", "p99"}
    assert figures["switches_up"] > 0
    assert figures["switches_down"] > 0


def test_answers_are_counted_by_variant_and_set_against_the_shares() -> None:
    """Two plans in turn, each for ten seconds: what each variant answered, how accurately, and how much of it the
    shares came to. Late answers count, dropped requests do not.
    """
    shares = [{"read": (Allocation("a", 1, 1, 1, part), Allocation("b", 1, 1, 1, 1 - part))} for part in (0.75, 0.25)]
    plans = [
        decision(100, shares[0], shares[0], Outcome.UNCHANGED),
        decision(109, shares[0], shares[1], Outcome.APPLIED),
    ]

    def answered(due: float, variant: str, matched: int, outcome: RequestOutcome) -> RequestRecord:
        return replace(request(due, 0.1, outcome, matched), variants={"read": variant})

    records = [
        *(answered(102, "a", 2, RequestOutcome.COMPLETED) for _ in range(5)),
        *(answered(103, "b", 0, RequestOutcome.LATE) for _ in range(3)),
        *(answered(115, "b", 1, RequestOutcome.COMPLETED) for _ in range(4)),
        request(116, 9.0, RequestOutcome.DROPPED, matched=0),
    ]
    figures = by_variant(result(plans, records))
    assert figures == {
        "read": {
            "a": {"requests": 5, "planned": pytest.approx(0.75 * 8 + 0.25 * 4), "accuracy": 1.0},
            "b": {"requests": 7, "planned": pytest.approx(0.25 * 8 + 0.75 * 4), "accuracy": pytest.approx(4 / 14)},
        }
    }
    assert summary(result(plans, records))["variants"] == figures
