"""All pipelines beside one another."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue

from docs.dashboards.panels import (
    ALARM,
    CHOSEN,
    COUNT,
    FLEET,
    MONEY,
    PIPELINE,
    RATE,
    RATIO,
    VIOLATED,
    asking,
    bars,
    figure,
    frame,
    growth,
    lines,
    of_each,
    reference,
    written,
)

CORES = f"max by (namespace, pipeline, stage, variant) (ipa_current_cores{{{CHOSEN}}})"
COLUMNS = {
    "Load": ("ipa_observed_requests_per_second", RATE),
    "Forecast": ("ipa_forecast_requests_per_second", RATE),
    "Violations": ("ipa_slo_violation_ratio", RATIO),
    "Headroom": ("ipa_slo_headroom_ratio", RATIO),
    "Accuracy": ("ipa_plan_accuracy", COUNT),
    "Cost per hour": ("ipa_current_hourly_cost", MONEY),
    "Degraded": ("ipa_plan_degraded", COUNT),
}
"""Of the table: title, metric and unit."""
CHARTS = {
    "Load": (RATE, of_each("ipa_observed_requests_per_second"), ""),
    "SLO violations": (RATIO, of_each("ipa_slo_violation_ratio"), "Of the last minute's requests."),
    "Cores": (COUNT, f"sum by (namespace, pipeline) ({CORES})", "Of what runs."),
    "Cost per hour": (MONEY, of_each("ipa_current_hourly_cost"), "By the prices in the pipeline files."),
    "SLO headroom": (RATIO, of_each("ipa_slo_headroom_ratio"), "Of the plans, by their expected latency."),
}


def fleet() -> dict[str, Any]:
    """The dashboard."""
    made = frame(FLEET, "ipa-seldon: fleet", "Every adapted pipeline: is it within its SLO, on what, at what price?")
    left_alone = f"count({of_each('ipa_graph_refused')}) or vector(0)"
    for panel in (
        figure("Pipelines", COUNT, f"count({of_each('ipa_slo_seconds')})"),
        figure("Worst violations", RATIO, f"max({of_each('ipa_slo_violation_ratio')})", VIOLATED),
        figure("Degraded", COUNT, f"sum({of_each('ipa_plan_degraded')})", ALARM, "Plans that break a promise."),
        figure("Left alone", COUNT, left_alone, ALARM, "Graphs that the adapter does not touch."),
        figure("Cores", COUNT, f"sum({CORES})"),
        figure("Cost per hour", MONEY, f"sum({of_each('ipa_current_hourly_cost')})", words="By the files' prices."),
    ):
        made.with_panel(panel)
    made.with_panel(_table())
    for title, (unit, query, words) in CHARTS.items():
        made.with_panel(lines(title, unit, [(query, "{{pipeline}}")], words))
    made.with_panel(bars("Switches", [(growth("ipa_switches_total", "namespace, pipeline", CHOSEN), "{{pipeline}}")]))
    return written(made)


def _table() -> table.Panel:
    panel = table.Panel().title("Pipelines").span(24).height(9)
    asking(panel, [(of_each(metric), title) for title, (metric, _) in COLUMNS.items()], instant=True)
    names = {f"Value #{reference(index)}": title for index, title in enumerate(COLUMNS)}
    tidy = {"excludeByName": {"Time": True}, "renameByName": names}
    panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(DataTransformerConfig(id_val="organize", options=tidy))
    for title, (_, unit) in COLUMNS.items():
        panel.override_by_name(title, [DynamicConfigValue(id_val="unit", value=unit)])
    link = {"title": "Open", "url": f"/d/{PIPELINE}?var-pipeline=${{__value.raw}}&${{__url_time_range}}"}
    return panel.override_by_name("pipeline", [DynamicConfigValue(id_val="links", value=[link])])
