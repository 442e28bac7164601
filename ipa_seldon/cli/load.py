"""``ipa-seldon load``."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from ipa_seldon.cli.options import Seconds, network_options
from ipa_seldon.demo.requests import GENERATED
from ipa_seldon.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipa_seldon.loadgen import Payload, RequestRecord
    from ipa_seldon.loadgen.sender import Sender
    from ipa_seldon.simulation.workload import Floats

LEAD = 0.5
"""Seconds between the first request and being ready for it, where no start is given."""
POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command()
@click.option("--url", required=True, help="The gateway, http://host:port.")
@click.option("--pattern", help="constant, steady-low, steady-high, bursty, fluctuating, ramp or diurnal.")
@click.option("--trace", type=click.Path(path_type=Path), help="Requests per second: CSV second,rps or one a line.")
@click.option("--duration", type=Seconds(), help="How long.  [default: the whole trace; a pattern: 180 s]")
@click.option("--scale", type=POSITIVE, help="Requests/s at a pattern's peak; multiplies a trace.  [default: 1]")
@click.option("--damping", type=POSITIVE, default=1.0, show_default=True, help="Divides the load.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of load, arrivals and requests."
)
@network_options
@click.option("--slo", type=Seconds(), help="End-to-end SLO.  [default: what the gateway announces]")
@click.option("--start-at", type=float, metavar="EPOCH", help="When the load begins.  [default: at once]")
@click.option(
    "--images", type=click.IntRange(min=1), default=200, show_default=True, help="Different images, or others, to send."
)
@click.option(
    "--tensor",
    type=click.Choice(list(GENERATED)),
    default="image",
    show_default=True,
    help="What is sent: images with known text, whole or cut into lines; frames or crops of video; texts; recordings.",
)
@click.option("--body", type=click.Path(path_type=Path), help="Send this v2 JSON request, not made-up ones.")
@click.option("--records", type=click.Path(path_type=Path), help="Write every request to this file, as JSON lines.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def load(url: str, slo: float | None, start_at: float | None, records: Path | None, output: str, **shape: Any) -> None:
    """Send an open-loop load to a gateway, by default of images with known text: exactly one of --pattern and --trace.

    Requests leave as a Poisson process, whether or not earlier ones were answered. With --network and --size each is
    sent when it would be over that network, with what is left of its SLO; its latency counts from its client on. Ctrl-C
    ends it early and keeps what was measured.
    """
    import asyncio
    from functools import partial

    from ipa_seldon.loadgen.records import summary
    from ipa_seldon.loadgen.sender import Sender, Target, announced_slo
    from ipa_seldon.simulation.workload import poisson_arrivals
    from ipa_seldon.traces import load_rates, read_network

    rates = load_rates(**{key: shape[key] for key in _RATE_KEYS})
    network = read_network(shape["network"], shape["size"], len(rates), shape["seed"])
    times = poisson_arrivals(rates, shape["seed"])
    transfers = network.transfers(times, shape["seed"]) if network else None
    payloads = payloads_of(shape["body"], shape["tensor"], shape["seed"], min(shape["images"], max(len(times), 1)))
    target = Target(url, slo or asyncio.run(announced_slo(url)))
    with ExitStack() as stack:
        stream = stack.enter_context(_open(records)) if records else None
        sent = asyncio.run(_send(partial(Sender, target, payloads), times, transfers, start_at, stream))
    figures = summary(sent)
    if output == "json":
        click.echo(json.dumps(figures, indent=2))
    else:
        _print_table(figures)


_RATE_KEYS = ("pattern", "trace", "duration", "scale", "damping", "seed")


def payloads_of(body: Path | None, tensor: str, seed: int, count: int) -> list[Payload]:
    """The v2 request in the file ``body``, or where there is none up to ``count`` made-up ones of that ``tensor``."""
    if body is None:
        from ipa_seldon.demo.requests import payloads

        return payloads(tensor, seed, count)
    from ipa_seldon.gateway.messages import Body
    from ipa_seldon.loadgen import Payload

    try:
        return [Payload(Body(body.read_bytes()))]
    except OSError as error:
        raise ConfigError(f"{body}: the request cannot be read: {error.strerror or error}") from error


def _open(records: Path) -> TextIO:
    try:
        return records.open("w", encoding="utf-8", buffering=1)
    except OSError as error:
        raise ConfigError(f"{records}: the records cannot be written: {error.strerror or error}") from error


async def _send(
    sender: Callable[[Callable[[RequestRecord], None]], Sender],
    times: Floats,
    transfers: Floats | None,
    start_at: float | None,
    stream: TextIO | None,
) -> list[RequestRecord]:
    """Every request's record, each written to ``stream`` as it ends; ``sender`` sends for one that keeps records."""
    import asyncio
    import signal
    import time

    from rich.console import Console
    from rich.progress import Progress

    from ipa_seldon.loadgen.records import line_of

    stop, records = asyncio.Event(), []
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("requests", total=len(times))

        def keep(record: RequestRecord) -> None:
            records.append(record)
            progress.advance(bar)
            if stream:
                stream.write(line_of(record) + "\n")

        start = time.time() + LEAD if start_at is None else start_at
        on_network = None if transfers is None else transfers.tolist()
        await sender(keep).send((start + times).tolist(), stop, on_network)
    return records


def _print_table(figures: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    latency, late = figures["latency"], figures["late_starts"]
    rows = {
        **{name: str(figures[name]) for name in ("requests", "completed", "late", "dropped", "failed")},
        "SLO violations": f"{figures['violation_ratio']:.2%}",
        **{f"latency {name}": "-" if value is None else f"{value * 1000:.0f} ms" for name, value in latency.items()},
        **{f"network {name}": f"{value * 1000:.0f} ms" for name, value in figures.get("network", {}).items()},
        "lines read exactly": "-" if figures["accuracy"] is None else f"{figures['accuracy']:.1%}",
        "started late": f"{late['count']} (longest {late['longest'] * 1000:.0f} ms)" if late["count"] else "0",
    }
    table = Table(box=box.SIMPLE, show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)
