"""What the dashboards are made of: queries, panels, and the frame that all have.

Series are taken with ``max by``: two adapters of which one has just taken over may both have one for a moment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import GraphDrawStyle, LineStyle, StackingMode, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "ipa-seldon"
FLEET, PIPELINE, HEALTH = "ipa-seldon-fleet", "ipa-seldon-pipeline", "ipa-seldon-health"
CHOSEN = 'namespace=~"$namespace"'
ONE = f'{CHOSEN},pipeline="$pipeline"'
COUNT, RATE, SECONDS, RATIO, MONEY = "short", "reqps", "s", "percentunit", "currencyUSD"
GREEN, AMBER, RED = "green", "orange", "red"
Levels = Sequence[tuple[float | None, str]]
"""Colours from a value on; the first is for everything below the second."""
CALM: Levels = [(None, GREEN)]
ALARM: Levels = [(None, GREEN), (1, RED)]
VIOLATED: Levels = [(None, GREEN), (0.01, AMBER), (0.05, RED)]
LATE: Levels = [(None, GREEN), (30, AMBER), (120, RED)]
PERCENTILES = {"p99": "0.99", "median": "0.5"}
Query = tuple[str, str]
"""PromQL, and how its series are called."""
Asking = TypeVar("Asking", timeseries.Panel, stat.Panel, statetimeline.Panel, table.Panel)


def of_each(metric: str) -> str:
    """A series per pipeline of the fleet."""
    return f"max by (namespace, pipeline) ({metric}{{{CHOSEN}}})"


def of_one(metric: str, *labels: str) -> str:
    """Of the chosen pipeline: one series, or one per value of the ``labels``."""
    by = f"by ({', '.join(labels)}) " if labels else ""
    return f"max {by}({metric}{{{ONE}}})"


def growth(metric: str, labels: str, selector: str = "") -> str:
    """How often something happened since the last point drawn, per value of the ``labels``."""
    return f"sum by ({labels}) (increase({metric}{{{selector}}}[$__rate_interval]))"


def percentile(share: str, metric: str, selector: str, *labels: str) -> str:
    """Of a histogram (seconds), per value of the ``labels``."""
    by = ", ".join(("le", *labels))
    return f"histogram_quantile({share}, sum by ({by}) (rate({metric}_bucket{{{selector}}}[$__rate_interval])))"


def asking(panel: Asking, queries: Sequence[Query], *, instant: bool = False) -> Asking:
    """The panel, with its data."""
    for index, (expression, legend) in enumerate(queries):
        query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(reference(index))
        panel.with_target(query.instant().format(PromQueryFormat.TABLE) if instant else query.range())
    return panel.datasource(SOURCE)


def reference(index: int) -> str:
    """What Grafana calls the query of that number, from 0."""
    return chr(ord("A") + index)


def lines(title: str, unit: str, queries: Sequence[Query], words: str = "", *, width: int = 12) -> timeseries.Panel:
    """A chart over time."""
    panel = timeseries.Panel().title(title).description(words).unit(unit).span(width).height(8).line_width(2)
    panel.fill_opacity(5).tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    return asking(panel, queries)


def bars(title: str, queries: Sequence[Query], words: str = "") -> timeseries.Panel:
    """Counts over time, on top of one another."""
    panel = lines(title, COUNT, queries, words).draw_style(GraphDrawStyle.BARS).fill_opacity(80).line_width(0)
    return panel.min(0).stacking(common.StackingConfig().mode(StackingMode.NORMAL))


def timeline(title: str, queries: Sequence[Query], words: str) -> statetimeline.Panel:
    """What was in force when: a row for each series."""
    panel = statetimeline.Panel().title(title).description(words).unit(COUNT).span(24).height(7).fill_opacity(70)
    panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.CONTINUOUS_GR_YL_RD)).row_height(0.8)
    return asking(panel.merge_values(True), queries)


def figure(title: str, unit: str, query: str, levels: Levels = CALM, words: str = "") -> stat.Panel:
    """One number, now."""
    colours = dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE)
    colours.steps([Threshold(value=value, color=colour) for value, colour in levels])
    panel = stat.Panel().title(title).description(words).unit(unit).span(4).height(4).thresholds(colours)
    return asking(panel, [(query, "")])


def dashed(panel: timeseries.Panel, *names: str) -> timeseries.Panel:
    """The panel, with these of its series as dashed lines: what is allowed, or wanted, rather than measured."""
    style = DynamicConfigValue(id_val="custom.lineStyle", value=LineStyle(fill="dash", dash=[10, 10]))
    for name in names:
        panel.override_by_name(name, [style, DynamicConfigValue(id_val="custom.fillOpacity", value=0)])
    return panel


def frame(uid: str, title: str, words: str) -> dashboard.Dashboard:
    """A dashboard without panels, with the variables that all have."""
    made = dashboard.Dashboard(title).uid(uid).description(words).tags([TAG]).refresh("10s").time("now-1h", "now")
    made.timezone("browser").tooltip(DashboardCursorSync.CROSSHAIR).readonly()
    others = dashboard.DashboardLink("others").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    made.link(others.include_vars(True).keep_time(True))
    made.with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    namespaces = variable("namespace", "ipa_slo_seconds").multi(True).include_all(True)
    # On one machine there is none: the label is empty.
    return made.with_variable(namespaces.all_value(".*"))


def variable(label: str, series: str) -> dashboard.QueryVariable:
    """The values that a label has in these series."""
    asked: dict[str, object] = {"query": f"label_values({series}, {label})", "refId": label}
    made = dashboard.QueryVariable(label).label(label.capitalize()).query(asked).datasource(SOURCE)
    return made.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)


def written(made: dashboard.Dashboard, *annotations: Mapping[str, Any]) -> dict[str, Any]:
    """A dashboard as Grafana reads it."""
    document: dict[str, Any] = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    return document | {"annotations": {"list": list(annotations)}}
