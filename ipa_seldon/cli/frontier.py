"""What ``ipa-seldon plan --frontier`` prints."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ipa_seldon.cli.options import echo

if TYPE_CHECKING:
    from ipa_seldon.algorithms.frontier import FrontierPoint
    from ipa_seldon.algorithms.ipa import Ipa
    from ipa_seldon.plan import Allocation


def show_frontier(algorithm: Ipa, rate: float, plot: Path | None, output: str) -> int:
    """Print the frontier at ``rate`` and draw it to ``plot``; the exit code."""
    from ipa_seldon.cli import EXIT_DEGRADED
    from ipa_seldon.plan import Observation

    begin = time.perf_counter()
    points = algorithm.frontier(rate)
    seconds = time.perf_counter() - begin
    reason = "" if points else algorithm.decide(rate, Observation(time=0.0, arrivals=(), plan={})).reason
    title = f"{algorithm.pipeline.name} at {rate:g} requests/s"
    if output == "table":
        if points:
            _print_table(f"{title}: variant, replicas x cores, batch", points)
        click.echo(reason or f"{len(points)} plans · {algorithm.settings.solver.name}, {seconds * 1e3:.1f} ms")
    else:
        document = {
            "rate": rate,
            "solver": algorithm.settings.solver.name,
            "seconds": round(seconds, 6),
            "slo": algorithm.pipeline.slo,
            "frontier": [point_as_document(point) for point in points],
        }
        echo(document | ({"reason": reason} if reason else {}), output)
    if plot and points:
        from ipa_seldon.experiments.frontier import draw

        draw(points, title, plot)
    return 0 if points else EXIT_DEGRADED


def point_as_document(point: FrontierPoint) -> dict[str, Any]:
    """A point as ``-o json`` prints it. ``ratio`` is the open range of alpha / beta: its upper end is null where there
    is none, and all of it where no weights select the plan.
    """
    from ipa_seldon.plan import plan_to_json

    proposal = point.proposal
    return {
        "accuracy": proposal.accuracy,
        "cost": proposal.cost,
        "latency": proposal.latency,
        "ratio": point.ratio and [end if isfinite(end) else None for end in point.ratio],
        "stages": plan_to_json(proposal.plan),
    }


def _print_table(title: str, points: tuple[FrontierPoint, ...]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for heading in ("accuracy", "cost", "latency s", "alpha / beta"):
        table.add_column(heading, justify="right", no_wrap=True)
    for stage in points[0].proposal.plan:
        table.add_column(stage, overflow="fold")
    for point in points:
        proposal = point.proposal
        figures = (f"{proposal.accuracy:.4f}", f"{proposal.cost:g}", f"{proposal.latency:.3f}", _range(point.ratio))
        table.add_row(*figures, *map(_words, proposal.plan.values()))
    Console().print(table)


def _range(ratio: tuple[float, float] | None) -> str:
    if ratio is None:
        return "none"
    lower, upper = ratio
    return f"above {lower:.5g}" if upper == inf else f"{lower:.5g} to {upper:.5g}"


def _words(allocations: Sequence[Allocation]) -> str:
    def words(a: Allocation) -> str:
        gpus = f" {a.gpus} GPU" if a.gpus else ""
        return f"{a.variant} {a.replicas}x{a.cores}{gpus} b{a.batch}" + ("" if a.share == 1 else f" {a.share:.0%}")

    return "\n".join(map(words, allocations))
