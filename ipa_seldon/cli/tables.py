"""Tables on the terminal and, the same, in Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

OUTPUTS = ("table", "json", "md")
WIDTH, WIDEST = 160, 10_000
"""Characters of a line where no terminal says, and of Markdown, of which none is broken."""


@dataclass(frozen=True)
class Section:
    """A table with a title, and ``notes`` below it, a line each. All columns but the first ``texts`` are figures."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    texts: int = 1


def show(document: Mapping[str, Any], sections: Sequence[Section], output: str) -> None:
    """Print ``document`` as ``json``, or ``sections`` as a ``table`` each, or as ``md``."""
    if output == "json":
        click.echo(json.dumps(document, indent=2, allow_nan=False))
        return
    for section in sections:
        _print(section, output == "md")


def _print(section: Section, markdown: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    terminal = Console()
    console = terminal if terminal.is_terminal and not markdown else Console(width=WIDEST if markdown else WIDTH)
    table = Table(box=box.MARKDOWN if markdown else box.SIMPLE_HEAD)
    for place, heading in enumerate(section.headings):
        table.add_column(heading, justify="left" if place < section.texts else "right")
    for row in section.rows:
        table.add_row(*map(escape, row))
    with console.capture() as captured:
        console.print(table)
    lines = (line.rstrip() for line in captured.get().strip("\n").splitlines())
    click.echo(f"## {section.title}" if markdown else section.title)
    click.echo("\n".join(["", *filter(None, lines)] if markdown else lines))
    for note in section.notes:
        click.echo(f"\n{note}" if markdown else note)
    click.echo()
