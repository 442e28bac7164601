"""The drawing of forecasters side by side: load and forecasts, errors, and how the loss developed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ipa_seldon.errors import ConfigError
from ipa_seldon.forecasters.evaluate import Step
from ipa_seldon.reports.charts import BLUE, MUTED, OTHER_COLOURS, RED, YELLOW, chart, draw_steps, dress
from ipa_seldon.reports.page import embedded, render_page
from ipa_seldon.reports.pictures import write_pictures

COLOURS = (BLUE, YELLOW, RED, *OTHER_COLOURS)
HOUR = 3600.0  # seconds
WIDTH, HEIGHT = 1180, 760  # pixels, as wide as a report's page
CAPTION = (
    "The peak of the horizon that began at each time, and what was forecast for it; forecast minus peak; mean pinball "
    "loss of the hour before. A click on a name hides it, a double click hides all others."
)
Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Headings and rows of text."""


def figure(steps: Mapping[str, Sequence[Step]]) -> Any:
    """The drawing, as a plotly figure; ``steps``: of each forecaster over the same trace, one at least."""
    plot = make_subplots(3, 1, shared_xaxes=True, vertical_spacing=0.05, row_heights=[0.5, 0.25, 0.25])
    first = next(iter(steps.values()))
    _draw(plot, 1, "load", first, [step.peak for step in first], {"color": MUTED, "width": 1})
    for (name, taken), colour in zip(steps.items(), cycle(COLOURS), strict=False):
        curves = ([step.rate for step in taken], [step.rate - step.peak for step in taken], _recent_losses(taken))
        for row, values in enumerate(curves, start=1):
            _draw(plot, row, name, taken, values, {"color": colour, "width": 1.2})
    dress(plot, HEIGHT, "")
    for row, title in enumerate(("requests/s", "error", "pinball loss"), start=1):
        plot.update_yaxes(title={"text": title}, row=row)
    plot.update_xaxes(title={"text": "time (s)"}, row=3)
    return plot


def write_drawing(steps: Mapping[str, Sequence[Step]], table: Table, words: tuple[str, str], path: Path) -> None:
    """Write drawing and ``table`` to ``path``, an .html that needs nothing else, or the drawing alone, a .png.

    ``words``: title and lead of the page. Raises ConfigError when it cannot be written, PlatformError when there is no
    browser to draw a picture.
    """
    plot = figure(steps)
    if path.suffix.lower() == ".png":
        write_pictures(path.parent, {path.name: json.loads(plot.to_json())}, WIDTH, HEIGHT)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_page(plot, table, words), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def _page(plot: Any, table: Table, words: tuple[str, str]) -> str:
    title, lead = words
    content = {"headings": table[0], "rows": table[1]}
    shown = embedded(chart("forecasts", "Forecasts over time", CAPTION, plot, timed=False))
    return render_page("ipa_seldon.reports", title, lead, {}, chart=shown, **content)


def _draw(plot: Any, row: int, name: str, steps: Sequence[Step], values: Sequence[float], line: dict[str, Any]) -> None:
    drawn = go.Figure()
    draw_steps(drawn, ([step.time for step in steps], values), escape(name, quote=False), line)
    drawn.update_traces(legendgroup=name, showlegend=row == 1)
    plot.add_trace(drawn.data[0], row=row, col=1)


def _recent_losses(steps: Sequence[Step]) -> list[float]:
    """Mean pinball loss of the hour up to each step."""
    means: list[float] = []
    begin, total = 0, 0.0
    for step in steps:
        total += step.error.pinball
        while steps[begin].time <= step.time - HOUR:
            total -= steps[begin].error.pinball
            begin += 1
        means.append(total / (len(means) + 1 - begin))
    return means
