"""Write the reference pages from the code, or check that they are in sync (``--check``)."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click.testing import CliRunner

from ipa_seldon.cli import COMMANDS, cli

HERE = Path(__file__).parent


def reference() -> str:
    """The help of every command."""
    runner = CliRunner()
    context = click.Context(cli)
    pages = ["# Command reference\n\nWritten by `make docs` from the code.\n"]
    for name in ("", *COMMANDS):
        command = cli.get_command(context, name) if name else None
        names = [[name]] if name else [[]]
        if isinstance(command, click.Group):
            names += [[name, sub] for sub in command.list_commands(context)]
        for words in names:
            text = runner.invoke(cli, [*words, "--help"], prog_name="ipa-seldon", terminal_width=100).output
            pages.append(f"## `{' '.join(['ipa-seldon', *words])}`\n\n```\n{text.rstrip()}\n```\n")
    return "\n".join(pages)


def main() -> int:
    """Exit code 1 when ``--check`` finds a page out of date."""
    wanted = {
        HERE / "reference.md": reference(),
        HERE / "pipeline.schema.json": CliRunner().invoke(cli, ["schema"]).output,
    }
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" not in sys.argv:
        for path in stale:
            path.write_text(wanted[path], encoding="utf-8")
        return 0
    for path in stale:
        print(f"{path.name} is out of date: run make docs", file=sys.stderr)  # noqa: T201  # a script's own message
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
