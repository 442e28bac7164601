"""What figures and reports show of an experiment: all methods under one load of one pipeline, and their colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby
from math import isnan
from pathlib import Path
from typing import Any

import pandas

from ipa_seldon.experiments.compare import Summary
from ipa_seldon.experiments.grid import Cell
from ipa_seldon.experiments.statistics import Estimate
from ipa_seldon.reports.charts import BLUE, OTHER_COLOURS, RED, YELLOW

VIOLATIONS, ACCURACY, COST = "violation_ratio", "accuracy", "mean_cost"
_COLOURS = (BLUE, YELLOW, RED, *OTHER_COLOURS)


@dataclass(frozen=True)
class Panel:
    """A ``column`` of the series over time, with its axis' ``title`` and what it shows, in words. ``shared``: it is the
    same for every method; ``noisy``: it changes every second.
    """

    column: str
    title: str
    words: str
    shared: bool = False
    noisy: bool = False

    @property
    def height(self) -> int:
        """Beside the others."""
        return 1 if self.shared else 2


PANELS = (
    Panel("rps", "load (rps)", "what arrived", shared=True),
    Panel("network", "network (s)", "how long it was on the network", shared=True),
    Panel("violations", "violations (1/s)", "how many of it were late or dropped", noisy=True),
    Panel("p99", "p99 (s)", "the 99th percentile of what was answered in a second", noisy=True),
    Panel("loss", "accuracy loss", "how much less accurate the plan in force is than the most accurate variants"),
    Panel("cores", "cost (cores)", "the cores that are held"),
)


@dataclass(frozen=True, eq=False)
class Scene:
    """The methods of one ``pipeline`` under one ``load``: their ``summaries`` over all seeds, and of each the run of
    one seed over time, a data frame of the series' columns.
    """

    pipeline: str
    load: str
    summaries: Mapping[str, Summary]
    series: Mapping[str, Any]


def scenes(summaries: Sequence[Summary], series: Callable[[Cell], Path]) -> list[Scene]:
    """A scene per pipeline and load, in the order of ``summaries``; ``series`` says where the run of a cell is."""
    made = []
    for (pipeline, load), group in groupby(summaries, key=lambda summary: (summary.cell.pipeline, summary.cell.load)):
        of_method = {summary.cell.method: summary for summary in group}
        paths = {method: series(summary.cell) for method, summary in of_method.items()}
        frames = {method: pandas.read_csv(path) for method, path in paths.items() if path.exists()}
        made.append(Scene(pipeline, load, of_method, frames))
    return made


def panels(scene: Scene) -> list[Panel]:
    """What is shown of a scene over time: violations second by second where requests pass a network, which makes some
    late whatever runs; the loss of accuracy where there is any.
    """
    frames = list(scene.series.values())
    over_network = any("network" in frame and frame["network"].notna().any() for frame in frames)
    absent = set() if over_network else {"network", "violations"}
    if frames and not any(frame["loss"].any() for frame in frames):
        absent.add("loss")
    return [panel for panel in PANELS if panel.column not in absent]


def method_colours(summaries: Sequence[Summary]) -> dict[str, str]:
    """The colour of every method, the same everywhere."""
    methods = dict.fromkeys(summary.cell.method for summary in summaries)
    return dict(zip(methods, cycle(_COLOURS), strict=False))


def reach(estimates: Sequence[Estimate]) -> list[float]:
    """Half the confidence interval of each, 0 where a single run has none."""
    return [0.0 if isnan(found.high) else found.high - found.mean for found in estimates]


def known(scene: Scene, *figures: str) -> dict[str, list[Estimate]]:
    """The estimates of ``figures`` by method, where a method has them all."""
    return {
        method: [summary.figures[figure] for figure in figures]
        for method, summary in scene.summaries.items()
        if all(figure in summary.figures for figure in figures)
    }
