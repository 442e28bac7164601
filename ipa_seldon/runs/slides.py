"""The charts of a report as pictures for slides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from ipa_seldon.reports.charts import Chart
from ipa_seldon.reports.pictures import write_pictures

WIDTH, HEIGHT = 960, 540
"""Of the page's pixels: a picture has 1920 x 1080."""


def write_slides(charts: Sequence[Chart], directory: Path) -> list[Path]:
    """A PNG of every chart, called after it; raises as ``write_pictures`` does."""
    return write_pictures(directory, {f"{chart.name}.png": _slide(chart) for chart in charts}, WIDTH, HEIGHT)


def _slide(chart: Chart) -> dict[str, Any]:
    """Plotly's specification, with the chart's title in the picture, in place of the heading on the page."""
    spec: dict[str, Any] = json.loads(chart.spec)
    layout = spec["layout"]
    layout["title"] = {
        "text": f"<b>{escape(chart.title)}</b>",
        "x": 0.02,
        "y": 0.97,
        "yanchor": "top",
        "font": {"size": 20},
    }
    margin = layout["margin"]
    layout["margin"] = {**margin, "t": margin["t"] + 48, "b": margin["b"] + 8}
    return {"data": spec["data"], "layout": layout}
