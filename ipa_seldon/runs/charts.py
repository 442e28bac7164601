"""The charts of the report over time, and the comparison of its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import cycle
from operator import itemgetter
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ipa_seldon.loadgen import RequestOutcome
from ipa_seldon.reports.charts import INK, MUTED, PALE, Chart, chart, draw_steps, dress
from ipa_seldon.runs import series
from ipa_seldon.runs.bands import mix, stages
from ipa_seldon.runs.network import network
from ipa_seldon.runs.style import SYMBOLS, last_second, mark_slo, mark_switches, run_colours, run_line
from ipa_seldon.runs.summary import (
    RunResult,
    cost_in,
    mean_cost,
    measured_accuracy,
    predictions,
    summary,
    timeline,
    worth,
)
from ipa_seldon.words import figure, share

Figures = Mapping[str, Any]
MISSED = "violation ratio (late, dropped or failed)"
EXPECTED = {"line": {"color": MUTED, "width": 1.5, "dash": "dash"}}
"""How what was expected is drawn beside what was measured."""


def every_chart(runs: Sequence[RunResult]) -> list[Chart]:
    """The comparison of several runs whose requests are known, and the charts over time."""
    return [*([comparison(runs)] if compared(runs) else ()), *charts(runs)]


def compared(runs: Sequence[RunResult]) -> bool:
    """Whether there is something to compare."""
    return len(runs) > 1 and any(run.records for run in runs)


def charts(runs: Sequence[RunResult]) -> list[Chart]:
    """Every chart over time; the first run is shown in detail, the others beside it. What requests were answered, and
    how, is left out where no request is known.
    """
    if not any(run.records for run in runs):
        return [_load(runs), stages(runs), _latency(runs), _cost(runs), _accuracy(runs)]
    first = [_load(runs), *network(runs), stages(runs), *mix(runs)]
    return [*first, _latency(runs), _cost(runs), _accuracy(runs), _violations(runs)]


def comparison(runs: Sequence[RunResult]) -> Chart:
    """Where every run whose requests are known lies between violations and accuracy, a bigger mark for more cost; where
    the same variants answer in all of them, between violations and cost.
    """
    colours, known = run_colours(runs), {run.name: summary(run) for run in runs if run.records}
    summaries = list(known.values())
    top = max([0.01, *(figures["violation_ratio"] for figures in summaries)])
    dearest = max([1e-9, *(figures["mean_cost"] for figures in summaries)])
    if _answer_alike(summaries):
        plot = _marks(colours, known, itemgetter("mean_cost"), lambda _: 26.0)
        dress(plot, 500, MISSED, "cost (cores)")
        plot.update_yaxes(range=[0, 1.2 * dearest])
        better, at = "↙ better", 0.01
        name, caption = "Violations and cost", "Left is fewer requests that missed the SLO, down is fewer cores."
    else:
        plot = _marks(colours, known, worth, lambda figures: 16 + 34 * figures["mean_cost"] / dearest)
        dress(plot, 500, MISSED, "accuracy (lines read exactly)" if _measured(runs) else "accuracy (as expected)")
        plot.update_yaxes(rangemode="normal", tickformat=".3~p")
        _pad_accuracies(plot, list(map(worth, summaries)))
        better, at = "↖ better", 0.99
        name = "Accuracy, violations and cost"
        caption = "Up is more accurate, left is fewer requests that missed the SLO; a bigger mark costs more cores."
    plot.update_layout(showlegend=False, hovermode="closest")
    plot.update_xaxes(range=[-0.08 * top, 1.3 * top], tickformat=".3~p")
    plot.add_annotation(x=0.01, y=at, xref="paper", yref="paper", text=better, showarrow=False, font={"color": MUTED})
    return chart("comparison", name, caption, plot, timed=False)


def _marks(
    colours: Mapping[str, str],
    summaries: Mapping[str, Figures],
    height: Callable[[Figures], float | None],
    size: Callable[[Figures], float],
) -> Any:
    """A figure with a mark for every run that has a summary, of that size, at its violations and that height."""
    plot = go.Figure()
    for (run, colour), symbol in zip(colours.items(), cycle(SYMBOLS), strict=False):
        if run not in summaries:
            continue
        figures = summaries[run]
        look = {
            "size": size(figures),
            "color": colour,
            "symbol": symbol,
            "opacity": 0.85,
            "line": {"color": "white", "width": 2},
        }
        missed, accuracy, cost = figures["violation_ratio"], worth(figures), figures["mean_cost"]
        plot.add_scatter(
            x=[missed],
            y=[height(figures)],
            mode="markers+text",
            name=escape(run),
            marker=look,
            text=[f"<b>{escape(run)}</b><br>{figure(cost)} cores"],
            textposition="middle right",
            hovertemplate=f"violations {share(missed)}<br>accuracy {share(accuracy)}<extra></extra>",
            cliponaxis=False,
        )
    return plot


def _answer_alike(summaries: Sequence[dict[str, Any]]) -> bool:
    """Whether each stage has but one variant that answered, the same in all runs."""
    used = {(stage, name) for entry in summaries for stage, of in entry["variants"].items() for name in of}
    return len(used) == len({stage for stage, _ in used}) > 0


def _load(runs: Sequence[RunResult]) -> Chart:
    run, plot = runs[0], go.Figure()
    seconds, counts = series.offered(run)
    smooth, width = series.smoothed(counts), series.load_seconds(run)
    every = "every second" if width == 1 else f"mean of {width} s"
    plot.add_bar(x=seconds, y=counts, width=width, name=f"load, {every}", marker={"color": PALE, "line": {"width": 0}})
    plot.add_scatter(x=seconds, y=smooth, name=f"load, mean of {10 * width} s", line={"color": INK, "width": 2})
    blue = run_colours(runs)[run.name]
    times, rates = series.forecasts(run)
    draw_steps(plot, (times, rates), "forecast", line={"color": blue, "width": 2, "dash": "dash"})
    peaks = [*counts[np.isfinite(counts)], *(rate for rate in rates if rate is not None)]
    caption = "Requests offered to the pipeline, and the peak the adapter expected and planned for."
    if run.pipeline is not None:
        pipeline = run.pipeline
        capacity = series.steps(run, [series.carried(pipeline, segment.plan) for segment in timeline(run)])
        draw_steps(plot, capacity, "what the plan carries", line={"color": "#44998c", "width": 2})
        # An idle plan may carry many times the load; the axis is for the load.
        most = 2 * max(peaks, default=0.0)
        peaks.extend(min(value, most) for value in capacity[1] if value is not None)
        caption += " Where the load rises above what the plan carries, requests queue."
    mark_switches(plot, run)
    dress(plot, 270, "time (s)", "requests/s", end=last_second(runs))
    plot.update_yaxes(range=[0, 1.08 * max([1, *peaks])])
    return chart("load", "Load and forecast", caption, plot)


def _latency(runs: Sequence[RunResult]) -> Chart:
    plot, run, measured = go.Figure(), runs[0], any(run.records for run in runs)
    if measured:
        _draw_latencies(plot, runs)
    expected = series.expected(run, lambda proposal: proposal.latency)
    look = EXPECTED if measured else run_line(run, run_colours(runs))
    draw_steps(plot, expected, f"expected, {escape(run.name)}", **look)
    mark_slo(plot, run.slo)
    mark_switches(plot, run)
    dress(plot, 310, "time (s)", "latency (s)", end=last_second(runs))
    caption = "What the algorithm expected of the slowest path for the load that was forecast, queueing included."
    if measured:
        _mark_losses(plot, runs)
        caption = (
            f"Time from when a request was due to its answer, per {series.window_seconds(run)} s, and what the "
            "algorithm expected. The strip above marks requests that were dropped because they could no longer make "
            "the SLO (|) and requests that failed (×)."
        )
    return chart("latency", "Latency against the SLO", caption, plot)


def _draw_latencies(plot: Any, runs: Sequence[RunResult]) -> None:
    colours, percentile = run_colours(runs), runs[0].percentile
    for run in runs:
        times, tail = series.latency(run, percentile)
        plot.add_scatter(x=times, y=tail, name=f"p{percentile:g} {escape(run.name)}", **run_line(run, colours))
    times, median = series.latency(runs[0], 50)
    thin = {"color": colours[runs[0].name], "width": 1.2, "dash": "dot"}
    plot.add_scatter(x=times, y=median, name=f"p50 {escape(runs[0].name)}", line=thin)


def _mark_losses(plot: Any, runs: Sequence[RunResult]) -> None:
    """A strip above the chart, a row per run, that marks every dropped and every failed request."""
    for row, run in enumerate(reversed(runs)):
        for outcome, symbol in ((RequestOutcome.DROPPED, "line-ns-open"), (RequestOutcome.FAILED, "x-thin-open")):
            moments = series.moments(run, outcome)
            plot.add_scatter(
                x=moments,
                y=[row] * len(moments),
                yaxis="y2",
                mode="markers",
                showlegend=False,
                marker={"symbol": symbol, "size": 9, "color": run_colours(runs)[run.name], "line": {"width": 1}},
                hovertemplate=f"{escape(run.name)}: {outcome.value} at %{{x:.1f}} s<extra></extra>",
            )
    height = 0.08 + 0.05 * len(runs)
    strip = {
        "domain": [1.04 - height, 1],
        "range": [-0.7, len(runs) - 0.3],
        "tickvals": list(range(len(runs))),
        "ticktext": [escape(run.name) for run in reversed(runs)],
        "tickfont": {"size": 11},
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
    }
    plot.update_layout(yaxis={"domain": [0, 1 - height]}, yaxis2=strip)


def _cost(runs: Sequence[RunResult]) -> Chart:
    plot, colours = go.Figure(), run_colours(runs)
    for run in runs:
        cores = [float(cost_in(run, segment.plan)) for segment in timeline(run)]
        name = f"{escape(run.name)} (mean {figure(mean_cost(run))})"
        draw_steps(plot, series.steps(run, cores), name, **run_line(run, colours))
    mark_switches(plot, runs[0])
    dress(plot, 220, "time (s)", "cores", end=last_second(runs))
    caption = "Cores allocated over all stages and replicas. The mean weighs every plan by how long it ran."
    priced = [run.pipeline.gpu_cores for run in runs if run.pipeline and run.pipeline.on_gpus]
    if priced:
        caption += f" A GPU counts as {figure(priced[0])} cores."
    return chart("cost", "Cost", caption, plot)


def _accuracy(runs: Sequence[RunResult]) -> Chart:
    plot, colours, run = go.Figure(), run_colours(runs), runs[0]
    measured = _measured(runs)
    for other in runs if measured else ():
        times, values = series.rolling_accuracy(other)
        name = f"{escape(other.name)} ({share(measured_accuracy(other.records))})"
        plot.add_scatter(x=times, y=values, name=name, **run_line(other, colours))
    accuracy_of = predictions(run)
    predicted = series.steps(run, [accuracy_of(segment.plan) for segment in timeline(run)])
    look = EXPECTED if measured else run_line(run, colours)
    draw_steps(plot, predicted, f"expected, {escape(run.name)}", **look)
    mark_switches(plot, run)
    if not measured:
        dress(plot, 240, "time (s)", "accuracy", end=last_second(runs))
        _pad_accuracies(plot, predicted[1])
        return chart("accuracy", "Accuracy", "What the accuracies of the variants that ran come to.", plot)
    dress(plot, 240, "time (s)", "lines read exactly", end=last_second(runs))
    plot.update_yaxes(tickformat=".3~p", range=[0, 1])
    caption = (
        f"Share of the text lines that were read without a mistake, over {3 * series.window_seconds(run)} s, "
        "and what the accuracies of the variants that ran come to."
    )
    return chart("accuracy", "Measured accuracy", caption, plot)


def _measured(runs: Sequence[RunResult]) -> bool:
    """Whether any request had lines to read."""
    return any(record.expected for run in runs for record in run.records)


def _violations(runs: Sequence[RunResult]) -> Chart:
    plot, colours = go.Figure(), run_colours(runs)
    for run in runs:
        moments = series.moments(run, RequestOutcome.LATE, RequestOutcome.DROPPED, RequestOutcome.FAILED)
        times = [0.0, *moments, run.end - run.start]
        counts = [*map(float, range(len(moments) + 1)), float(len(moments))]
        ratio = len(moments) / len(run.records) if run.records else 0.0
        draw_steps(plot, (times, counts), f"{escape(run.name)} ({share(ratio)})", **run_line(run, colours))
    mark_switches(plot, runs[0])
    dress(plot, 220, "time (s)", "requests", end=last_second(runs))
    caption = "Requests that were late, dropped or failed, added up since the start."
    return chart("violations", "Violations", caption, plot)


def _pad_accuracies(plot: Any, accuracies: Sequence[float | None]) -> None:
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    if known:
        margin = max((max(known) - min(known)) * 0.25, 0.02)
        plot.update_yaxes(rangemode="normal", range=[min(known) - margin, min(max(known) + margin, 1.0)])
