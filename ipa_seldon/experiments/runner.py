"""Runs of an experiment in parallel processes. Simulated runs share nothing, so any number gives the same results."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children, get_context

from ipa_seldon.errors import IpaSeldonError
from ipa_seldon.experiments.grid import Run
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
    if not runs:
        return
    before = active_children()
    # Spawned rather than forked: the parent has threads (progress, the pool's own), and forks of those can deadlock.
    pool = ProcessPoolExecutor(min(jobs, len(runs)), get_context("spawn"))
    try:
        with _interrupts_ignored():
            futures = {pool.submit(_execute, run): run for run in runs}
        for future in as_completed(futures):
            yield _finished(futures.pop(future), future)
        pool.shutdown()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in active_children():
            if process not in before:
                process.terminate()
        raise


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes that start here ignore Ctrl-C from their first moment on: it reaches all of a terminal's processes, and
    the parent decides for them.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _execute(run: Run) -> Result:
    simulated = simulate(run.scenario)
    return flat(figures(simulated)), series(run.scenario, simulated) if run.series else []


def _finished(run: Run, future: Future[Result]) -> Finished:
    error = future.exception()
    if error is None:
        return Finished(run, *future.result())
    words = (str(error).splitlines() or [""])[0]
    return Finished(run, {}, [], words if isinstance(error, IpaSeldonError) else f"{type(error).__name__}: {words}")
