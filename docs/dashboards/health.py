"""Of the solver and the adapter: whether the loops run, how long they take, and what goes wrong."""

from __future__ import annotations

from typing import Any

from docs.dashboards.panels import (
    ALARM,
    AMBER,
    CHOSEN,
    COUNT,
    GREEN,
    HEALTH,
    LATE,
    PERCENTILES,
    RATE,
    RATIO,
    RED,
    SECONDS,
    bars,
    figure,
    frame,
    growth,
    lines,
    of_each,
    percentile,
    written,
)

AGE = f"time() - {of_each('ipa_last_decision_timestamp_seconds')}"
OVERDUE = f"clamp_min(max({AGE} - {of_each('ipa_decision_interval_seconds')}), 0)"
UNMEASURED = f"max(time() - {of_each('ipa_last_load_timestamp_seconds')})"
REFUSED = "sum(ipa_adapter_source_invalid) or vector(0)"
FALLBACKS = f"sum({of_each('ipa_fallback_active')}) or vector(0)"
TIMES = {
    "Decision time": ("ipa_decision_seconds", "Forecast and decision."),
    "Solver time": ("ipa_solver_seconds", "Options, solver and explanation."),
    "Time to apply a plan": ("ipa_apply_seconds", "That the platform took."),
}


def health() -> dict[str, Any]:
    """The dashboard."""
    made = frame(HEALTH, "ipa-seldon: adapter health", "Do the loops run, how long do they take, what goes wrong?")
    leaders, one = "sum(ipa_adapter_leader) or vector(0)", [(None, RED), (1, GREEN), (2, RED)]
    gap = f"max({of_each('ipa_optimality_gap_ratio')})"
    for panel in (
        figure("Adapters that lead", COUNT, leaders, one, "1 on a cluster; without one 0."),
        figure("Latest decision overdue by", SECONDS, OVERDUE, LATE),
        figure("Oldest load", SECONDS, UNMEASURED, LATE, "How long a pipeline's load has not been measured."),
        figure("Refused files", COUNT, REFUSED, ALARM, "Pipeline files that are not followed."),
        figure("Fallbacks in force", COUNT, FALLBACKS, ALARM, "Pipelines whose load is not measured."),
        figure("Optimality gap", RATIO, gap, [(None, GREEN), (0.01, AMBER)], "Above 0: a solver ran out of time."),
    ):
        made.with_panel(panel)
    for title, (metric, words) in TIMES.items():
        times = [(percentile(p, metric, CHOSEN), name) for name, p in PERCENTILES.items()]
        made.with_panel(lines(title, SECONDS, times, words, width=8))
    errors = f"{growth('ipa_errors_total', 'component', CHOSEN)} or {growth('ipa_adapter_errors_total', 'component')}"
    made.with_panel(bars("Errors", [(errors, "{{component}}")]))
    made.with_panel(bars("Decisions", [(growth("ipa_decisions_total", "outcome", CHOSEN), "{{outcome}}")]))
    calls = "sum by (verb, code) (rate(ipa_adapter_api_calls_total[$__rate_interval])) or vector(0)"
    made.with_panel(lines("Calls of the Kubernetes API", RATE, [(calls, "{{verb}} {{code}}")]))
    sidecars = [("min by (pipeline, stage) (ipa_sidecar_in_sync) or vector(1)", "{{pipeline}} {{stage}}")]
    made.with_panel(lines("Sidecars", COUNT, sidecars, "1 while every pod of a stage runs what the plan wants.").min(0))
    return written(made)
