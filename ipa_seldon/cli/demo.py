"""``ipa-seldon demo``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ipa_seldon.cli.options import Seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipa_seldon.demo.summary import RunResult


@click.command()
@click.option(
    "-f", "--file", "path", type=click.Path(path_type=Path), help="Pipeline file.  [default: the text pipeline]"
)
@click.option(
    "--platform",
    type=click.Choice(["local", "seldon"]),
    default="local",
    show_default=True,
    help="One Triton, or the pods of an emulated cluster, which needs a checkout of the repository.",
)
@click.option("--duration", type=Seconds(), default="180s", show_default=True, help="How long the load is replayed.")
@click.option("--pattern", default="bursty", show_default=True, help="Load pattern, see ipa-seldon load.")
@click.option("--trace", type=click.Path(path_type=Path), help="Trace (second,rps) to replay instead of a pattern.")
@click.option(
    "--damping", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True, help="Divides the load."
)
@click.option(
    "--scale",
    type=click.FloatRange(min=0, min_open=True),
    help="Requests/s at a pattern's peak.  [default: what suits this machine]",
)
@click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True, help="Of arrivals and images.")
@click.option("--compare", is_flag=True, help="Replay it with the lightest and the heaviest variants, fixed, too.")
@click.option("--calibrate/--no-calibrate", default=True, show_default=True, help="Scale the profile to this machine.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default="reports",
    show_default=True,
    help="For the report, logs and records.",
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def demo(
    path: Path | None,
    platform: str,
    duration: float,
    pattern: str,
    trace: Path | None,
    damping: float,
    scale: float | None,
    seed: int,
    compare: bool,
    calibrate: bool,
    directory: Path,
    output: str,
) -> None:
    """Serve the text pipeline on a real Triton, replay a load, adapt it, and write a report.

    With -o json the summary alone goes to standard output (with --compare one per run, by name).
    """
    from ipa_seldon.demo.runner import TEXT_PIPELINE, Demo, check_load
    from ipa_seldon.demo.serving import check_platform
    from ipa_seldon.demo.summary import summary

    def say(words: str) -> None:
        click.echo(words, err=True)

    check_platform(platform)
    check_load(trace, pattern, duration, seed)
    runner = Demo(path or TEXT_PIPELINE, directory, say, calibration_seed=seed if calibrate else None)
    load = runner.load(duration, seed, damping, trace=trace, pattern=pattern, scale=scale)
    runs = runner.run(load, compare, platform)
    report = runner.write_report(runs, load)
    summaries = {run.name: summary(run) for run in runs}
    if output == "json":
        click.echo(json.dumps(summaries if compare else next(iter(summaries.values())), indent=2))
    else:
        _print_table(runs)
    say(f"report: {report}")


def _print_table(runs: Sequence[RunResult]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from ipa_seldon.demo.summary import summary

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    for run in runs:
        table.add_column(run.name, justify="right")
    for label, *cells in _lines([summary(run) for run in runs]):
        table.add_row(label, *cells)
    Console().print(table)


def _lines(summaries: Sequence[dict[str, object]]) -> list[list[str]]:
    from ipa_seldon.reports.words import ABSENT

    def text(value: object, key: str) -> str:
        if value is None:
            return ABSENT
        return (
            f"{value:.1%}" if key == "violation_ratio" else f"{value:.4g}" if isinstance(value, float) else str(value)
        )

    lines = []
    for key, example in summaries[0].items():
        if isinstance(example, dict):
            for part in example:
                values = [figures[key] for figures in summaries]
                lines.append(
                    [f"{key} {part}", *(text(v[part], key) if isinstance(v, dict) else ABSENT for v in values)]
                )
        else:
            lines.append([key, *(text(figures[key], key) for figures in summaries)])
    return lines
