"""Metrics of the loop: what they say, that they are as catalogued, and that what is gone is not told of."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ipa_seldon.config import Config, read_config
from ipa_seldon.errors import LoadReason, PlatformError
from ipa_seldon.plan import (
    Allocation,
    Decision,
    LoadHealth,
    Observation,
    Outcome,
    Plan,
    Proposal,
    Status,
    allocated_cores,
    is_switch,
    plan_in_force,
)
from ipa_seldon.telemetry.audit import read_audit_log
from ipa_seldon.telemetry.catalogue import OF_ADAPTER, OF_PIPELINE, most_series
from ipa_seldon.telemetry.metrics import AdapterMetrics
from ipa_seldon.telemetry.reasons import COMPONENTS, CONSTRAINTS, REASONS, REFUSALS
from tests.expositions import assert_catalogued, families, samples
from tests.telemetry.test_audit import log_a_run
from tests.test_config import changed, document, write

SMALL: Plan = {
    "crop": (Allocation("yolov5n", 1, 1, 1),),
    "classification": (Allocation("resnet18", 2, 1, 4),),
}
LARGE: Plan = {
    "crop": (Allocation("yolov5n", 1, 1, 1, 0.25), Allocation("yolov5s", 3, 2, 2, 0.75)),
    "classification": (Allocation("resnet18", 2, 1, 4),),
}
WORDS = {Outcome.REFUSED: "apply: Paused: for the night", Outcome.FAILED: "apply: did not follow"}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Two stages, three variants, an SLO of 6.89 s, prices."""
    return read_config(write(tmp_path, changed("spec.prices", {"cpu_hourly_cost": 0.5})))


def decided(before: Plan, after: Plan, outcome: Outcome = Outcome.APPLIED, now: float = 100.0) -> Decision:
    """A round at a load of 4 requests/s, for which 5 were forecast."""
    proposal = Proposal(
        plan=after,
        status=Status.DEGRADED if outcome is Outcome.DEGRADED else Status.OPTIMAL,
        objective=1.0,
        accuracy=0.4,
        cost=allocated_cores(after),
        latency=1.0,
        served=6.5,
        solver="highs",
        why={"binding": "slo"},
        gap=0.125,
    )
    observation = Observation(now, (*[4.0] * 20, math.nan), before)
    return Decision(observation, outcome, 5.0, proposal, WORDS.get(outcome, ""), 0.03, 0.2, 0.02)


def scraped(metrics: AdapterMetrics) -> dict[tuple[str, ...], float]:
    """As of ``samples``."""
    return samples(metrics.exposition().decode())


def of_variants(found: Mapping[tuple[str, ...], float], name: str) -> dict[tuple[str, str], float]:
    """A metric's values by stage and variant."""
    return {(key[3], key[4]): value for key, value in found.items() if key[0] == name}


def test_a_run_is_told_as_catalogued(tmp_path: Path) -> None:
    """Over a real run with faults, gaps and damping: names, types, words and labels are the catalogue's, promtool has
    no complaint, and counters and gauges agree with the log.
    """
    config, path = log_a_run(tmp_path, "last", prices={"cpu_hourly_cost": 0.5, "gpu_hourly_cost": 1.0})
    decisions = read_audit_log(path)[2]
    metrics = AdapterMetrics("models")
    metrics.add(config)
    metrics.leads(True)
    metrics.called("patch", "deployments/scale", 200)
    metrics.stumbled("lease")
    metrics.judged('a "quoted"\\name', refused=True)
    for decision in decisions:
        metrics.decided("video", decision, 0.25)
    metrics.stands("video", "Paused", ["crop"])
    text = metrics.exposition().decode()
    assert_catalogued(text, (*OF_PIPELINE, *OF_ADAPTER))
    assert set(families(text)) == {metric.name for metric in (*OF_PIPELINE, *OF_ADAPTER)}
    found = samples(text)
    at = ("models", "video")
    for outcome in Outcome:
        counted = sum(v for k, v in found.items() if k[0] == "ipa_decisions_total" and k[2] == outcome)
        assert counted == sum(decision.outcome is outcome for decision in decisions)
    switches = sum(v for k, v in found.items() if k[0] == "ipa_switches_total")
    assert switches == sum(map(is_switch, decisions)) > 0
    last = decisions[-1]
    assert last.proposal is not None
    running = plan_in_force(last)
    assert of_variants(found, "ipa_current_cores") == {
        (stage, one.variant): one.replicas * one.cores for stage, allocations in running.items() for one in allocations
    }
    assert found["ipa_current_hourly_cost", *at] == 0.5 * allocated_cores(running)
    assert found["ipa_plan_accuracy", *at] == last.proposal.accuracy
    assert found["ipa_decision_seconds_count", *at] == sum(d.proposal is not None for d in decisions)
    assert found["ipa_forecasts_judged_total", *at] > 20


