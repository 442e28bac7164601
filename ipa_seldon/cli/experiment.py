"""``ipa-seldon experiment``."""

from __future__ import annotations

import json
import os
from importlib import import_module
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipa_seldon.experiments.compare import Comparison, Summary
    from ipa_seldon.experiments.decision_times import DecisionTime
    from ipa_seldon.experiments.experiment import ExperimentDirectory
    from ipa_seldon.experiments.grid import Experiment, Run
    from ipa_seldon.experiments.results import Row
    from ipa_seldon.experiments.runner import Finished

WIDTH = 160
"""Characters of a line where no terminal says."""


class Selection(click.ParamType):
    """``axis=name`` pairs, separated by commas; an axis that appears twice accepts either name."""

    name = "axis=name,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, list[str]]:
        """Axis -> names."""
        from ipa_seldon.experiments.grid import AXES

        chosen: dict[str, list[str]] = {}
        for pair in str(value).split(","):
            axis, _, name = pair.strip().partition("=")
            if axis not in AXES or not name:
                self.fail(f"{pair!r}: accepted: {', '.join(f'{axis}=name' for axis in AXES)}", param, ctx)
            chosen.setdefault(axis, []).append(name)
        return chosen


@click.command()
@click.option("-f", "--file", "path", required=True, type=click.Path(path_type=Path), help="Experiment file.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default="reports/experiments",
    show_default=True,
    help="For the results.",
)
@click.option("--jobs", type=click.IntRange(min=1), help="Runs at a time.  [default: one a core]")
@click.option("--only", type=Selection(), help="Cells to run and show, such as pipeline=video,load=bursty.")
@click.option("--baseline", help="Method to compare the others with, paired by seed.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def experiment(
    path: Path,
    directory: Path,
    jobs: int | None,
    only: dict[str, list[str]] | None,
    baseline: str | None,
    output: str,
) -> int:
    """Simulate pipelines x loads x methods x seeds, as an experiment file says.

    Every run is a row of results.csv, written when it ends; what is there already does not run again, unless the
    pipeline, the profile, the load or the code has changed. Runs that fail are named at the end, with exit code 1. One
    run of each cell over time is in series/. Of the whole experiment (without --only) there are report.html and
    figures/ as well.
    """
    _check_packages()
    from ipa_seldon.experiments.compare import comparisons, summaries
    from ipa_seldon.experiments.experiment import ExperimentDirectory
    from ipa_seldon.experiments.grid import expand, read_experiment
    from ipa_seldon.experiments.outputs import write_parquet

    read = read_experiment(path)
    _check_baseline(read, baseline, only)
    runs = expand(read, only)
    _say_missing_traces(read, runs)
    published = _published(read) if only is None else []
    place = ExperimentDirectory(directory)
    missing = place.missing(runs)
    failed = _complete(place, runs, missing, jobs or os.cpu_count() or 1)
    rows = place.store.rows(runs)
    if rows:
        write_parquet(place.store.all_rows(), place.path / "results.parquet")
        if only is None:
            _report(read, place, rows, baseline, published)
    compared = comparisons(rows, baseline) if baseline else None
    if output == "json":
        executed = len(missing) - len(failed)
        document = {"results": str(place.results), "runs": len(runs), "executed": executed}
        document |= {"failed": [_failure(one) for one in failed]}
        click.echo(json.dumps(document | _as_json(summaries(rows), compared), indent=2, allow_nan=False))
    else:
        _print_summaries(summaries(rows))
        if baseline:
            _print_comparisons(compared or [], baseline)
    click.echo(f"results: {place.path}", err=True)
    return 1 if failed else 0


def _check_packages() -> None:
    """Before hours of runs, rather than after them."""
    from ipa_seldon.errors import ConfigError

    try:
        import_module("ipa_seldon.experiments.outputs")
    except ImportError as error:
        extra = "pip install 'ipa-seldon[experiments]'"
        raise ConfigError(f"ipa-seldon experiment lacks a package: {error}; install its extra: {extra}") from error


def _check_baseline(read: Experiment, baseline: str | None, only: Mapping[str, Sequence[str]] | None) -> None:
    from ipa_seldon.errors import ConfigError

    methods = (only or {}).get("method") or list(read.document.spec.methods)
    if baseline is not None and baseline not in methods:
        raise ConfigError(f"--baseline: {baseline!r} is no method of this experiment; accepted: {', '.join(methods)}")


