"""The figures of an experiment for print, as SVG and PNG, in the manner of IPA's evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from math import ceil
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ipa_seldon.experiments.decision_times import DecisionTime
from ipa_seldon.experiments.scenes import ACCURACY, COST, VIOLATIONS, Scene, known, panels, reach
from ipa_seldon.reports.charts import BLUE, GRID, INK, MUTED, RED

# Text stays text: it can be searched for, and needs no font of ours. A fixed salt makes equal figures equal files.
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ipa-seldon",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "axes.axisbelow": True,
}
MARKERS = "osD^vPX*<>"
"""Methods differ in shape too, for those who see no colours."""
IN_A_ROW = 7
"""Methods in a row of the legend, at most."""
TOP = 100
"""The first method lies on top of the others."""
SOLVER_LOOK = {"published": (MUTED, "IPA, published"), "highs": (RED, "ours, HiGHS"), "auto": (BLUE, "ours, auto")}


def draw_scene(scene: Scene, colours: Mapping[str, str], directory: Path) -> None:
    """One pipeline under one load: every method over time, in ``panels``, its violations, and where it lies between
    accuracy and cost; to ``<pipeline>-<load>.svg`` and ``.png``.
    """
    heights = [panel.height for panel in panels(scene)]
    with rc_context(STYLE):
        figure = Figure(figsize=(11, 1.8 + 0.8 * sum(heights)), layout="constrained")
        figure.suptitle(f"{scene.pipeline}, {scene.load}", x=0.01, ha="left", fontweight="bold")
        halves: Any = figure.subfigures(1, 2, width_ratios=[2, 1])
        left, right = halves
        _draw_over_time(left.subplots(len(heights), 1, sharex=True, height_ratios=heights), scene, colours)
        bars, plane = right.subplots(2, 1, height_ratios=[2, 3])
        _draw_violations(bars, scene, colours)
        _draw_plane(plane, scene, colours)
        handles, labels = plane.get_legend_handles_labels()
        if handles:
            columns = ceil(len(labels) / ceil(len(labels) / IN_A_ROW))
            figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
        _save(figure, directory, f"{scene.pipeline}-{scene.load}")


def draw_decision_times(times: Sequence[DecisionTime], directory: Path) -> None:
    """Decision time against the number of stages and of variants, ours beside the published; to ``decision-times``."""
    with rc_context(STYLE):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        lines: dict[str, Any] = {}
        for axes, along, fixed in ((left, "stages", "variants"), (right, "variants", "stages")):
            for solver, (sizes, means, longest, size) in slices(times, along, fixed).items():
                colour, label = SOLVER_LOOK[solver]
                (lines[label],) = axes.plot(sizes, means, "o-", color=colour, markersize=4)
                axes.fill_between(sizes, means, longest, color=colour, alpha=0.15, linewidth=0)
                axes.set_title(f"{size} {fixed}" + (" each" if fixed == "variants" else ""), fontsize=9)
            axes.set(xlabel="variants per stage" if along == "variants" else "stages", yscale="log")
        left.set_ylabel("decision time (s), mean to maximum")
        figure.legend(lines.values(), lines, loc="outside lower center", ncols=len(lines), frameon=False)
        _save(figure, directory, "decision-times")


def slices(
    times: Sequence[DecisionTime], along: str, fixed: str
) -> dict[str, tuple[list[int], list[float], list[float], int]]:
    """By solver: sizes ``along`` one axis, mean and maximum (seconds) at each, and the size of the ``fixed`` axis: the
    largest that was measured.
    """
    measured = [time for time in times if time.solver != "published"]
    most = max(getattr(time, fixed) for time in measured)
    found = {}
    for solver in SOLVER_LOOK:
        chosen = sorted(
            (getattr(time, along), time.mean, time.max)
            for time in times
            if time.solver == solver and getattr(time, fixed) == most
        )
        if chosen:
            sizes, means, longest = map(list, zip(*chosen, strict=True))
            found[solver] = (sizes, means, longest, most)
    return found


def _draw_over_time(all_axes: Sequence[Any], scene: Scene, colours: Mapping[str, str]) -> None:
    for axes, panel in zip(all_axes, panels(scene), strict=True):
        shown = list(scene.series.items())
        for order, (method, frame) in enumerate(shown[:1] if panel.shared else shown):
            colour = MUTED if panel.shared else colours[method]
            width = 0.6 if panel.shared or panel.noisy else 1.1
            look = {"color": colour, "linewidth": width, "zorder": TOP - order}
            axes.step(frame["second"], frame[panel.column], where="post", **look)
        axes.set(ylabel=panel.title, ylim=(0, None))
        axes.margins(x=0)
    all_axes[-1].set_xlabel("time (s)")


def _draw_violations(axes: Any, scene: Scene, colours: Mapping[str, str]) -> None:
    found = {method: estimate for method, (estimate,) in known(scene, VIOLATIONS).items()}
    means = [estimate.mean for estimate in found.values()]
    half = reach(list(found.values()))
    # No ratio is below 0, whatever the interval says.
    bars = [[min(mean, part) for mean, part in zip(means, half, strict=True)], half]
    axes.bar(
        range(len(found)), means, yerr=bars, color=[colours[m] for m in found], error_kw={"ecolor": INK, "capsize": 2}
    )
    tops = [mean + part for mean, part in zip(means, half, strict=True)]
    axes.set(ylabel="violations", ylim=(0, 1.05 * max([0.01, *tops])))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xticks(range(len(found)), list(found), rotation=30, ha="right", rotation_mode="anchor")
    axes.grid(visible=False, axis="x")


def _draw_plane(axes: Any, scene: Scene, colours: Mapping[str, str]) -> None:
    markers = dict(zip(colours, cycle(MARKERS), strict=False))
    for order, (method, (cost, accuracy)) in enumerate(known(scene, COST, ACCURACY).items()):
        wide, high = reach([cost, accuracy])
        look = {"fmt": markers[method], "color": colours[method], "capsize": 2, "elinewidth": 1}
        axes.errorbar(cost.mean, accuracy.mean, yerr=high, xerr=wide, **look, zorder=TOP - order, label=method)
    axes.set(xlabel="mean cost (cores)", ylabel="accuracy")
    axes.margins(0.1)


def _save(figure: Figure, directory: Path, name: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    figure.savefig(directory / f"{name}.svg", metadata={"Date": None})
    figure.savefig(directory / f"{name}.png", dpi=150)
