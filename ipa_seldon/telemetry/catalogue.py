"""Every metric of an adapter, or of a loop on one machine: names, labels, and which series there are.

``ipa_current_*`` is what runs, or is under way, after the last round; ``ipa_desired_*`` what was decided last.
"""

from __future__ import annotations

from ipa_seldon.metric import Metric
from ipa_seldon.plan import Outcome
from ipa_seldon.telemetry.reasons import COMPONENTS, CONSTRAINTS, DIRECTIONS, LOAD_REASONS, OTHER, REASONS, REFUSALS

SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Upper bounds of a decision's buckets."""
PIPELINE = ("namespace", "pipeline")
STAGE = (*PIPELINE, "stage")
VARIANT = (*STAGE, "variant")
RUNS, DECIDED = "one per variant that runs", "one per variant of the plan decided last, once there is one"
FIRST_PLAN, SCORED, PRICED = "once a plan was decided", "once a horizon has been judged", "with spec.prices"

CURRENT_REPLICAS = Metric("ipa_current_replicas", "Replicas of the plan that runs.", VARIANT, RUNS)
CURRENT_CORES = Metric("ipa_current_cores", "Cores of the plan that runs, over all replicas.", VARIANT, RUNS)
CURRENT_GPUS = Metric("ipa_current_gpus", "GPUs of the plan that runs, over all replicas.", VARIANT, RUNS)
CURRENT_BATCH = Metric("ipa_current_batch_size", "Largest batch of the plan that runs, in requests.", VARIANT, RUNS)
CURRENT_SHARE = Metric("ipa_current_share_ratio", "Share of its stage's requests in the plan that runs.", VARIANT, RUNS)
DESIRED_REPLICAS = Metric("ipa_desired_replicas", "Replicas of the plan decided last.", VARIANT, DECIDED)
DESIRED_CORES = Metric("ipa_desired_cores", "Cores of the plan decided last, over all replicas.", VARIANT, DECIDED)
DESIRED_GPUS = Metric("ipa_desired_gpus", "GPUs of the plan decided last, over all replicas.", VARIANT, DECIDED)
DESIRED_BATCH = Metric(
    "ipa_desired_batch_size", "Largest batch of the plan decided last, in requests.", VARIANT, DECIDED
)
DESIRED_SHARE = Metric(
    "ipa_desired_share_ratio", "Share of its stage's requests in the plan decided last.", VARIANT, DECIDED
)
WAITING = Metric(
    "ipa_stage_waiting", "1 for a stage that is not as planned yet.", STAGE, "one per stage that is waited for"
)

OBSERVED = Metric(
    "ipa_observed_requests_per_second",
    "Mean load over the last interval between rounds.",
    PIPELINE,
    "once a second of it was measured",
)
FORECAST = Metric(
    "ipa_forecast_requests_per_second",
    "Load planned for: the peak forecast for the horizon, at the wanted quantile.",
    PIPELINE,
    "once one was made",
)
SMAPE = Metric(
    "ipa_forecast_smape_ratio",
    "Mean of |y - p| / ((y + p) / 2) over the last hour's forecasts p of peaks y: 0 to 2.",
    PIPELINE,
    SCORED,
)
COVERAGE = Metric(
    "ipa_forecast_coverage_ratio", "Share of the last hour's forecasts that were not too low.", PIPELINE, SCORED
)
QUANTILE = Metric(
    "ipa_forecast_quantile_ratio", "What the coverage should be.", PIPELINE, "unless forecaster.quantile is none"
)
JUDGED = Metric("ipa_forecasts_judged_total", "Forecasts whose horizon is over and was measured.", PIPELINE)

DECISIONS = Metric("ipa_decisions_total", "Rounds, by how they ended and why.", (*PIPELINE, "outcome", "reason"))
LIMITED = Metric("ipa_limited_total", "Rounds in which a constraint kept a better plan out.", (*PIPELINE, "constraint"))
SWITCHES = Metric(
    "ipa_switches_total",
    "Plans put in the place of another: to more, fewer or as many cores.",
    (*PIPELINE, "direction"),
)
ERRORS = Metric("ipa_errors_total", "Faults of the loop, by where they arose.", (*PIPELINE, "component"))
DECISION_SECONDS = Metric("ipa_decision_seconds", "Time of a round's forecast and decision.", PIPELINE, buckets=SECONDS)
SOLVER_SECONDS = Metric(
    "ipa_solver_seconds", "Time of a round's options, solver and explanation.", PIPELINE, buckets=SECONDS
)
APPLY_SECONDS = Metric("ipa_apply_seconds", "Time the platform took over a new plan.", PIPELINE, buckets=SECONDS)
GAP = Metric(
    "ipa_optimality_gap_ratio",
    "How far the plan may be from the best one: 0 unless the solver ran out of time.",
    PIPELINE,
    FIRST_PLAN,
)

