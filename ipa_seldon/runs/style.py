"""How the runs of a report look in its charts: they differ in colour and in dash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from ipa_seldon.plan import is_switch
from ipa_seldon.reports.charts import BLUE, INK, OTHER_COLOURS, PALE, RED, YELLOW
from ipa_seldon.runs.summary import RunResult
from ipa_seldon.words import figure

COLOURS = (BLUE, YELLOW, RED, *OTHER_COLOURS)
DASHES = ("solid", "dot", "dash")
SYMBOLS = ("circle", "triangle-down", "triangle-up")
SWITCH_LINE = {"color": PALE, "width": 1, "dash": "dot"}


def run_colours(runs: Sequence[RunResult]) -> dict[str, str]:
    """The colour of every run, the same in all charts and tables."""
    return dict(zip((run.name for run in runs), cycle(COLOURS), strict=False))


def run_line(run: RunResult, colours: Mapping[str, str]) -> dict[str, Any]:
    """The line of a run, the same in all charts; the first run lies on top."""
    place = list(colours).index(run.name)
    line = {"color": colours[run.name], "dash": DASHES[place % len(DASHES)], "width": 2 if place else 2.5}
    return {"line": line, "zorder": -place}


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
