"""The charts of a report as pictures for slides, drawn by an installed Chromium or Chrome."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from ipa_seldon.errors import ConfigError, PlatformError
from ipa_seldon.reports.charts import Chart

WIDTH, HEIGHT, SCALE = 960, 540, 2
"""Pixels of the page, and of the picture for each of them: 1920 x 1080, on which text is twice as large."""


def write_slides(charts: Sequence[Chart], directory: Path) -> list[Path]:
    """A PNG of every chart, called after it; ConfigError where ``directory`` cannot be written, PlatformError where
    there is no browser.
    """
    import kaleido
    from choreographer.errors import BrowserFailedError, ChromeNotFoundError

    options = {"format": "png", "width": WIDTH, "height": HEIGHT, "scale": SCALE}
    paths = [directory / f"{chart.name}.png" for chart in charts]
    drawn = [{"fig": _slide(chart), "path": path, "opts": options} for chart, path in zip(charts, paths, strict=True)]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # MathJax would come from the network.
        kaleido.write_fig_from_object_sync(drawn, cancel_on_error=True, kopts={"mathjax": False})
    except (ChromeNotFoundError, BrowserFailedError) as error:
        raise PlatformError(
            "pictures need Chromium or Chrome: apt-get install chromium, or its path in BROWSER_PATH"
        ) from error
    except TimeoutError as error:
        raise PlatformError(f"{directory}: the browser takes too long to draw a picture") from error
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written: {error.strerror}") from error
    return paths


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
