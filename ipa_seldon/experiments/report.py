"""The report of an experiment: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from ipa_seldon.experiments.charts import over_time, plane, timing, violations
from ipa_seldon.experiments.compare import COMPARED, Comparison
from ipa_seldon.experiments.decision_times import DecisionTime
from ipa_seldon.experiments.scenes import Scene
from ipa_seldon.experiments.words import estimate_words, heading, shown
from ipa_seldon.reports.page import embedded, render_page


def render(
    title: str,
    scenes: Sequence[Scene],
    colours: Mapping[str, str],
    compared: Sequence[Comparison],
    times: Sequence[DecisionTime],
    footer: Mapping[str, str],
) -> str:
    """The report as one HTML document; ``colours`` by method; what ``compared`` or ``times`` lack is left out."""
    by_pipeline = [(name, list(group)) for name, group in groupby(scenes, key=lambda scene: scene.pipeline)]
    return render_page(
        "ipa_seldon.experiments",
        title,
        _lead(scenes, colours),
        footer,
        colours=colours,
        sections=[_section(pipeline, group, colours, compared) for pipeline, group in by_pipeline],
        timing=embedded(timing(times)) if times else None,
    )


def _section(
    pipeline: str, scenes: Sequence[Scene], colours: Mapping[str, str], compared: Sequence[Comparison]
) -> dict[str, Any]:
    of_pipeline = [one for one in compared if one.cell.pipeline == pipeline]
    return {
        "overview": [embedded(draw(pipeline, scenes, colours)) for draw in (plane, violations)],
        "table": _table(pipeline, scenes),
        "comparison": _comparison(pipeline, of_pipeline) if of_pipeline else None,
        "timed": [embedded(over_time(scene, colours)) for scene in scenes],
    }


def _lead(scenes: Sequence[Scene], colours: Mapping[str, str]) -> str:
    runs = sum(summary.seeds for scene in scenes for summary in scene.summaries.values())
    pipelines, loads = ({getattr(scene, axis) for scene in scenes} for axis in ("pipeline", "load"))
    return (
        f"{runs} simulated runs: {len(pipelines)} pipelines under {len(loads)} loads with {len(colours)} methods. "
        "Every request counts: late and dropped ones are violations."
    )


def _table(pipeline: str, scenes: Sequence[Scene]) -> dict[str, Any]:
    keys = shown(summary for scene in scenes for summary in scene.summaries.values())
    rows = [
        (scene.load, method, summary.seeds, *(estimate_words(key, summary.figures.get(key)) for key in keys))
        for scene in scenes
        for method, summary in scene.summaries.items()
    ]
    headings = ("load", "method", "seeds", *map(heading, keys))
    return {"title": f"{pipeline}: mean ± 95 % confidence", "headings": headings, "rows": rows, "open": True}


def _comparison(pipeline: str, compared: Sequence[Comparison]) -> dict[str, Any]:
    rows = [
        (
            one.cell.load,
            one.cell.method,
            one.seeds,
            *(estimate_words(key, one.differences.get(key), sign=True) for key in COMPARED),
            "yes" if one.dominates else "",
        )
        for one in compared
    ]
    headings = ("load", "method", "seeds", *map(heading, COMPARED), "dominates")
    title = f"{pipeline}: difference to {compared[0].baseline}, paired by seed"
    return {"title": title, "headings": headings, "rows": rows, "open": False}