SLO = Metric("ipa_slo_seconds", "End-to-end latency that the SLO allows.", PIPELINE)
OBJECTIVE = Metric("ipa_slo_objective_ratio", "Share of the requests that must be within the SLO.", PIPELINE)
VIOLATIONS = Metric(
    "ipa_slo_violation_ratio",
    "Share of the last minute's requests that missed the SLO, by the source of the load.",
    PIPELINE,
    "while there are requests and the source tells",
)
EXPECTED_LATENCY = Metric(
    "ipa_expected_latency_seconds",
    "Latency predicted for the plan decided last at the load planned for, at the SLO's percentile.",
    PIPELINE,
    FIRST_PLAN,
)
HEADROOM = Metric(
    "ipa_slo_headroom_ratio", "1 - expected latency / SLO; negative: the SLO is missed.", PIPELINE, FIRST_PLAN
)
ACCURACY = Metric("ipa_plan_accuracy", "Of the plan decided last, in the measure of the file.", PIPELINE, FIRST_PLAN)
CAPACITY = Metric(
    "ipa_plan_capacity_requests_per_second", "Load that the plan decided last carries.", PIPELINE, FIRST_PLAN
)
DEGRADED = Metric("ipa_plan_degraded", "1 while the plan decided last breaks a promise.", PIPELINE, FIRST_PLAN)
CURRENT_COST = Metric(
    "ipa_current_hourly_cost", "Of the plan that runs, in the currency of spec.prices.", PIPELINE, PRICED
)
DESIRED_COST = Metric(
    "ipa_desired_hourly_cost",
    "Of the plan decided last, in the currency of spec.prices.",
    PIPELINE,
    f"{PRICED}, {FIRST_PLAN}",
)

LAST_DECISION = Metric(
    "ipa_last_decision_timestamp_seconds", "When the last round began.", PIPELINE, "once a round has ended"
)
LAST_LOAD = Metric(
    "ipa_last_load_timestamp_seconds", "End of the last second whose load was measured.", PIPELINE, "once one was"
)
INTERVAL = Metric("ipa_decision_interval_seconds", "Time between rounds, as the file has it.", PIPELINE)
MODE = Metric("ipa_mode", "1 for the mode in force.", (*PIPELINE, "mode"))
REFUSED = Metric(
    "ipa_graph_refused", "1 while the graph is left alone, by reason.", (*PIPELINE, "reason"), "while it is left alone"
)
FALLBACK = Metric(
    "ipa_fallback_active",
    "1 while the fallback is in force because the load is not measured.",
    PIPELINE,
    "once a round has ended",
)
LOAD_FAULTS = Metric(
    "ipa_load_faults_total", "Rounds with whose load something was the matter, by what.", (*PIPELINE, "reason")
)

CURRENT = {
    "replicas": CURRENT_REPLICAS,
    "cores": CURRENT_CORES,
    "gpus": CURRENT_GPUS,
    "batch": CURRENT_BATCH,
    "share": CURRENT_SHARE,
}
DESIRED = {
    "replicas": DESIRED_REPLICAS,
    "cores": DESIRED_CORES,
    "gpus": DESIRED_GPUS,
    "batch": DESIRED_BATCH,
    "share": DESIRED_SHARE,
}
OF_PIPELINE = (
    *(*CURRENT.values(), *DESIRED.values(), WAITING),
    *(OBSERVED, FORECAST, SMAPE, COVERAGE, QUANTILE, JUDGED),
    *(DECISIONS, LIMITED, SWITCHES, ERRORS, DECISION_SECONDS, SOLVER_SECONDS, APPLY_SECONDS, GAP),
    *(SLO, OBJECTIVE, VIOLATIONS, EXPECTED_LATENCY, HEADROOM, ACCURACY, CAPACITY, DEGRADED),
    *(CURRENT_COST, DESIRED_COST, LAST_DECISION, LAST_LOAD, INTERVAL, MODE, REFUSED, FALLBACK, LOAD_FAULTS),
)
"""Of each pipeline that is adapted; all go with it."""

_AT_ONCE = {
    DECISIONS: sum(len(reasons) for reasons in REASONS.values()),
    LIMITED: len(CONSTRAINTS),
    SWITCHES: len(DIRECTIONS),
    ERRORS: len(COMPONENTS),
    LOAD_FAULTS: len(LOAD_REASONS),
}
"""Series of metrics that have labels of their own, where that is not one at a time."""


def most_series(stages: int, variants: int) -> int:
    """The most series that a pipeline has at a time, by its stages, and variants in all of them."""
    of = {PIPELINE: 1, STAGE: stages, VARIANT: variants}
    # A histogram has a series per bound, one for infinity, the count and the sum.
    return sum(
        _AT_ONCE.get(metric, of.get(metric.labels, 1)) * (len(metric.buckets) + 3 if metric.buckets else 1)
        for metric in OF_PIPELINE
    )


LEADER = Metric("ipa_adapter_leader", "1 while this adapter acts.", ("namespace",), "on a cluster")
CALLS = Metric(
    "ipa_adapter_api_calls_total",
    "Calls of the API server.",
    ("namespace", "verb", "resource", "code"),
    "on a cluster, one per call that was made",
)
ADAPTER_ERRORS = Metric(
    "ipa_adapter_errors_total",
    "Faults in keeping the lease, or in looking for pipelines.",
    ("namespace", "component"),
    "on a cluster, once there was one",
)
INVALID = Metric(
    "ipa_adapter_source_invalid",
    "1 for a pipeline file, or ConfigMap, that is refused.",
    ("namespace", "source"),
    "on a cluster, one per file",
)
OF_ADAPTER = (LEADER, CALLS, ADAPTER_ERRORS, INVALID)
"""Of the process."""

VALUES = {
    **{f"reason, {outcome} of {DECISIONS.name}": REASONS[outcome] for outcome in Outcome},
    f"reason of {REFUSED.name}": (*REFUSALS.values(), OTHER),
    f"reason of {LOAD_FAULTS.name}": LOAD_REASONS,
    "constraint": CONSTRAINTS,
    "direction": DIRECTIONS,
    f"component of {ERRORS.name}": COMPONENTS,
    f"component of {ADAPTER_ERRORS.name}": ("lease", "pipelines"),
    "mode": ("active", "recommend"),
}
"""Whose values, and which."""
