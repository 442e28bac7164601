"""``ipa-seldon demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ipa_seldon.cli.options import Seconds, network_options


@click.command()
@click.option(
    "-f",
    "--file",
    "path",
    type=click.Path(path_type=Path),
    help="Pipeline file.  [default: the text pipeline; with --algorithm infadapter or sponge its recogniser alone]",
)
@click.option(
    "--pipeline",
    help="A pipeline of this project instead, by its name: its file for one small machine, where it has one.",
)
@click.option("--algorithm", help="What adapts it.  [default: the file's; ipa for the text pipeline]")
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
@click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True, help="Of arrivals and requests.")
@network_options
@click.option(
    "--compare", is_flag=True, help="Replay it with what stays fixed too: the lightest and the heaviest variants."
)
@click.option("--calibrate/--no-calibrate", default=True, show_default=True, help="Scale the profile to this machine.")
@click.option(
    "--status-port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Of the live page, on this machine alone; 0 takes a free one.",
)
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
    pipeline: str | None,
    algorithm: str | None,
    platform: str,
    compare: bool,
    calibrate: bool,
    status_port: int,
    directory: Path,
    output: str,
    **shape: Any,
) -> None:
    """Serve the text pipeline, or its recogniser alone, on a real Triton, replay a load, adapt it, and write a report.

    With --pipeline video it is YOLOv5 and ResNet; weights that are missing are made, random ones of the true size.

    With --algorithm sponge requests come over --network, by default 4g-bus, as large as --size says, by default
    200KB-500KB, and --compare serves them first come, first served, on the fewest and on the most cores. With -o json
    the summary alone goes to standard output (with --compare one per run, by name).
    """
    from ipa_seldon.cli.reports import HTML, REPORT, write
    from ipa_seldon.demo.loads import Shape
    from ipa_seldon.demo.runner import Demo, Subject, pipeline_named, pipeline_of
    from ipa_seldon.demo.serving import check_platform
    from ipa_seldon.runs.recorded import read_run

    def say(words: str) -> None:
        click.echo(words, err=True)

    if path and pipeline:
        raise click.UsageError("--pipeline: accepted: without --file")
    check_platform(platform)
    chosen = pipeline_named(pipeline) if pipeline else path or pipeline_of(algorithm)
    subject = Subject(chosen, algorithm, calibrate)
    Demo(subject, Shape(**shape), directory, say).run(compare, platform, status_port)
    recorded = read_run(directory)
    write(recorded, output, None)
    write(recorded, HTML, directory / REPORT)
