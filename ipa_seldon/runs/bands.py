"""The chart of what every stage ran: a band per plan, its shade the variant (darker is more accurate)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from ipa_seldon.plan import Allocation
from ipa_seldon.reports.charts import GRID, INK, PALE, Chart, chart, dress
from ipa_seldon.runs import series
from ipa_seldon.runs.style import last_second
from ipa_seldon.runs.summary import RunResult, Segment, by_variant, timeline
from ipa_seldon.words import allocation_words, share

LABELS = {
    "textposition": "inside",
    "insidetextanchor": "start",
    "textangle": 0,
    "insidetextfont": {"color": INK},
    "marker": {"color": "rgba(0,0,0,0)", "line": {"width": 0}},
    "hoverinfo": "skip",
}
LIGHT_VARIANT, HEAVY_VARIANT = (222, 242, 236), (84, 172, 157)


def stages(runs: Sequence[RunResult]) -> Chart:
    """Variant, replicas and batch of every stage over time, of the first run."""
    run, plot = runs[0], go.Figure()
    names = list(dict.fromkeys(name for segment in timeline(run) for name in segment.plan))
    rows = max(len(names), 1)
    for row, name in enumerate(names):
        axis = "y" if row == 0 else f"y{row + 1}"
        tallest = _draw_stage(plot, run, name, axis)
        bottom = 1 - (row + 1) / rows
        domain = [bottom if row == rows - 1 else bottom + 0.05, bottom + 1 / rows - 0.02]
        plot.update_layout({f"yaxis{axis[1:]}": _stage_axis(name, domain, tallest)})
    dress(plot, 40 + 125 * rows, "time (s)", end=last_second(runs))
    plot.update_layout(barmode="overlay", showlegend=False, hovermode="closest", margin={"t": 8})
    plot.update_xaxes(anchor="y" if rows == 1 else f"y{rows}")
    plot.update_layout(uniformtext={"minsize": 10, "mode": "hide"})
    caption = (
        "What every stage ran: variant, × replicas, b largest batch. The height is the number of replicas; "
        "the darker, the more accurate the variant. Point at a narrow band to read it."
    )
    return chart("stages", "Variants and replicas", caption, plot)


def mix(runs: Sequence[RunResult]) -> list[Chart]:
    """How the variants of a stage shared the answers over time, a chart per stage of the first run that ran a set."""
    run = runs[0]
    sets = {name: None for s in timeline(run) for name, allocations in s.plan.items() if len(allocations) > 1}
    return [_mix_of(run, name, number, last_second(runs)) for number, name in enumerate(sets)]


def _mix_of(run: RunResult, stage: str, number: int, end: float) -> Chart:
    plot, width, shade = go.Figure(), series.window_seconds(run), _shades(run, stage)
    times, shares = series.shares(run, stage)
    figures = by_variant(run)[stage]
    for variant, parts in shares.items():
        told = figures[variant]
        read = "" if told["accuracy"] is None else f", {share(told['accuracy'])} read exactly"
        name = f"{escape(variant)} ({told['requests']} answered{read})"
        look = {"color": shade(variant), "line": {"width": 0}}
        plot.add_bar(x=times, y=parts, width=width, name=name, marker=look, hovertemplate="%{y:.1%}")
    dress(plot, 240, "time (s)", "share of the answers", end=end)
    plot.update_layout(barmode="stack")
    plot.update_yaxes(tickformat=".0%", range=[0, 1])
    caption = f"The variant that answered, per {width} s; the darker, the more accurate."
    return chart(f"mix-{number}", f"Variants that shared the load of {stage}", caption, plot)


def _part(allocation: Allocation) -> str:
    """The share, where it is not all."""
    return "" if allocation.share == 1 else f" {share(allocation.share)}"


def _draw_stage(plot: Any, run: RunResult, name: str, axis: str) -> int:
    """The bands of one stage on ``axis``; returns the most replicas it had."""
    segments, shade = timeline(run), _shades(run, name)
    tallest = max(sum(a.replicas for a in segment.plan.get(name, ())) for segment in segments)
    bands = [
        (segment, allocations, place)
        for segment in segments
        for allocations in (segment.plan.get(name, ()),)
        for place in range(len(allocations))
    ]
    drawn = [allocations[place] for _, allocations, place in bands]
    # One trace for all bands: a browser draws a long run of many switches as fast as a short one.
    plot.add_bar(
        **_bars(run, [segment for segment, *_ in bands], axis),
        y=[a.replicas for a in drawn],
        base=[sum(a.replicas for a in allocations[:place]) for _, allocations, place in bands],
        marker={"color": [shade(a.variant) for a in drawn], "line": {"color": "white", "width": 1}},
        hovertext=[f"{escape(name)}: {escape(allocation_words(a))}" for a in drawn],
        hoverinfo="text",
    )
    # The labels stand on clear bars of full height, so that they also show where only one replica runs.
    labels = ["<br>".join(map(_label, segment.plan.get(name, ()))) for segment in segments]
    plot.add_bar(**_bars(run, segments, axis), y=[tallest * 1.15] * len(segments), text=labels, **LABELS)
    return tallest


def _bars(run: RunResult, segments: Sequence[Segment], axis: str) -> dict[str, Any]:
    middles = [(segment.start + segment.end) / 2 - run.start for segment in segments]
    return {"x": middles, "width": [segment.end - segment.start for segment in segments], "yaxis": axis}


def _label(a: Allocation) -> str:
    return f"{escape(a.variant)}{_part(a)}<br>×{a.replicas} b{a.batch}"


def _stage_axis(stage: str, domain: Sequence[float], tallest: int) -> dict[str, Any]:
    return {
        "domain": domain,
        "range": [0, max(tallest, 1) * 1.15],
        "title": {"text": f"<b>{escape(stage)}</b><br>replicas", "font": {"size": 13}},
        "dtick": max(round(tallest / 3), 1),
        "fixedrange": True,
        "gridcolor": GRID,
        "zerolinecolor": PALE,
    }


def _shades(run: RunResult, stage: str) -> Callable[[str], str]:
    """Variant -> colour: the stage's variants from light to dark, by accuracy where the pipeline is known."""
    names = list(dict.fromkeys(a.variant for segment in timeline(run) for a in segment.plan.get(stage, ())))
    known = {s.name: s for s in run.pipeline.stages} if run.pipeline is not None else {}
    if stage in known:
        names = [variant.name for variant in sorted(known[stage].variants, key=lambda variant: variant.accuracy)]

    def shade(variant: str) -> str:
        position = names.index(variant) if variant in names else 0
        part = position / max(len(names) - 1, 1)
        mixed = (round(a + (b - a) * part) for a, b in zip(LIGHT_VARIANT, HEAVY_VARIANT, strict=True))
        return "rgb({},{},{})".format(*mixed)

    return shade
