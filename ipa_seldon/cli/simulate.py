"""``ipa-seldon simulate``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from ipa_seldon.algorithms import ALGORITHMS
from ipa_seldon.cli.options import Finite, Seconds, network_options
from ipa_seldon.errors import ConfigError

POSITIVE = Finite(min=0, min_open=True)


@click.command()
@click.option("-f", "--file", "path", required=True, type=click.Path(path_type=Path), help="Pipeline file.")
@click.option("--trace", type=click.Path(path_type=Path), help="Requests per second: CSV second,rps or one a line.")
@click.option("--pattern", help="constant, steady-low, steady-high, bursty, fluctuating, ramp or diurnal.")
@click.option("--duration", type=Seconds(), help="How long.  [default: the whole trace; a pattern: 20 minutes]")
@click.option("--scale", type=POSITIVE, help="Requests/s at a pattern's peak (20); multiplies a trace (1).")
@click.option("--damping", type=POSITIVE, default=1.0, show_default=True, help="Divides the load.")
@network_options
@click.option("--algorithm", help=f"{', '.join(ALGORITHMS)}, or module:attribute.  [default: the file's]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the load and serving it.")
@click.option("--repeats", type=click.IntRange(min=1), default=1, show_default=True, help="Runs, a seed more each.")
@click.option("--startup", type=Finite(min=0), default=0.0, show_default=True, help="Seconds a replica takes.")
@click.option("--resize", type=Finite(min=0), help="Seconds in which cores change in place.  [default: see above]")
@click.option("--drop", type=click.Choice(["hopeless", "expired", "none"]), default="hopeless", show_default=True)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def simulate(path: Path, algorithm: str | None, seed: int, repeats: int, output: str, **options: Any) -> None:
    """Simulate a pipeline under a load, exactly one of --trace and --pattern: what the adapter would do, and reach.

    The very controller, forecaster and algorithm run, on a discrete-event simulation of queues, batches, replicas, and
    switches. Requests that are late or dropped are violations. --drop says which leave a queue: those that can no
    longer make the SLO, those that have missed it, or none. A replica takes its variant's load_time and --startup to be
    ready; its cores change where it is in 0.1 s with an algorithm by deadlines (sponge), and with any where --resize is
    given, elsewhere another takes its place. What starts, grows or drains counts as cost. With --network and --size
    requests come later and have a deadline each: what the network left of the SLO; latencies count from when they come.
    With --repeats the means and their 95 % confidence intervals follow.
    """
    from ipa_seldon.config import read_config
    from ipa_seldon.experiments.simulate import Scenario, repeated
    from ipa_seldon.simulation.physics import Drop, Physics
    from ipa_seldon.traces import load_rates, read_network

    if repeats > 1 and find_spec("scipy") is None:
        raise ConfigError("--repeats needs the package scipy: pip install 'ipa-seldon[experiments]'")
    shape = {key: options[key] for key in ("pattern", "trace", "duration", "scale", "damping")}
    if shape["trace"] is None:
        shape |= {"duration": shape["duration"] or 1200.0, "scale": shape["scale"] or 20.0}
    config = read_config(path)
    physics = Physics(Drop(options["drop"]), options["startup"], resize=options["resize"])
    rates = load_rates(**shape, seed=seed)
    network = read_network(options["network"], options["size"], len(rates), seed)
    runs = repeated(Scenario(config, rates, seed, algorithm, physics, network), repeats)
    document: dict[str, Any] = dict(runs[0])
    estimates = _estimates(runs) if repeats > 1 else None
    if estimates:
        document |= {"repeats": repeats, "estimates": estimates}
    if output == "json":
        click.echo(json.dumps(document, indent=2, allow_nan=False))
    else:
        _print_table(runs[0], estimates)


def _estimates(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and 95 % confidence interval of every figure that each run has."""
    from dataclasses import asdict

    from ipa_seldon.experiments.simulate import flat
    from ipa_seldon.experiments.statistics import estimate

    columns = [flat(run) for run in runs]
    known = [key for key in columns[0] if all(column[key] is not None for column in columns)]
    return {key: asdict(estimate([float(column[key] or 0.0) for column in columns])) for key in known}


def _print_table(run: Mapping[str, Any], estimates: Mapping[str, Mapping[str, float]] | None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from ipa_seldon.experiments.simulate import flat

    table = Table(box=box.SIMPLE_HEAD)
    headings = ("first run", "mean", "95 % low", "95 % high") if estimates else ("",)
    table.add_column("")
    for heading in headings:
        table.add_column(heading, justify="right")
    for key, value in flat(run).items():
        cells = ["" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)]
        if estimates:
            found = estimates.get(key, {})
            cells += [f"{found[part]:.5g}" if part in found else "" for part in ("mean", "low", "high")]
        table.add_row(key.replace("_", " ").replace(".", " "), *cells)
    Console().print(table)
