"""``ipa-seldon explain``."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ipa_seldon.cli.options import echo

if TYPE_CHECKING:
    from ipa_seldon.explain.account import Explanation
    from ipa_seldon.telemetry.audit import Log


class Moment(click.ParamType):
    """A time: seconds as in the log, or ISO 8601, in UTC where it names no zone."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds; fails with what is accepted."""
        with suppress(ValueError):
            return float(value)
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r}: accepted: seconds as in the log, or a time such as 2026-01-31T12:00:00Z", param, ctx)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


@click.command()
@click.argument("log", type=click.Path(path_type=Path), required=False)
@click.option("--url", help="Of a running adapter, in place of LOG: its last decisions.")
@click.option("--pipeline", help="With --url: the name of the pipeline.")
@click.option("--tick", type=click.IntRange(min=0), help="The decision of that number.")
@click.option("--at", type=Moment(), help="The decision in force at that time: seconds as in the log, or ISO 8601.")
@click.option("--last", is_flag=True, help="The last decision.")
@click.option("-o", "--output", type=click.Choice(["table", "json", "md"]), default="table", show_default=True)
def explain(
    log: Path | None,
    url: str | None,
    pipeline: str | None,
    tick: int | None,
    at: float | None,
    last: bool,
    output: str,
) -> None:
    """Explain a decision of the audit LOG, by default the last one that changed the plan.

    Tells load and forecast, what bound the plan, what it gained, the runner-up, and what would have been decided with
    10 % more or less load, SLO, alpha or beta, or a core more or less of the budget: solved again, from the same
    observation.
    """
    if sum((tick is not None, at is not None, last)) > 1:
        raise click.UsageError("--tick, --at, --last: accepted: one of them")
    from ipa_seldon.explain.account import explain as explained
    from ipa_seldon.explain.account import find
    from ipa_seldon.explain.document import as_document

    read = _read(log, url, pipeline)
    about = explained(read, find(read, tick, at, last))
    if output == "json":
        echo(as_document(about), output)
    elif output == "md":
        _print_markdown(about)
    else:
        _print_table(about)


def _read(log: Path | None, url: str | None, pipeline: str | None) -> Log:
    from ipa_seldon.telemetry.audit import read_log
    from ipa_seldon.telemetry.remote import fetch_log

    if log is not None and url is None and pipeline is None:
        return read_log(log)
    if log is None and url is not None and pipeline is not None:
        return fetch_log(url, pipeline)
    raise click.UsageError("LOG: accepted: the path of an audit log, or --url with --pipeline in place of it")


def _print_table(about: Explanation) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ipa_seldon.explain.words import tables, title, told

    console = Console()
    console.print(escape(title(about)), style="bold", highlight=False)
    words = Table.grid(padding=(0, 2))
    for label, text in told(about):
        words.add_row(label, escape(text))
    console.print(words, highlight=False)
    for headings, rows in tables(about):
        table = Table(box=box.SIMPLE_HEAD)
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table, highlight=False)


def _print_markdown(about: Explanation) -> None:
    from ipa_seldon.explain.words import tables, title, told

    click.echo(f"# {title(about)}\n")
    for label, text in told(about):
        click.echo(f"- **{label}**: {text}")
    for headings, rows in tables(about):
        click.echo(f"\n| {' | '.join(headings)} |\n|{'---|' * len(headings)}")
        for row in rows:
            click.echo(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |")
