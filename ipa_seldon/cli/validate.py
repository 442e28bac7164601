"""``ipa-seldon validate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ipa_seldon.cli.options import Seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipa_seldon.experiments.validation import Comparison

SHARES = (0.3, 0.5, 0.7)
ROUND = 9.0
"""Seconds of one rate at a time, about."""
REQUESTS = 200
"""Different ones, at most."""


class Rates(click.ParamType):
    """Requests per second, separated by commas."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """In the order given; fails with what is accepted."""
        try:
            rates = tuple(dict.fromkeys(float(part) for part in value.split(",")))
        except ValueError:
            rates = ()
        if not rates or not all(0 < rate < float("inf") for rate in rates):
            self.fail(f"{value!r}: accepted: requests/s above 0, separated by commas, such as 10,20,30", param, ctx)
        return rates


@click.command()
@click.option(
    "-f", "--file", "path", type=click.Path(path_type=Path), help="Pipeline file.  [default: the text pipeline]"
)
@click.option("--rates", type=Rates(), help="Requests/s.  [default: 30, 50 and 70 % of what the pipeline carries]")
@click.option("--seconds", type=Seconds(), default=90.0, show_default=True, help="Of load at each rate, in all.")
@click.option("--batch", type=click.IntRange(min=1), default=2, show_default=True, help="Largest batch of every stage.")
@click.option("--body", type=click.Path(path_type=Path), help="Send this v2 JSON request, not made-up ones.")
@click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True, help="Of arrivals and requests.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def validate(
    path: Path | None,
    rates: tuple[float, ...] | None,
    seconds: float,
    batch: int,
    body: Path | None,
    seed: int,
    output: str,
) -> None:
    """Set the simulator against a real Triton: latencies that it predicts, beside those measured at the same arrivals.

    One replica of every stage's lightest variant serves the loads, in pairs of rounds with the same arrivals. The
    figures are medians over the rounds in which other processes took less than a quarter of a core, or over the
    quieter half of the rounds; the noise is how far the two rounds of a pair lie apart. It reports what it finds and
    judges nothing.
    """
    from ipa_seldon.bootstrap import local_repository
    from ipa_seldon.cli.load import payloads_of
    from ipa_seldon.config import read_config
    from ipa_seldon.demo.requests import generated_for
    from ipa_seldon.demo.runner import TEXT_PIPELINE
    from ipa_seldon.experiments.measurement import Trial, measure
    from ipa_seldon.experiments.validation import compare, lightest_plan

    config = read_config(path or TEXT_PIPELINE)
    plan = lightest_plan(config.pipeline, batch)
    pairs = max(1, round(seconds / (2 * ROUND)))
    trial = Trial(rates or (), SHARES, pairs, max(2, round(seconds / (2 * pairs))), seed)
    tensor = "" if body else generated_for(local_repository(config), config.pipeline.stages[0].name)
    payloads = payloads_of(body, tensor, seed, REQUESTS)
    measurement = measure(config, plan, payloads, trial, lambda words: click.echo(words, err=True))
    compared = compare(config.pipeline, plan, measurement, seed)
    if output == "json":
        click.echo(json.dumps([_document(one) for one in compared], indent=2))
    else:
        _print_table(compared)


def _document(comparison: Comparison) -> dict[str, Any]:
    from dataclasses import asdict

    errors = {name: quantile.error for name, quantile in comparison.latency.items()}
    document = asdict(comparison)
    for name, error in errors.items():
        document["latency"][name]["error"] = error
    return document


def _print_table(compared: Sequence[Comparison]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("requests/s")
    for one in compared:
        table.add_column(f"{one.rate:.1f}", justify="right")
    for label, *cells in zip(*map(_lines, compared), strict=True):
        table.add_row(label[0], *(cell for _, cell in (label, *cells)))
    Console().print(table)


def _lines(one: Comparison) -> list[tuple[str, str]]:
    """Labels and figures of one load, in the order of the table."""
    lines = [("requests, in rounds", f"{one.requests}, {one.rounds}"), ("busiest stage", f"{one.utilisation:.0%}")]
    for name, quantile in one.latency.items():
        lines += [
            (f"{name} measured", f"{1000 * quantile.measured:.0f} ms"),
            (f"{name} predicted", f"{1000 * quantile.predicted:.0f} ms"),
            (f"{name} error", f"{quantile.error:+.1%}"),
            (f"{name} noise", f"{quantile.noise:.1%}"),
        ]
    lines.append(("overhead", f"{1000 * one.overhead:.1f} ms"))
    lines.append(("unanswered", f"{one.unanswered:.1%}"))
    return [*lines, ("other processes", f"{one.others:.1f} cores")]
