"""An experiment in its directory: what is missing is run, what is there is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from ipa_seldon.errors import ConfigError
from ipa_seldon.experiments.grid import Cell, Run
from ipa_seldon.experiments.results import ResultStore, row_of
from ipa_seldon.experiments.runner import Finished, finished_runs
from ipa_seldon.experiments.series import series_seed, write_series


class ExperimentDirectory:
    """``results.csv`` has a row per run; ``series/<pipeline>-<load>-<method>.csv`` one run of each cell over time;
    ``decision-times.csv`` what decisions take.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{path}: accepted: a directory that can be written to: {error.strerror}") from error
        self.path = path
        self.results = path / "results.csv"
        self.decision_times = path / "decision-times.csv"
        self.store = ResultStore(self.results)

    def series(self, cell: Cell) -> Path:
        """Where the run of ``cell`` over time is."""
        return self.path / "series" / f"{cell}.csv"

    def missing(self, runs: Sequence[Run]) -> list[Run]:
        """Those of ``runs`` that have no result, or one of something else than would run now."""
        return [run for run in runs if not (self.store.has(run) and self._has_series(run))]

    def complete(self, runs: Sequence[Run], jobs: int, notify: Callable[[Finished], None]) -> list[Finished]:
        """Execute ``runs`` in ``jobs`` processes, keep each result once it is there, then ``notify``; the failed."""
        failed = []
        try:
            with closing(finished_runs(runs, jobs)) as finished:
                for one in finished:
                    if one.error:
                        failed.append(one)
                    else:
                        self._keep(one)
                    notify(one)
        finally:
            self.store.save()
        return failed

    def _keep(self, one: Finished) -> None:
        if one.run.series:
            # Before the row: a row says that its series is there.
            write_series(self.series(one.run.cell), one.series)
        self.store.add(row_of(one.run, one.figures))

    def _has_series(self, run: Run) -> bool:
        return not run.series or series_seed(self.series(run.cell)) == run.seed
