"""``ipa-seldon profile``: a sweep over variants, cores and batches on a real Triton."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ipa_seldon.cli.options import Seconds
from ipa_seldon.errors import ConfigError

if TYPE_CHECKING:
    from ipa_seldon.profiler import Bench, Effort, Point, ProfileTable, Row

Inputs = Callable[[int], Mapping[str, Any]]


class Counts(click.ParamType[tuple[int, ...]]):
    """Whole numbers from 1 up, separated by commas."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Ascending, without repeats; fails with what is accepted."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = sorted({int(part) for part in value.split(",")})
        except ValueError:
            numbers = [0]
        if numbers[0] < 1:
            self.fail(f"{value!r}: accepted: whole numbers from 1 up, separated by commas, such as 1,2,4", param, ctx)
        return tuple(numbers)


@click.command()
@click.option("-f", "--file", "path", type=click.Path(path_type=Path), required=True, help="Pipeline file.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Profile CSV; extended if it exists."
)
@click.option("--cores", type=Counts(), default="1,2", show_default=True, help="Cores per replica.")
@click.option("--batches", type=Counts(), help="Batch sizes.  [default: powers of two up to the file's limit]")
@click.option("--stage", help="Only this stage.")
@click.option("--seconds", type=Seconds(), default=6.0, show_default=True, help="Measuring time per point.")
@click.option("--timeout", type=Seconds(), default=60.0, show_default=True, help="Give a point up after this long.")
@click.option("--requests", type=click.Path(path_type=Path), help="Requests to send: one v2 inference body per line.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the generated images.")
def profile(path: Path, output: Path, stage: str | None, requests: Path | None, seed: int, **sweep: Any) -> int:
    """Measure every variant on a real Triton, for every number of cores and batch size, and write the profile.

    Without --requests, the images of the demo pipeline are sent. Points that the output holds already are skipped, so
    an interrupted sweep goes on where it was.
    """
    from ipa_seldon.bootstrap import repository_of
    from ipa_seldon.config import read_config
    from ipa_seldon.options import allowed_batches
    from ipa_seldon.profiler import Bench, Effort, ProfileTable, sweep_points, this_machine

    config = read_config(path, profile=False)
    repository = repository_of(config)
    stages = [one for one in config.pipeline.stages if stage in (None, one.name)]
    if not stages:
        known = ", ".join(one.name for one in config.pipeline.stages)
        raise ConfigError(f"--stage: {stage!r}: accepted: {known}")
    points = sweep_points(stages, sweep["cores"], sweep["batches"] or allowed_batches(config.pipeline.max_batch))
    table = ProfileTable(output, this_machine(), seed)
    if all(point in table for point in points):
        click.echo(f"{output}: complete, nothing to measure", err=True)
        return 0
    inputs = _requests_in(requests) if requests else _images(config.pipeline.stages[0].name, repository, seed)
    effort = Effort(sweep["seconds"], sweep["timeout"], config.pipeline.percentile)
    with Bench(config.pipeline, repository, inputs) as bench:
        _measure(bench, points, table, effort)
    return 0


def _measure(bench: Bench, points: Sequence[Point], table: ProfileTable, effort: Effort) -> None:
    """The sweep with a progress bar on standard error, and a line for every point measured."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ipa_seldon.profiler import sweep

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    left = [point for point in points if point not in table]
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("profile", total=len(left))
        for point, row in sweep(bench, left, table, effort):
            progress.console.print(_line(point, row, effort), highlight=False)
            progress.advance(task)


def _line(point: Point, row: Row | None, effort: Effort) -> str:
    if row is None:
        return f"{point}: not measured within {effort.timeout:g} s"
    return f"{point}: {1000 * row.latency:.1f} ms, {row.throughput:.1f} requests/s ({row.samples} batches)"


def _requests_in(path: Path) -> Inputs:
    """The lines of a file in turn."""
    try:
        requests = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"--requests: {path}: {error}; accepted: one v2 inference body (JSON) per line") from error
    if not requests or not all(isinstance(request, dict) and "inputs" in request for request in requests):
        raise ConfigError(f"--requests: {path}: accepted: one v2 inference body (JSON with inputs) per line")
    return lambda index: requests[index % len(requests)]


def _images(first: str, repository: Path, seed: int) -> Inputs:
    """The demo's images, where the first stage takes images."""
    from ipa_seldon.demo.requests import text_requests
    from ipa_seldon.platforms.triton_models import read_configuration

    names = [tensor["name"] for tensor in read_configuration(repository, first)["input"]]
    if names != ["image"]:
        raise ConfigError(
            f"--requests: missing; accepted: a file of requests, since {first!r} takes {', '.join(names)}"
        )
    return text_requests(seed)
