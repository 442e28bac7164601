"""Everything about one pipeline: its load, its plan, what came of it, and why."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import dashboard

from docs.dashboards.panels import (
    AMBER,
    CHOSEN,
    COUNT,
    GREEN,
    MONEY,
    ONE,
    PERCENTILES,
    PIPELINE,
    RATE,
    RATIO,
    RED,
    SECONDS,
    VIOLATED,
    bars,
    dashed,
    figure,
    frame,
    growth,
    lines,
    of_one,
    percentile,
    timeline,
    variable,
    written,
)

VARIANT = "{{stage}}: {{variant}}"
GATEWAY = ("ipa_gateway_request_seconds", 'pipeline="$pipeline"')
EXECUTOR = ("seldon_api_executor_server_requests_seconds", 'deployment_name="$pipeline"')
PARTS = {
    "Replicas": ("ipa_current_replicas", "Which variants run, and how many replicas of each."),
    "Batch size": ("ipa_current_batch_size", "Largest batch of what runs."),
    "Cores": ("ipa_current_cores", "Over all replicas of what runs."),
}
"""Of a plan, over time."""
MADE = f'ipa_decisions_total{{{ONE},outcome=~"applied|degraded|failed"}}'
DECISIONS = {
    "name": "Decisions",
    "datasource": {"type": "prometheus", "uid": "${datasource}"},
    "enable": True,
    "iconColor": "blue",
    "expr": f"sum by (outcome, reason) (increase({MADE}[$__rate_interval])) > 0",
    "step": "15s",
    "titleFormat": "{{outcome}}",
    "textFormat": "{{reason}}",
    "tagKeys": "outcome,reason",
}
"""With their reasons, as marks on every chart. (An annotation of the SDK has no format.)"""


def pipeline() -> dict[str, Any]:
    """The dashboard."""
    made = frame(PIPELINE, "ipa-seldon: pipeline", "One pipeline: its load, its plan, what came of it, and why.")
    made.with_variable(variable("pipeline", f"ipa_slo_seconds{{{CHOSEN}}}"))
    headroom = [(None, RED), (0, AMBER), (0.1, GREEN)]
    for panel in (
        figure("SLO", SECONDS, of_one("ipa_slo_seconds")),
        figure("Headroom", RATIO, of_one("ipa_slo_headroom_ratio"), headroom, "Of the plan, by its expected latency."),
        figure("Violations", RATIO, of_one("ipa_slo_violation_ratio"), VIOLATED, "Of the last minute's requests."),
        figure("Accuracy", COUNT, of_one("ipa_plan_accuracy"), words="In the measure of the pipeline file."),
        figure("Cores", COUNT, f"sum({of_one('ipa_current_cores', 'stage', 'variant')})"),
        figure("Cost per hour", MONEY, of_one("ipa_current_hourly_cost"), words="By the prices in the pipeline file."),
    ):
        made.with_panel(panel)
    _load_and_plan(made)
    _outcome(made)
    _decisions(made)
    return written(made, DECISIONS)


def _load_and_plan(made: dashboard.Dashboard) -> None:
    made.with_row(dashboard.Row("Load and plan"))
    load = [
        (of_one("ipa_observed_requests_per_second"), "observed"),
        (of_one("ipa_forecast_requests_per_second"), "forecast"),
        (of_one("ipa_plan_capacity_requests_per_second"), "plan carries"),
    ]
    words = "The forecast is the peak of the horizon, at the wanted quantile."
    made.with_panel(dashed(lines("Load and forecast", RATE, load, words, width=24), "forecast", "plan carries"))
    for title, (metric, words) in PARTS.items():
        made.with_panel(timeline(title, [(of_one(metric, "stage", "variant"), VARIANT)], words))
    shares = [(of_one("ipa_current_share_ratio", "stage", "variant"), VARIANT)]
    made.with_panel(lines("Share of requests", RATIO, shares, "Of each variant that runs."))
    # A stage that is as planned has no series.
    waiting = f"{of_one('ipa_stage_waiting', 'stage')} or 0 * {of_one('ipa_current_replicas', 'stage')}"
    made.with_panel(lines("Stages that are not as planned yet", COUNT, [(waiting, "{{stage}}")]))


def _outcome(made: dashboard.Dashboard) -> None:
    made.with_row(dashboard.Row("What came of it"))
    latency = [
        *((f"{percentile(p, *GATEWAY)} or {percentile(p, *EXECUTOR)}", name) for name, p in PERCENTILES.items()),
        (of_one("ipa_slo_seconds"), "SLO"),
        (of_one("ipa_expected_latency_seconds"), "expected"),
    ]
    words = "As the gateway measures it, else Seldon's executor. Expected: of the plan, at the percentile of the SLO."
    made.with_panel(dashed(lines("Latency against SLO", SECONDS, latency, words), "SLO", "expected"))
    missed = [(of_one("ipa_slo_violation_ratio"), "missed"), (f"1 - {of_one('ipa_slo_objective_ratio')}", "allowed")]
    made.with_panel(dashed(lines("SLO violations", RATIO, missed, "Of the last minute's requests."), "allowed"))
    made.with_panel(lines("Accuracy", COUNT, [(of_one("ipa_plan_accuracy"), "of the plan")]))
    cost = [(of_one("ipa_current_hourly_cost"), "current"), (of_one("ipa_desired_hourly_cost"), "desired")]
    made.with_panel(dashed(lines("Cost per hour", MONEY, cost, "By the prices in the pipeline file."), "desired"))
    batch = "rate(nv_inference_count[$__rate_interval]) / (rate(nv_inference_exec_count[$__rate_interval]) > 0)"
    batches = [(f"avg by (model, version) ({batch})", "{{model}} {{version}}")]
    made.with_panel(lines("Requests in a batch", COUNT, batches, "That Triton formed, on the mean, of every model."))
    stages = percentile("0.99", "ipa_gateway_stage_seconds", GATEWAY[1], "stage")
    made.with_panel(lines("p99 of a stage", SECONDS, [(stages, "{{stage}}")], "With its queue, by the gateway."))


def _decisions(made: dashboard.Dashboard) -> None:
    made.with_row(dashboard.Row("Decisions"))
    reasons = [(f"{growth('ipa_decisions_total', 'outcome, reason', ONE)} > 0", "{{outcome}}: {{reason}}")]
    made.with_panel(bars("Decisions", reasons, "By outcome and reason, which docs/metrics.md lists."))
    limits = [(growth("ipa_limited_total", "constraint", ONE), "{{constraint}}")]
    made.with_panel(bars("What kept a better plan out", limits))
    switches = [(growth("ipa_switches_total", "direction", ONE), "{{direction}}")]
    made.with_panel(bars("Switches", switches, "To more, fewer or as many cores."))
    forecast = [
        (of_one("ipa_forecast_coverage_ratio"), "coverage"),
        (of_one("ipa_forecast_quantile_ratio"), "wanted coverage"),
        (of_one("ipa_forecast_smape_ratio"), "sMAPE"),
    ]
    words = "Over the last hour. Coverage: the share of forecasts that were not too low."
    made.with_panel(dashed(lines("Forecast quality", RATIO, forecast, words), "wanted coverage"))
