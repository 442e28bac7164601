"""``ipa-seldon profile``: a sweep over variants, cores and batches on a real Triton, or of capacities; or what Triton's
own tools have measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ipa_seldon.cli.options import Seconds
from ipa_seldon.errors import ConfigError

if TYPE_CHECKING:
    from ipa_seldon.gateway.messages import Message
    from ipa_seldon.pipeline import Stage
    from ipa_seldon.profiler import Point, Table

TIMEOUT, CAPACITY_TIMEOUT = 60.0, 900.0
Inputs = Callable[[int], "Message"]


class Counts(click.ParamType):
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


class Named(click.ParamType):
    """What a model is in the pipeline: NAME=STAGE/VARIANT."""

    name = "name=stage/variant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str, str]:
        """The three names; fails with what is accepted."""
        if isinstance(value, tuple):
            return value
        name, _, place = value.rpartition("=")
        stage, _, variant = place.partition("/")
        if not (name and stage and variant):
            self.fail(f"{value!r}: accepted: NAME=STAGE/VARIANT", param, ctx)
        return name, stage, variant


@click.group(invoke_without_command=True, subcommand_metavar="[COMMAND [ARGS]...]")
@click.option("-f", "--file", "path", type=click.Path(path_type=Path), help="Pipeline file.  [required]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="CSV; extended if it exists.  [required]")
@click.option("--capacity", is_flag=True, help="Find the most load of one pod within the SLO, at batch 1.")
@click.option("--slo", type=Seconds(), help="With --capacity: the SLO.  [default: the file's]")
@click.option("--cores", type=Counts(), default="1,2", show_default=True, help="Cores per replica.")
@click.option("--batches", type=Counts(), help="Batch sizes.  [default: powers of two up to the file's limit]")
@click.option("--stage", help="Only this stage.")
@click.option(
    "--seconds", type=Seconds(), default=6.0, show_default=True, help="Measuring time per point; of a trial, at least."
)
@click.option(
    "--timeout", type=Seconds(), help="Give a point up after this long.  [default: 60 s; with --capacity 15 m]"
)
@click.option("--requests", type=click.Path(path_type=Path), help="Requests to send: one v2 inference body per line.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the generated requests and arrivals.")
@click.pass_context
def profile(
    context: click.Context,
    /,
    path: Path | None,
    output: Path | None,
    capacity: bool,
    slo: float | None,
    stage: str | None,
    requests: Path | None,
    seed: int,
    **sweep: Any,
) -> int:
    """Measure every variant on a real Triton, for every number of cores and batch size, and write the profile.

    With --capacity, every variant for every number of cores: the most requests/s of a Poisson load with the SLO's
    percentile within the SLO, to 4 %, by bisection. A trial counts at least 300 requests over 25 SLOs.

    Without --requests, made-up ones are sent, where the first stage takes a tensor of a name that `ipa-seldon load`
    knows. Points that the output holds already are skipped, so an interrupted sweep goes on where it was.
    """
    if context.invoked_subcommand:
        _without_options(context)
        return 0
    if path is None or output is None:
        missing = next(param for param in context.command.params if context.params[param.name or ""] is None)
        raise click.MissingParameter(ctx=context, param=missing)
    from ipa_seldon.bootstrap import local_repository
    from ipa_seldon.config import read_config
    from ipa_seldon.profiler import Bench, CapacityTable, Effort, Goal, ProfileTable, measure_capacity, this_machine

    config = read_config(path, profile=False)
    repository = local_repository(config)
    pipeline = config.pipeline
    stages = [one for one in pipeline.stages if stage in (None, one.name)]
    if not stages:
        raise ConfigError(f"--stage: {stage!r}: accepted: {', '.join(one.name for one in pipeline.stages)}")
    points = _points(stages, pipeline.max_batch, capacity, slo, sweep)
    slo = slo or pipeline.slo
    table = CapacityTable(output, this_machine(), seed, slo) if capacity else ProfileTable(output, this_machine(), seed)
    if all(point in table for point in points):
        click.echo(f"{output}: complete, nothing to measure", err=True)
        return 0
    inputs = _requests_in(requests) if requests else _made_up(pipeline.stages[0].name, repository, seed)
    timeout = sweep["timeout"] or (CAPACITY_TIMEOUT if capacity else TIMEOUT)
    effort = Effort(sweep["seconds"], timeout, pipeline.percentile)
    with Bench(pipeline, repository, inputs) as bench:
        goal = Goal(slo, pipeline.percentile, seed=seed)
        measure: Callable[[Point], Any] = (
            partial(measure_capacity, bench, goal=goal, effort=effort)
            if capacity
            else partial(bench.measure, effort=effort)
        )
        _measure(measure, points, table, timeout)
    return 0


@profile.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="CSV; extended if it exists.")
@click.option("--stage", help="The stage that was measured.")
@click.option("--variant", help="The variant that was measured.")
@click.option("--map", "named", type=Named(), multiple=True, help="What a model, or a model config, is; repeatable.")
@click.option("--cores", type=click.IntRange(min=1), required=True, help="The cores that it had.")
@click.option("--batch", type=click.IntRange(min=1), help="The batches that were run, where the file does not say.")
@click.option(
    "--percentile", type=click.FloatRange(0, 100), default=99.0, show_default=True, help="Of latency, as in the SLO."
)
@click.option("--replace", is_flag=True, help="Replace points that the output holds already, instead of keeping them.")
def import_(
    file: Path,
    output: Path,
    stage: str | None,
    variant: str | None,
    named: Sequence[tuple[str, str, str]],
    cores: int,
    batch: int | None,
    percentile: float,
    replace: bool,
) -> int:
    """Add to a profile what Triton's own tools have measured.

    FILE is the CSV of perf_analyzer -f, of one variant in batches of one size: --stage, --variant and --batch say of
    which. Or it is Model Analyzer's metrics-model-inference.csv, of one model, or of several with a --map for each
    that is to be taken. Of several rows about one point, the least loaded one gives the latency, without the queue
    where the file tells it apart, and the best one the throughput.
    """
    from ipa_seldon.profiler import ImportedTable
    from ipa_seldon.profiler.imported import Stated, in_words, read_measurements

    if bool(named) == bool(stage or variant) or bool(stage) != bool(variant):
        raise click.UsageError("accepted: --stage and --variant, or --map")
    alone = (stage, variant) if stage and variant else None
    places = {name: (stage_of, variant_of) for name, stage_of, variant_of in named}
    found = read_measurements(file, Stated(cores, batch, percentile, alone, places))
    table = ImportedTable(output, f"{found.tool}: {file.name}")
    new = {point: measured for point, measured in found.points.items() if replace or point not in table}
    table.extend(new)
    kept = len(found.points) - len(new)
    words = [f"points of {found.tool}: {len(new)} added" + (f", {kept} kept (--replace overwrites)" if kept else "")]
    words += [in_words(found.left_out)] if found.left_out else []
    words += ["latencies have the wait in Triton's queue in them, which the file does not tell"] if found.queued else []
    click.echo(f"{output}: {'; '.join(words)}", err=True)
    return 0


def _without_options(context: click.Context) -> None:
    """UsageError where options of a sweep stand before the name of a sub-command, which has its own."""
    for param in context.command.params:
        if context.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE:
            command = context.invoked_subcommand
            raise click.UsageError(f"{param.opts[-1]}: accepted: without {command}, or behind it", context)


def _points(
    stages: Sequence[Stage], max_batch: int, capacity: bool, slo: float | None, sweep: Mapping[str, Any]
) -> list[Point]:
    """What is to be measured; ConfigError for options that do not go together."""
    from ipa_seldon.options import allowed_batches
    from ipa_seldon.profiler import sweep_points

    if not capacity:
        if slo is not None:
            raise ConfigError(f"--slo: {slo:g}: accepted: only with --capacity")
        return sweep_points(stages, sweep["cores"], sweep["batches"] or allowed_batches(max_batch))
    if sweep["batches"]:
        raise ConfigError("--batches: accepted: not with --capacity, which is of batch 1")
    names = [variant.name for stage in stages for variant in stage.variants]
    for name in names:
        if names.count(name) > 1:
            known = ", ".join(stage.name for stage in stages)
            raise ConfigError(
                f"--stage: missing; accepted: one of {known}, since variant {name!r} is in several, and capacities "
                "are told apart by variant only"
            )
    return sweep_points(stages, sweep["cores"], (1,))


def _measure(measure: Callable[[Point], Any], points: Sequence[Point], table: Table, timeout: float) -> None:
    """The sweep with a progress bar on standard error, and a line for every point measured."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ipa_seldon.profiler import sweep

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    left = [point for point in points if point not in table]
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("profile", total=len(left))
        for point, row in sweep(measure, left, table, timeout):
            words = f"not measured within {timeout:g} s" if row is None else str(row)
            progress.console.print(f"{point}: {words}", highlight=False)
            progress.advance(task)


def _requests_in(path: Path) -> Inputs:
    """The lines of a file in turn."""
    from ipa_seldon.gateway.messages import Body, read_message

    try:
        requests = [read_message(Body(line), "inputs") for line in path.read_bytes().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"--requests: {path}: {error}; one v2 inference body per line") from error
    if not requests:
        raise ConfigError(f"--requests: {path}: empty; accepted: one v2 inference body per line")
    return lambda index: requests[index % len(requests)]


def _made_up(first: str, repository: Path, seed: int) -> Inputs:
    """Requests as the first stage takes them, where such can be made up."""
    from ipa_seldon.demo.requests import generated_for, requests

    try:
        return requests(generated_for(repository, first), seed)
    except ConfigError as error:
        raise ConfigError(f"--requests: missing; {error}") from error