def _say_missing_traces(read: Experiment, runs: Sequence[Run]) -> None:
    for load in dict.fromkeys(run.cell.load for run in runs):
        spec = read.document.spec.loads[load]
        if spec.trace and read.trace(load) is None:
            click.echo(f"load {load}: {spec.trace} is not there; the pattern {spec.pattern} instead", err=True)
        network = spec.network
        if network and network.trace and read.network_trace(load) is None:
            click.echo(f"load {load}: {network.trace} is not there; the pattern {network.pattern} instead", err=True)


def _complete(place: ExperimentDirectory, runs: Sequence[Run], missing: Sequence[Run], jobs: int) -> list[Finished]:
    """Run what is missing of ``runs`` behind a progress bar."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    total = len(runs)

    def note(one: Finished) -> None:
        bar.update(task, description=str(one.run.cell), advance=1)

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, completed=total - len(missing))
        try:
            failed = place.complete(missing, jobs, note)
        except KeyboardInterrupt:
            kept = len(place.store.rows(runs))
            click.echo(f"interrupted: {kept} of {total} runs are in {place.results}; run it again to go on", err=True)
            raise
    for one in failed:
        click.echo(f"failed: {one.run.cell}, seed {one.run.seed}: {one.error}", err=True)
    click.echo(f"{len(missing) - len(failed)} runs, {total - len(missing)} were there already", err=True)
    return failed


def _published(read: Experiment) -> list[DecisionTime]:
    from ipa_seldon.experiments.decision_times import published_times

    spec = read.document.spec.decision_times
    return published_times(read.path.parent / spec.published) if spec and spec.published else []


def _report(
    read: Experiment,
    place: ExperimentDirectory,
    rows: Sequence[Row],
    baseline: str | None,
    published: Sequence[DecisionTime],
) -> None:
    """Figures and report of the whole experiment."""
    from rich.console import Console

    from ipa_seldon.experiments.decision_times import decision_times
    from ipa_seldon.experiments.outputs import write_report

    spec = read.document.spec.decision_times
    with Console(stderr=True).status("") as status:
        times = [*published, *decision_times(spec, place.decision_times, status.update)] if spec else []
        write_report(read, place, rows, times, baseline, status.update)


def _failure(one: Finished) -> dict[str, Any]:
    return {**vars(one.run.cell), "seed": one.run.seed, "error": one.error}


def _as_json(cells: Sequence[Summary], compared: Sequence[Comparison] | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "cells": [
            {**vars(cell.cell), "seeds": cell.seeds, "figures": {k: _estimate(e) for k, e in cell.figures.items()}}
            for cell in cells
        ]
    }
    if compared is not None:
        document["comparison"] = [
            {
                **vars(one.cell),
                "seeds": one.seeds,
                "differences": {k: _estimate(e) for k, e in one.differences.items()},
                "dominates": one.dominates,
            }
            for one in compared
        ]
    return document


def _estimate(found: Any) -> dict[str, float | None]:
    """An estimate as JSON types; the interval of a single run is null."""
    return {part: None if isnan(value) else value for part, value in vars(found).items()}


def _print_summaries(cells: Sequence[Summary]) -> None:
    from ipa_seldon.experiments.words import estimate_words, shown

    keys = shown(cells)
    rows = [
        (
            *vars(cell.cell).values(),
            str(cell.seeds),
            *(estimate_words(key, cell.figures.get(key)) for key in keys),
        )
        for cell in cells
    ]
    _print("mean ± 95 % confidence over seeds", ("seeds", *keys), rows)


def _print_comparisons(compared: Sequence[Comparison], baseline: str) -> None:
    from ipa_seldon.experiments.compare import COMPARED
    from ipa_seldon.experiments.words import estimate_words

    rows = [
        (
            *vars(one.cell).values(),
            str(one.seeds),
            *(estimate_words(key, one.differences.get(key), sign=True) for key in COMPARED),
            "yes" if one.dominates else "",
        )
        for one in compared
    ]
    _print(f"difference to {baseline}, paired by seed", ("seeds", *COMPARED, "dominates"), rows)


def _print(title: str, figures: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from ipa_seldon.experiments.words import heading

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for axis in ("pipeline", "load", "method"):
        table.add_column(axis, no_wrap=True)
    for key in figures:
        table.add_column(heading(key), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console()
    Console(width=console.width if console.is_terminal else WIDTH).print(table)
