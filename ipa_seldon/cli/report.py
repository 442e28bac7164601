"""``ipa-seldon report``."""

from __future__ import annotations

from pathlib import Path

import click

from ipa_seldon.cli.agreement import of_log, of_prometheus
from ipa_seldon.cli.histories import Range, history_options
from ipa_seldon.cli.tables import OUTPUTS


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--agreement", is_flag=True, help="Of an audit log, or of a range of Prometheus: advice against what ran."
)
@click.option("-f", "--file", "path", type=click.Path(path_type=Path), help="Pipeline file, with --prometheus.")
@history_options
@click.option("-o", "--output", type=click.Choice(OUTPUTS), default="table", show_default=True)
def report(run: Path | None, agreement: bool, path: Path | None, history: Range, output: str) -> int:
    """Report on RUN.

    With --agreement RUN is an audit log, or there is none and a range of Prometheus in its place. Said is how often the
    advice was what ran, what both cost in cores, and where they differ most. Then the load is replayed through the
    simulator, under the plans that ran and with the advice followed from the beginning: violations, accuracy and cost
    of both.
    """
    if not agreement:
        raise click.UsageError("--agreement: missing")
    if run is not None:
        history.refuse("RUN")
        if path is not None:
            raise click.UsageError("--file: accepted: without RUN, which holds its own")
        return of_log(run, output)
    if path is None:
        raise click.UsageError("accepted: RUN, or --file and a Prometheus")
    return of_prometheus(path, history, output)