def test_what_a_round_tells(config: Config) -> None:
    """Each figure of a decision, in base units."""
    metrics = AdapterMetrics()
    metrics.add(config)
    metrics.decided("video", decided(SMALL, LARGE, now=100.5), violations=0.03)
    found = scraped(metrics)
    told = {key[0]: value for key, value in found.items() if key[1:] == ("", "video")}
    assert told == told | {
        "ipa_observed_requests_per_second": 4.0,
        "ipa_forecast_requests_per_second": 5.0,
        "ipa_forecast_quantile_ratio": 0.95,
        "ipa_slo_seconds": 6.89,
        "ipa_slo_objective_ratio": 0.99,
        "ipa_slo_violation_ratio": 0.03,
        "ipa_expected_latency_seconds": 1.0,
        "ipa_slo_headroom_ratio": pytest.approx(1 - 1 / 6.89),
        "ipa_plan_accuracy": 0.4,
        "ipa_plan_capacity_requests_per_second": 6.5,
        "ipa_plan_degraded": 0.0,
        "ipa_optimality_gap_ratio": 0.125,
        "ipa_current_hourly_cost": 4.5,
        "ipa_desired_hourly_cost": 4.5,
        "ipa_last_decision_timestamp_seconds": 100.5,
        "ipa_last_load_timestamp_seconds": 99.0,
        "ipa_decision_interval_seconds": 10.0,
        "ipa_decision_seconds_sum": 0.03,
        "ipa_solver_seconds_sum": 0.02,
        "ipa_apply_seconds_sum": 0.2,
    }
    assert found["ipa_decisions_total", "", "applied", "video", "better_plan"] == 1
    assert found["ipa_limited_total", "slo", "", "video"] == 1
    assert found["ipa_switches_total", "up", "", "video"] == 1
    assert found["ipa_mode", "active", "", "video"] == 1
    shares = {("crop", "yolov5n"): 0.25, ("crop", "yolov5s"): 0.75, ("classification", "resnet18"): 1.0}
    assert of_variants(found, "ipa_current_share_ratio") == of_variants(found, "ipa_desired_share_ratio") == shares
    assert of_variants(found, "ipa_current_cores")["crop", "yolov5s"] == 6
    assert of_variants(found, "ipa_current_batch_size")["classification", "resnet18"] == 4


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.RECOMMENDED, Outcome.FAILED])
def test_what_is_wanted_is_told_apart_from_what_runs(config: Config, outcome: Outcome) -> None:
    """A plan that is not put in place is desired; what ran is current still, and its cost too."""
    metrics = AdapterMetrics()
    metrics.add(config)
    metrics.decided("video", decided(SMALL, LARGE, outcome))
    found = scraped(metrics)
    assert of_variants(found, "ipa_current_replicas") == {("crop", "yolov5n"): 1, ("classification", "resnet18"): 2}
    assert of_variants(found, "ipa_desired_replicas")["crop", "yolov5s"] == 3
    assert (found["ipa_current_hourly_cost", "", "video"], found["ipa_desired_hourly_cost", "", "video"]) == (1.5, 4.5)
    failed = found["ipa_errors_total", "apply", "", "video"]
    assert failed == (outcome is Outcome.FAILED)


def test_a_round_that_saw_nothing_changes_nothing_but_counts(config: Config) -> None:
    """While the platform is out of reach, the plan and the time of the last load stay as they were; load and missed
    requests are not known.
    """
    metrics = AdapterMetrics()
    metrics.add(config)
    metrics.decided("video", decided(SMALL, LARGE), violations=0.5)
    before = scraped(metrics)
    metrics.decided("video", Decision(Observation(110.0, (), {}), Outcome.FAILED, error="observe: out of reach"))
    after = scraped(metrics)
    gone = {key[0] for key in set(before) - set(after)}
    assert gone == {"ipa_observed_requests_per_second", "ipa_slo_violation_ratio"}
    changed_values = {key for key in after if after[key] != before[key]}
    assert changed_values == {
        ("ipa_decisions_total", "", "failed", "video", "observe"),
        ("ipa_errors_total", "observe", "", "video"),
        ("ipa_last_decision_timestamp_seconds", "", "video"),
    }


def test_without_prices_nothing_costs(tmp_path: Path) -> None:
    """No series, rather than one that says zero."""
    metrics = AdapterMetrics()
    metrics.add(read_config(write(tmp_path, document())))
    metrics.decided("video", decided(SMALL, LARGE))
    assert "hourly_cost" not in metrics.exposition().decode()


