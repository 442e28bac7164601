"""How every chart of the report looks. One palette, safe for the colour-blind: runs differ in colour and in dash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ipa_seldon.demo.series import Steps
from ipa_seldon.demo.summary import RunResult
from ipa_seldon.demo.words import figure
from ipa_seldon.plan import is_switch

INK, MUTED, GRID, PALE = "#1f2933", "#52606d", "#e4e7eb", "#c3cad3"
# After Paul Tol's high-contrast scheme: distinct for every kind of colour vision, and in grey.
RUN_COLOURS = {"adaptive": "#004488", "lightest": "#bf8700", "heaviest": "#bb5566"}
OTHER_COLOURS = ("#117733", "#882255", "#44aa99", "#332288")
DASHES = {"lightest": "dot", "heaviest": "dash"}
SYMBOLS = {"lightest": "triangle-down", "heaviest": "triangle-up"}
SWITCH_LINE = {"color": PALE, "width": 1, "dash": "dot"}


@dataclass(frozen=True)
class Chart:
    """``spec`` is plotly's JSON; ``title`` and ``caption`` are plain text; ``timed`` charts share the time axis."""

    name: str
    title: str
    caption: str
    spec: str
    height: int
    timed: bool = True


def run_colours(runs: Sequence[RunResult]) -> dict[str, str]:
    """The colour of every run, the same in all charts and tables."""
    others = iter(OTHER_COLOURS * len(runs))
    return {run.name: RUN_COLOURS.get(run.name) or next(others) for run in runs}


def chart(name: str, title: str, caption: str, plot: Any, timed: bool = True) -> Chart:
    """``plot``, a plotly figure, with its words."""
    return Chart(name, title, caption, plot.to_json(), int(plot.layout.height), timed)


def draw_steps(plot: Any, steps: Steps, name: str, line: Mapping[str, Any], zorder: int = 0) -> None:
    """A curve that holds each value until the next time."""
    plot.add_scatter(x=steps[0], y=steps[1], name=name, mode="lines", line={**line, "shape": "hv"}, zorder=zorder)


def run_line(run: RunResult, colours: Mapping[str, str]) -> dict[str, Any]:
    """The line of a run, the same in all charts; the first run lies on top."""
    dash = DASHES.get(run.name, "solid")
    line = {"color": colours[run.name], "dash": dash, "width": 2.5 if dash == "solid" else 2}
    return {"line": line, "zorder": -list(colours).index(run.name)}


def last_second(runs: Sequence[RunResult]) -> float:
    """Seconds the longest run took: where the shared time axis ends."""
    return max(run.end - run.start for run in runs)


def mark_slo(plot: Any, slo: float) -> None:
    """A labelled line at the SLO (seconds)."""
    plot.add_hline(y=slo, line={"color": INK, "width": 1.5})
    label = {"text": f"SLO {figure(slo)} s", "showarrow": False, "xanchor": "right", "yanchor": "bottom"}
    plot.add_annotation(x=1, xref="x domain", y=slo, yref="y", font={"color": INK, "size": 12}, **label)


def mark_switches(plot: Any, run: RunResult) -> None:
    """A faint vertical line at every switch."""
    for decision in run.decisions:
        if is_switch(decision):
            time = decision.observation.time - run.start
            plot.add_shape(type="line", x0=time, x1=time, y0=0, y1=1, yref="paper", layer="below", line=SWITCH_LINE)


def dress(plot: Any, height: int, x_title: str, y_title: str = "", end: float | None = None) -> None:
    """The common look; ``end`` (seconds) puts the chart on the shared time axis."""
    plot.update_layout(
        template="none",
        height=height,
        margin={"l": 72, "r": 20, "t": 30, "b": 42},
        paper_bgcolor="white",
        plot_bgcolor="white",
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": INK},
        hovermode="x unified",
        legend={"orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"},
        showlegend=True,
        bargap=0,
    )
    plot.update_xaxes(
        title={"text": x_title, "standoff": 6, "font": {"size": 13}}, gridcolor=GRID, zeroline=False, ticks="outside"
    )
    plot.update_xaxes(tickcolor=PALE, linecolor=PALE, showline=True, hoverformat=".1f")
    plot.update_yaxes(gridcolor=GRID, zerolinecolor=PALE, hoverformat=".3~g")
    if y_title:
        plot.update_yaxes(title={"text": y_title, "font": {"size": 13}}, rangemode="tozero")
    if end is not None:
        plot.update_xaxes(range=[0, end])
