"""``ipa-seldon forecast``: roll forecasters over a trace and print how well each did."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from ipa_seldon.cli.drawing import Drawing
from ipa_seldon.errors import ConfigError
from ipa_seldon.forecasters import AUTO, FORECASTERS, ForecastSettings

if TYPE_CHECKING:
    from ipa_seldon.forecasters.evaluate import Evaluation, Step

DAY = 86_400
NAMES = (*FORECASTERS, AUTO)
SETTINGS = ("window", "aggregate", "horizon", "resolution", "quantile", "order")
COLUMNS = {  # of the table: the field of an Evaluation, its title and its decimals
    "smape": ("sMAPE\n%", 1),
    "steps_under": ("under\n%", 2),
    "coverage": ("cover\n%", 2),
    "worst_hour_under": ("worst\nhour %", 1),
    "mean_over": ("over\n%", 1),
    "pinball_loss": ("pinball", 3),
    "milliseconds_median": ("ms", 2),
    "milliseconds_max": ("ms\nmax", 1),
    "fallbacks": ("fall-\nbacks", 0),
    "next_rate": ("next\nrps", 1),
}


def _quantile(_context: click.Context, _option: click.Parameter, value: str) -> float | None:
    if value == "none":
        return None
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"{value!r}; accepted: between 0 and 1, or none") from None


def _days(_context: click.Context, _option: click.Parameter, value: str | None) -> slice:
    if value is None:
        return slice(None)
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", value)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last:
        raise click.BadParameter(f"{value!r}; accepted: a day such as 3, or a range such as 8-14, counted from 1")
    return slice((first - 1) * DAY, last * DAY)


@click.command()
@click.option("--trace", required=True, help="Requests per second: one number a line, or CSV second,rps; also .xz.")
@click.option("--forecaster", "names", multiple=True, help=f"{', '.join(NAMES)}, or module:attribute; repeatable.")
@click.option("--compare", is_flag=True, help="Evaluate every forecaster that has a name.")
@click.option("--window", default=120.0, show_default=True, help="Seconds of history.")
@click.option("--aggregate", default=10.0, show_default=True, help="Seconds of a block, and between forecasts.")
@click.option("--horizon", default=20.0, show_default=True, help="Seconds ahead.")
@click.option("--resolution", default=1.0, show_default=True, help="Seconds of the means whose maximum is meant.")
@click.option("--quantile", default="0.95", callback=_quantile, show_default=True, help="none: the bare point.")
@click.option("--order", type=(int, int, int), default=(1, 0, 0), show_default=True, help="p d q of arima.")
@click.option("--damping", default=1.0, show_default=True, help="Divide the rates, to whole requests.")
@click.option("--days", callback=_days, help="Days of the trace, such as 8-14, counted from 1. [default: all]")
@click.option("--limit", type=click.IntRange(min=1), help="Seconds of the trace to use.")
@click.option("--keep-holes", is_flag=True, help="Take long silences of a busy trace for load, not for gaps.")
@click.option(
    "--plot",
    type=Drawing("plotly", ".html", ".png"),
    help="Draw load, forecasts and errors to this .html (with the table) or .png (by Chromium).",
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def forecast(**options: Any) -> None:
    """Forecast a trace as the controller would, every block, and print how well it went.

    y is the horizon's true maximum, p the forecast. Steps under: p < y; cover: the others, to be set against the
    quantile. Mean over: max(p - y, 0) / y. Pinball loss (at the quantile, .95 for the bare point; requests/s) is what
    an autoscaler pays, since too low costs violations and too high costs cores. Fallbacks: predictions that were made
    do with, such as after a fit that did not converge. Next: the forecast at the end.
    """
    settings = ForecastSettings(**{key: options[key] for key in SETTINGS})
    names = NAMES if options["compare"] else ()
    names = tuple(dict.fromkeys((*options["names"], *names))) or (settings.name,)
    loads, removed = _loads(options)
    steps: dict[str, list[Step]] = {name: [] for name in names}
    results = {name: _evaluate(replace(settings, name=name), loads, steps[name]) for name in names}
    caption = f"{len(loads)} s of load; {removed} s of holes left out"
    if options["output"] == "json":
        measured = {name: asdict(result) for name, result in results.items()}
        click.echo(json.dumps({"seconds": len(loads), "hole_seconds": removed, "forecasters": measured}, indent=2))
    else:
        _print_table(results, caption)
    if options["plot"] is not None:
        _draw(options["plot"], steps, results, f"{options['trace']}: {caption}")


def _loads(options: Mapping[str, Any]) -> tuple[list[float], int]:
    """The rates to forecast, and how many seconds were left out as holes."""
    from ipa_seldon.forecasters.evaluate import without_holes
    from ipa_seldon.traces import read_trace

    damping = options["damping"]
    if not damping > 0:
        raise ConfigError(f"--damping {damping:g}; accepted: a number > 0")
    recorded = read_trace(options["trace"])[options["days"]][: options["limit"]]
    loads = recorded if options["keep_holes"] else without_holes(recorded)
    needed = int(options["window"] + options["horizon"])
    if len(loads) < needed:
        raise ConfigError(
            f"{options['trace']}: {len(loads)} s of load; accepted: at least window + horizon, {needed} s"
        )
    damped = loads if damping == 1 else [float(round(rate / damping)) for rate in loads]
    return damped, len(recorded) - len(loads)


def _evaluate(settings: ForecastSettings, loads: Sequence[float], steps: list[Step]) -> Evaluation:
    """The evaluation; its steps are appended to ``steps``."""
    from rich.console import Console
    from rich.progress import Progress

    from ipa_seldon.forecasters.evaluate import evaluate
    from ipa_seldon.forecasters.quantile import build_forecaster

    forecaster = build_forecaster(settings)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(settings.name, total=len(loads))

        def took(step: Step) -> None:
            steps.append(step)
            progress.update(task, completed=step.time)

        return evaluate(forecaster, loads, settings, perf_counter, took)


def _print_table(results: Mapping[str, Evaluation], caption: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(caption=caption, box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for title, _ in COLUMNS.values():
        table.add_column(title, justify="right")
    for name, result in results.items():
        table.add_row(name, *_cells(result))
    Console().print(table)


def _cells(result: Evaluation) -> list[str]:
    values = asdict(result)
    return [f"{values[key]:.{digits}f}" for key, (_, digits) in COLUMNS.items()]


def _draw(path: Path, steps: Mapping[str, Sequence[Step]], results: Mapping[str, Evaluation], lead: str) -> None:
    from ipa_seldon.reports.forecasts import write_drawing

    headings = ["name", *(title.replace("-\n", "").replace("\n", " ") for title, _ in COLUMNS.values())]
    rows = [[name, *_cells(result)] for name, result in results.items()]
    write_drawing(steps, (headings, rows), ("Forecasters side by side", lead), path)
