"""Runs of an experiment in parallel processes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass

from ipa_seldon.experiments.grid import Run
from ipa_seldon.experiments.processes import Note, in_processes, words_of
from ipa_seldon.experiments.series import SeriesRow, series
from ipa_seldon.experiments.simulate import figures, flat, simulate

Result = tuple[dict[str, int | float | None], list[SeriesRow]]


@dataclass(frozen=True, eq=False)
class Finished:
    """How a run ended: with flat ``figures`` (and a row per second where the run is to have a ``series``), or with an
    ``error``, one line.
    """

    run: Run
    figures: dict[str, int | float | None]
    series: list[SeriesRow]
    error: str = ""


def finished_runs(runs: Sequence[Run], jobs: int) -> Generator[Finished, None, None]:
    """Execute ``runs`` in ``jobs`` processes; each as it ends. When the caller stops, so do the processes."""
    with closing(in_processes(_execute, runs, jobs)) as ended:
        for run, future in ended:
            yield _finished(run, future)


def _execute(run: Run, _: Note) -> Result:
    simulated = simulate(run.scenario)
    return flat(figures(simulated)), series(run.scenario, simulated) if run.series else []


def _finished(run: Run, future: Future[Result]) -> Finished:
    error = future.exception()
    return Finished(run, {}, [], words_of(error)) if error else Finished(run, *future.result())
