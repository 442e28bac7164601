"""The report of a run: one HTML file that needs nothing else, neither a network nor a server."""

from __future__ import annotations

from typing import Any

from ipa_seldon.reports.page import embedded, render_page
from ipa_seldon.runs import tables
from ipa_seldon.runs.charts import charts, compared, comparison
from ipa_seldon.runs.recorded import Recorded
from ipa_seldon.runs.style import run_colours
from ipa_seldon.runs.summary import RunResult, summary

MOST = 1000
"""Decisions of a run that the page has."""


def render(recorded: Recorded) -> str:
    """The report as one HTML document. The first run is shown in detail, the others are compared with it."""
    runs, colours = recorded.runs, run_colours(recorded.runs)
    return render_page(
        "ipa_seldon.runs",
        recorded.title,
        tables.lead(runs),
        {},
        tiles=tables.tiles(runs[0]),
        runs=[{"name": run.name, "colour": colours[run.name]} for run in runs],
        rows=tables.rows(runs),
        comparison=embedded(comparison(runs)) if compared(runs) else None,
        charts=[embedded(chart) for chart in charts(runs)],
        variant_headings=tables.VARIANTS,
        variants=tables.variants(runs),
        decision_headings=tables.DECISIONS,
        tables=[_decisions(run) for run in runs],
        notes=recorded.notes,
        configuration=recorded.configuration,
    )


def _decisions(run: RunResult) -> dict[str, Any]:
    rounds, left_out = tables.decisions(run, MOST)
    return {"name": run.name, "rounds": rounds, "note": tables.left_out_words(left_out)}


def as_json(recorded: Recorded) -> dict[str, Any]:
    """The summary of the run, as JSON types; of several, one each by name."""
    summaries = {run.name: summary(run) for run in recorded.runs}
    return summaries if len(summaries) > 1 else next(iter(summaries.values()))