def test_forecasts_are_judged_by_what_came(config: Config) -> None:
    """A load of 10 for which 12 was forecast: an error of 2/11 each time, all covered; then 8 for 10, an error of 2/9,
    covers none. Nothing is told before the first horizon is over.
    """
    metrics = AdapterMetrics()
    metrics.add(config)
    at = ("", "video")

    def rounds(forecast: float, ticks: range) -> dict[tuple[str, ...], float]:
        for tick in ticks:
            seen = Observation(10.0 * tick, (10.0,) * 60, SMALL)
            metrics.decided("video", replace(decided(SMALL, SMALL, Outcome.UNCHANGED), observation=seen, rate=forecast))
        return scraped(metrics)

    assert ("ipa_forecast_smape_ratio", *at) not in rounds(12.0, range(2))
    found = rounds(12.0, range(2, 12))  # the horizon of 20 s is over for those of rounds 0 to 9
    assert found["ipa_forecasts_judged_total", *at] == 10
    assert found["ipa_forecast_smape_ratio", *at] == pytest.approx(2 / 11)
    assert found["ipa_forecast_coverage_ratio", *at] == 1
    found = rounds(8.0, range(12, 24))
    assert found["ipa_forecasts_judged_total", *at] == 22
    assert found["ipa_forecast_smape_ratio", *at] == pytest.approx((12 * 2 / 11 + 10 * 2 / 9) / 22)
    assert found["ipa_forecast_coverage_ratio", *at] == pytest.approx(12 / 22)


def test_variants_and_pipelines_that_are_gone_have_no_series(config: Config) -> None:
    """What a plan has no more is not told of, and of a pipeline that is removed not a line is left, whatever was; the
    others stay.
    """
    metrics = AdapterMetrics()
    other = replace(config, document=config.document.model_copy(update={"metadata": named("other")}))
    for one in (config, other):
        metrics.add(one)
        metrics.decided(one.name, decided(SMALL, LARGE), violations=0.1)
        metrics.stands(one.name, "Rolling", ["crop", "classification"])
    assert metrics.exposition().decode().count('variant="yolov5s"') == 20
    metrics.decided("video", decided(LARGE, SMALL), violations=None)
    metrics.stands("video", "", [])
    of_video = [line for line in metrics.exposition().decode().splitlines() if 'pipeline="video"' in line]
    for word in ("yolov5s", "ipa_graph_refused", "ipa_stage_waiting", "ipa_slo_violation_ratio"):
        assert not [line for line in of_video if word in line]
    metrics.remove("video")
    text = metrics.exposition().decode()
    assert "video" not in text
    assert text.count('variant="yolov5s"') == 10
    metrics.remove("other")
    assert "other" not in metrics.exposition().decode()


def named(name: str) -> object:
    """The metadata of a pipeline of another name."""
    from ipa_seldon.schema import MetadataSpec

    return MetadataSpec(name=name)


def test_a_load_that_is_missing(config: Config) -> None:
    """Each round counts what is the matter with its load, and whether the fallback is in force."""
    metrics = AdapterMetrics("models")
    metrics.add(config)
    healths = [LoadHealth(LoadReason.GAP, "w"), *(LoadHealth(LoadReason.STALE, "w", n, n >= 2) for n in (1, 2, 3))]
    for health in healths:
        metrics.decided("video", Decision(Observation(100.0, (), LARGE), Outcome.NO_DATA, load=health))
    found, of = scraped(metrics), ("models", "video")
    faults = {reason: found["ipa_load_faults_total", *of, reason] for reason in LoadReason}
    assert faults == dict.fromkeys(LoadReason, 0) | {LoadReason.GAP: 1, LoadReason.STALE: 3}
    assert found["ipa_fallback_active", *of] == 1
    metrics.decided("video", Decision(Observation(110.0, (), LARGE), Outcome.UNCHANGED))
    assert scraped(metrics)["ipa_fallback_active", *of] == 0


def test_the_number_of_series_is_bounded(config: Config) -> None:
    """Whatever is decided, said, refused and broken, a pipeline has no more series than the bound, which is reached."""
    metrics = AdapterMetrics()
    metrics.add(config)
    whole = {**LARGE}
    for tick, (outcome, binding) in enumerate((o, b) for o in Outcome for b in (*CONSTRAINTS, "new", "none", None)):
        for words in (*REFUSALS, *COMPONENTS, f"never heard {tick}"):
            base = decided(whole, whole, outcome, now=10.0 * tick + 100)
            assert base.proposal is not None
            proposal = replace(base.proposal, why={"binding": binding}, reason=words, held=True)
            error = f"apply: {words}" if outcome is Outcome.REFUSED else WORDS.get(outcome, "")
            metrics.decided("video", replace(base, proposal=proposal, error=error), violations=0.1)
            metrics.stands("video", words, whole)
    stages, variants = 2, 3
    assert len(scraped(metrics)) == most_series(stages, variants)
    assert most_series(stages, variants) < 200


