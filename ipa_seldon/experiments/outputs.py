"""What an experiment leaves beside its rows: a Parquet file, figures and a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import pandas
from pyarrow import Table, parquet

from ipa_seldon.experiments.compare import comparisons, summaries
from ipa_seldon.experiments.decision_times import DecisionTime
from ipa_seldon.experiments.experiment import ExperimentDirectory
from ipa_seldon.experiments.figures import draw_decision_times, draw_scene
from ipa_seldon.experiments.grid import Experiment
from ipa_seldon.experiments.report import render
from ipa_seldon.experiments.results import Row
from ipa_seldon.experiments.scenes import method_colours, scenes
from ipa_seldon.profiler import this_machine


def write_parquet(rows: Sequence[Row], path: Path) -> None:
    """The rows as they are in the CSV."""
    parquet.write_table(Table.from_pandas(pandas.DataFrame(list(rows)), preserve_index=False), path)


def write_report(
    experiment: Experiment,
    place: ExperimentDirectory,
    rows: Sequence[Row],
    times: Sequence[DecisionTime],
    baseline: str | None,
    notify: Callable[[str], None],
) -> None:
    """``report.html`` and ``figures/``; ``notify`` hears of what is drawn."""
    cells = summaries(rows)
    shown, colours = scenes(cells, place.series), method_colours(cells)
    figures = place.path / "figures"
    for scene in shown:
        notify(f"figure {scene.pipeline}-{scene.load}")
        draw_scene(scene, colours, figures)
    if times:
        draw_decision_times(times, figures)
    notify("report")
    compared = comparisons(rows, baseline) if baseline else []
    html = render(experiment.document.metadata.name, shown, colours, compared, times, _footer(experiment))
    (place.path / "report.html").write_text(html, "utf-8")


def _footer(experiment: Experiment) -> dict[str, str]:
    spec = experiment.document.spec
    loads = {}
    for name, load in spec.loads.items():
        trace = experiment.trace(name)
        since = f" from second {load.start:.0f}" if load.start else ""
        traced = f"{trace.name}{since}, divided by {load.damping:g}" if trace else ""
        words = traced or f"{load.pattern}, peak {load.scale:g} rps"
        if load.network:
            source = experiment.network_trace(name)
            words += f"; {load.size} over {source.name if source else load.network.pattern}"
        loads[f"Load {name}"] = words
    simulation = spec.simulation
    resized = "" if simulation.resize is None else f", cores change in place in {simulation.resize:g} s"
    return {
        "Experiment": experiment.path.name,
        "Seeds": ", ".join(map(str, spec.seeds)),
        **loads,
        "Simulation": f"drops {simulation.drop.value} requests, replicas start in {simulation.startup:g} s{resized}",
        "Machine": this_machine(),
        "ipa-seldon": version("ipa-seldon"),
    }
