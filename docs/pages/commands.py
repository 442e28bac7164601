"""The command line."""

from __future__ import annotations

import click
from click.testing import CliRunner

from docs.pages.markdown import ORIGIN
from ipa_seldon.cli import COMMANDS, cli


def commands() -> str:
    """The help of every command."""
    runner = CliRunner()
    context = click.Context(cli)
    pages = [f"# Command reference\n\n{ORIGIN}\n"]
    for name in ("", *COMMANDS):
        command = cli.get_command(context, name) if name else None
        names = [[name]] if name else [[]]
        if isinstance(command, click.Group):
            names += [[name, sub] for sub in command.list_commands(context)]
        for words in names:
            text = runner.invoke(cli, [*words, "--help"], prog_name="ipa-seldon", terminal_width=100).output
            pages.append(f"## `{' '.join(['ipa-seldon', *words])}`\n\n```text\n{text.rstrip()}\n```\n")
    return "\n".join(pages)