def test_a_scrape_never_sees_half_a_plan(config: Config) -> None:
    """While rounds end in another thread, every scrape shows one plan whole: current and desired, of all stages."""
    metrics = AdapterMetrics()
    metrics.add(config)
    metrics.decided("video", decided(LARGE, SMALL))
    stopping = threading.Event()

    def decide() -> None:
        plans = [SMALL, LARGE]
        while not stopping.is_set():
            metrics.decided("video", decided(plans[0], plans[1]))
            plans.reverse()

    thread = threading.Thread(target=decide)
    thread.start()
    seen = set()
    try:
        for _ in range(200):
            found = scraped(metrics)
            running = of_variants(found, "ipa_current_cores")
            assert running == of_variants(found, "ipa_desired_cores")
            assert found["ipa_current_hourly_cost", "", "video"] == 0.5 * sum(running.values())
            seen.add(tuple(sorted(running)))
    finally:
        stopping.set()
        thread.join()
    assert len(seen) == 2


def test_what_the_source_of_load_does_not_tell_is_counted(config: Config) -> None:
    """Its share of missed requests is told as it says; where it fails, that is an error of its own and no series."""
    metrics = AdapterMetrics()
    metrics.add(config)

    def fails(now: float) -> float | None:
        raise PlatformError("no answer within 5 s")

    metrics.listener("video", lambda now: now / 1000)(decided(SMALL, LARGE))
    assert scraped(metrics)["ipa_slo_violation_ratio", "", "video"] == 0.1
    metrics.listener("video", fails)(decided(SMALL, LARGE))
    found = scraped(metrics)
    assert ("ipa_slo_violation_ratio", "", "video") not in found
    assert found["ipa_errors_total", "load", "", "video"] == 1
    metrics.listener("video", fails)(Decision(Observation(0.0, (), {}), Outcome.FAILED, error="observe: away"))
    assert scraped(metrics)["ipa_errors_total", "load", "", "video"] == 1


def test_first_of_a_kind_are_seen_to_grow() -> None:
    """Every outcome has a reason, and no reason comes twice: its series begin at zero when a pipeline is added."""
    assert set(REASONS) == set(Outcome)
    for reasons in REASONS.values():
        assert len(reasons) == len(set(reasons)) > 0


def test_counters_begin_at_zero(config: Config) -> None:
    """All of them, so that the first event is a growth; gauges that nothing is known for are not there."""
    metrics = AdapterMetrics()
    metrics.add(config)
    found = scraped(metrics)
    for outcome, reasons in REASONS.items():
        for reason in reasons:
            assert found["ipa_decisions_total", "", outcome, "video", reason] == 0
    assert all(found["ipa_errors_total", component, "", "video"] == 0 for component in COMPONENTS)
    assert "ipa_plan_accuracy" not in metrics.exposition().decode()


def test_files_that_are_refused_and_gone(config: Config) -> None:
    """A file that is refused is 1, a sound one 0, one that is not there any more has no series; a fault of a pipeline
    that is not adapted is nobody's.
    """
    metrics = AdapterMetrics("models")
    metrics.judged("one", refused=True)
    metrics.judged("two", refused=False)
    metrics.failed("nobody", "loop")
    found = scraped(metrics)
    assert found == {
        ("ipa_adapter_source_invalid", "models", "one"): 1,
        ("ipa_adapter_source_invalid", "models", "two"): 0,
    }
    metrics.gone("one")
    assert set(scraped(metrics)) == {("ipa_adapter_source_invalid", "models", "two")}


def test_a_hundred_pipelines_are_told_apart(config: Config) -> None:
    """Each has its own values, in one family of every name."""
    metrics = AdapterMetrics()
    rates = np.random.default_rng(0).uniform(1, 100, 100)
    for number, rate in enumerate(rates.tolist()):
        one = replace(config, document=config.document.model_copy(update={"metadata": named(f"p{number}")}))
        metrics.add(one)
        metrics.decided(one.name, replace(decided(SMALL, LARGE), rate=rate))
    text = metrics.exposition().decode()
    assert_catalogued(text, (*OF_PIPELINE, *OF_ADAPTER))
    found = samples(text)
    assert [found["ipa_forecast_requests_per_second", "", f"p{number}"] for number in range(100)] == rates.tolist()
