"""``ipa-seldon doctor``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ipa_seldon.cli.options import echo

if TYPE_CHECKING:
    from ipa_seldon.doctor.findings import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command()
@click.option(
    "-f",
    "--file",
    "paths",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Pipeline file; several, or none: then all that the namespace's ConfigMaps hold.",
)
@click.option("--namespace", help="The namespace; by default the context's, or the pod's own.")
@click.option(
    "--prometheus",
    help="The URL of the Prometheus that knows the load.  [default: PROMETHEUS_URL, or the file's]",
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def doctor(paths: tuple[Path, ...], namespace: str | None, prometheus: str | None, output: str) -> int:
    """Check live what adapting pipelines on a cluster needs, and say what to do about each finding.

    Nothing is changed. Permissions are those of the account that this runs as; for the adapter's own, run it in its
    pod: kubectl exec deploy/ipa-seldon-adapter -- ipa-seldon doctor. Exit code 1 when a check has failed.
    """
    from ipa_seldon.cli import EXIT_ERROR
    from ipa_seldon.doctor.examination import examine
    from ipa_seldon.doctor.findings import Status

    findings = list(examine(paths, namespace, prometheus))
    failed = any(finding.status is Status.FAIL for finding in findings)
    if output == "json":
        echo({"ok": not failed, "findings": [vars(finding) for finding in findings]}, output)
    elif sys.stdout.isatty():
        _print_table(findings)
    else:
        _print_lines(findings)
    return EXIT_ERROR if failed else 0


def _print_lines(findings: Sequence[Finding]) -> None:
    """A line for each, however long, so that it can be searched; its remedy under it."""
    for finding in findings:
        click.echo(f"{finding.status:<4}  {finding.check:<11}  {finding.message}")
        if finding.remedy:
            click.echo(f"{'':<19}-> {finding.remedy}")


def _print_table(findings: Sequence[Finding]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("", "check", "finding"):
        table.add_column(heading)
    for finding in findings:
        words = Text(finding.message)
        if finding.remedy:
            words.append(f"\n-> {finding.remedy}", style="bold")
        table.add_row(Text(finding.status, style=_COLOURS[finding.status]), finding.check, words)
    Console().print(table)
