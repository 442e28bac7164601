"""How every chart of a report looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

INK, MUTED, GRID, PALE = "#1f2933", "#52606d", "#e4e7eb", "#c3cad3"
# After Paul Tol's high-contrast and muted schemes: distinct for every kind of colour vision.
BLUE, YELLOW, RED = "#004488", "#bf8700", "#bb5566"
OTHER_COLOURS = ("#117733", "#882255", "#44aa99", "#332288", "#999933", "#aa4499", "#661100")
Steps = tuple[Sequence[float], Sequence[float | None]]
"""Times and values of a curve that holds each value until the next time; None is a gap."""


@dataclass(frozen=True)
class Chart:
    """``spec`` is plotly's JSON; ``title`` and ``caption`` are plain text; ``timed`` charts share the time axis."""

    name: str
    title: str
    caption: str
    spec: str
    height: int
    timed: bool = True


def chart(name: str, title: str, caption: str, plot: Any, timed: bool = True) -> Chart:
    """``plot``, a plotly figure, with its words."""
    return Chart(name, title, caption, plot.to_json(), int(plot.layout.height), timed)


def draw_steps(plot: Any, steps: Steps, name: str, line: Mapping[str, Any], zorder: int = 0) -> None:
    """A curve that holds each value until the next time."""
    plot.add_scatter(x=steps[0], y=steps[1], name=name, mode="lines", line={**line, "shape": "hv"}, zorder=zorder)


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
