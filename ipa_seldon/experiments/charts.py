"""The charts of an experiment's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import isnan
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ipa_seldon.experiments.decision_times import DecisionTime
from ipa_seldon.experiments.figures import SOLVER_LOOK, slices
from ipa_seldon.experiments.scenes import ACCURACY, COST, VIOLATIONS, Scene, known, panels, reach
from ipa_seldon.reports.charts import MUTED, Chart, Steps, chart, draw_steps, dress


def plane(pipeline: str, scenes: Sequence[Scene], colours: Mapping[str, str]) -> Chart:
    """Where every method lies between accuracy and cost, a panel per load."""
    plot = make_subplots(1, len(scenes), subplot_titles=[escape(scene.load) for scene in scenes], shared_yaxes=True)
    for column, scene in enumerate(scenes, start=1):
        for method, (cost, accuracy) in known(scene, COST, ACCURACY).items():
            wide, high = reach([cost, accuracy])
            plot.add_scatter(
                x=[cost.mean],
                y=[accuracy.mean],
                error_x={"array": [wide], "thickness": 1},
                error_y={"array": [high], "thickness": 1},
                mode="markers",
                marker={"color": colours[method], "size": 10},
                **_named(method, first=column == 1),
                row=1,
                col=column,
            )
    dress(plot, 330, "mean cost (cores)")
    plot.update_layout(hovermode="closest", legend={"y": -0.22, "yanchor": "top"}, margin={"b": 90})
    plot.update_yaxes(title={"text": "accuracy"}, col=1)
    caption = "Mean over all seeds with its 95 % confidence. Up is more accurate, left is cheaper."
    return chart(f"plane-{pipeline}", f"{pipeline}: accuracy and cost", caption, plot, timed=False)


def violations(pipeline: str, scenes: Sequence[Scene], colours: Mapping[str, str]) -> Chart:
    """The share of late and dropped requests of every method, side by side under each load."""
    plot = go.Figure()
    for method, colour in colours.items():
        found = [(scene.load, *known(scene, VIOLATIONS).get(method, ())) for scene in scenes]
        there = [(load, estimate) for load, *estimates in found for estimate in estimates]
        half = reach([estimate for _, estimate in there])
        below = [min(part, estimate.mean) for part, (_, estimate) in zip(half, there, strict=True)]
        plot.add_bar(
            x=[escape(load) for load, _ in there],
            y=[estimate.mean for _, estimate in there],
            error_y={"array": half, "arrayminus": below, "thickness": 1},
            name=escape(method),
            marker={"color": colour},
        )
    dress(plot, 300, "", "violations")
    plot.update_layout(barmode="group", bargap=0.25)
    plot.update_yaxes(tickformat=".3~p", hoverformat=".3p")
    caption = "Late and dropped requests over all: mean over all seeds with its 95 % confidence."
    return chart(f"violations-{pipeline}", f"{pipeline}: violations", caption, plot, timed=False)


def over_time(scene: Scene, colours: Mapping[str, str]) -> Chart:
    """What every method does over time, in ``panels``."""
    shown = panels(scene)
    heights = [panel.height for panel in shown]
    plot = make_subplots(len(shown), 1, shared_xaxes=True, vertical_spacing=0.03, row_heights=heights)
    legend = next(row for row, panel in enumerate(shown, start=1) if not panel.shared)
    for order, (method, frame) in enumerate(scene.series.items()):
        for row, panel in enumerate(shown, start=1):
            if panel.shared and order:
                continue
            drawn = go.Figure()
            if panel.shared:
                draw_steps(drawn, _steps(frame, panel.column), panel.title, {"color": MUTED, "width": 1})
            else:
                look = {"color": colours[method], "width": 0.8 if panel.noisy else 1.8}
                draw_steps(drawn, _steps(frame, panel.column), escape(method), look, zorder=-order)
                drawn.update_traces(legendgroup=escape(method))
            plot.add_trace(drawn.data[0].update(xaxis=f"x{row}", yaxis=f"y{row}", showlegend=row == legend))
    end = max((len(frame) for frame in scene.series.values()), default=0)
    dress(plot, 150 + 70 * sum(heights), "", end=float(end))
    plot.update_xaxes(title={"text": "time (s)"}, row=len(shown))
    for row, panel in enumerate(shown, start=1):
        plot.update_yaxes(title={"text": panel.title}, rangemode="tozero", row=row)
    name = f"time-{scene.pipeline}-{scene.load}"
    *first, last = (panel.words for panel in shown)
    caption = f"One run, of the first seed: {', '.join(first)}, and {last}."
    return chart(name, f"{scene.pipeline}, {scene.load}: over time", caption, plot)


def timing(times: Sequence[DecisionTime]) -> Chart:
    """Decision time against the number of stages and of variants."""
    axes = (("stages", "variants", "stages"), ("variants", "stages", "variants per stage"))
    plot = make_subplots(1, 2, shared_yaxes=True)
    seen: set[str] = set()
    for column, (along, fixed, _) in enumerate(axes, start=1):
        for solver, (sizes, means, longest, _) in slices(times, along, fixed).items():
            colour, label = SOLVER_LOOK[solver]
            plot.add_scatter(
                x=sizes,
                y=means,
                error_y={
                    "array": [m - mean for m, mean in zip(longest, means, strict=True)],
                    "arrayminus": [0] * len(sizes),
                },
                line={"color": colour},
                **_named(label, first=label not in seen),
                row=1,
                col=column,
            )
            seen.add(label)
    dress(plot, 340, "")
    for column, (_, fixed, title) in enumerate(axes, start=1):
        most = max(getattr(time, fixed) for time in times if time.solver != "published")
        plot.update_xaxes(title={"text": f"{title} ({most} {fixed})"}, col=column)
    plot.update_yaxes(type="log", rangemode="normal")
    plot.update_yaxes(title={"text": "decision time (s)"}, col=1)
    caption = "Mean, and up to the longest, over random pipelines whose SLO binds; published: IPA with Gurobi."
    return chart("decision-times", "Decision time", caption, plot, timed=False)


def _named(name: str, first: bool) -> dict[str, Any]:
    """A trace that appears once in the legend, however many panels it is in."""
    return {"name": escape(name), "legendgroup": escape(name), "showlegend": first}


def _steps(frame: Any, column: str) -> Steps:
    """The seconds at which the column changes, and the last; None for what is not known."""
    values = [None if isnan(value) else value for value in map(float, frame[column])]
    kept = [k for k, value in enumerate(values) if k == 0 or k == len(values) - 1 or value != values[k - 1]]
    return [float(frame["second"][k]) for k in kept], [values[k] for k in kept]
