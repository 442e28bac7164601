"""Cases of a recorded load, run in processes behind progress bars, and how their figures are printed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ipa_seldon.advice.replay import Case

FIGURES = {
    "violation_ratio": "violations",
    "accuracy": "accuracy",
    "core_hours": "core hours",
    "mean_cost": "mean cores",
    "switches": "switches",
    "degraded": "degraded",
    "failed": "failed",
}
"""Of a case, and what they are called in a table."""


class Outcomes:
    """What cases came to, by their names: ``figures`` of those that ended well, ``failed`` with a line of why."""

    def __init__(self) -> None:
        self.figures: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}
        self.interrupted = False

    def as_json(self) -> dict[str, Any]:
        """All of it, as JSON types."""
        return {"figures": self.figures, "failed": self.failed, "interrupted": self.interrupted}

    def rows(self, order: Sequence[str]) -> list[list[str]]:
        """A row of FIGURES for each case that ended well, in the order of their names in ``order``."""
        from ipa_seldon.words import figure, share

        words = {"violation_ratio": share}
        return [
            [name, *(words.get(key, figure)(self.figures[name][key]) for key in FIGURES)]
            for name in order
            if name in self.figures
        ]


def headings(first: str) -> list[str]:
    """Of a table of ``rows``."""
    return [first, *FIGURES.values()]


def run_cases(cases: Sequence[Case], jobs: int | None) -> Outcomes:
    """Replay ``cases``, ``jobs`` at a time (None: one a core). Ctrl-C ends it, with what has ended by then."""
    from rich.console import Console
    from rich.progress import Progress

    from ipa_seldon.advice.replay import replay
    from ipa_seldon.experiments.processes import in_processes, words_of

    outcomes = Outcomes()
    with Progress(console=Console(stderr=True), transient=True) as bars:
        tasks = [bars.add_task(case.name, total=1.0) for case in cases]

        def tell(progress: Sequence[float]) -> None:
            for task, done in zip(tasks, progress, strict=True):
                bars.update(task, completed=done)

        try:
            with closing(in_processes(replay, cases, jobs or os.cpu_count() or 1, tell)) as ended:
                for case, future in ended:
                    error = future.exception()
                    if error:
                        outcomes.failed[case.name] = words_of(error)
                    else:
                        outcomes.figures[case.name] = future.result()
        except KeyboardInterrupt:
            outcomes.interrupted = True
    for name, words in outcomes.failed.items():
        click.echo(f"failed: {name}: {words}", err=True)
    if outcomes.interrupted:
        click.echo(f"interrupted: {len(outcomes.figures)} of {len(cases)} are here", err=True)
    return outcomes
