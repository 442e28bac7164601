"""``ipa-seldon report``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from ipa_seldon.cli.agreement import of_log, of_prometheus
from ipa_seldon.cli.histories import Range, history_options
from ipa_seldon.cli.reports import HTML, REPORT, write
from ipa_seldon.cli.tables import OUTPUTS
from ipa_seldon.errors import ConfigError


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Choice([HTML, *OUTPUTS]),
    help=f"What to write.  [default: {HTML}; with --agreement table]",
)
@click.option(
    "--output-file",
    type=click.Path(path_type=Path),
    help=f"Where to.  [default: {HTML} to {REPORT} in RUN, or beside the log by its name; else standard output]",
)
@click.option(
    "--png",
    type=click.Path(path_type=Path, file_okay=False),
    help="Draw every chart for slides too, 1920 x 1080, to this directory; by an installed Chromium or Chrome.",
)
@click.option(
    "--records",
    type=click.Path(path_type=Path),
    help="Where RUN is an audit log: what became of the requests, of ipa-seldon load --records.",
)
@click.option(
    "--agreement", is_flag=True, help="Of an audit log, or of a range of Prometheus: advice against what ran."
)
@click.option("-f", "--file", "path", type=click.Path(path_type=Path), help="Pipeline file, with --prometheus.")
@history_options
def report(
    run: Path | None,
    output: str | None,
    output_file: Path | None,
    png: Path | None,
    records: Path | None,
    agreement: bool,
    path: Path | None,
    history: Range,
) -> int:
    """Report on RUN: the directory of a demo, or an audit log alone.

    One page that needs nothing else: charts, tables, every decision and why, the pipeline file, machine, load and
    versions. An audit log knows load and forecasts, plans and decisions, and what was expected of them; what became of
    requests is in --records. With -o md it is text for an issue, with -o json the figures of the summary.

    With --agreement RUN is an audit log, or there is none and a range of Prometheus in its place. Said is how often the
    advice was what ran, what both cost in cores, and where they differ most. Then the load is replayed through the
    simulator, under the plans that ran and with the advice followed from the beginning: violations, accuracy and cost
    of both.
    """
    if not agreement:
        if run is None:
            raise click.UsageError("RUN: missing; accepted: the directory of a demo, or an audit log")
        history.refuse("RUN")
        _refuse("with --agreement", file=path)
        if output == "table":
            _refuse("with -o html, md or json", output_file=output_file)
        _report(run, output or HTML, output_file, png, records)
        return 0
    _refuse("without --agreement", output_file=output_file, png=png, records=records)
    if output == HTML:
        raise click.UsageError(f"--output: {HTML}: accepted: {', '.join(OUTPUTS)}, with --agreement")
    output = output or OUTPUTS[0]
    if run is not None:
        history.refuse("RUN")
        if path is not None:
            raise click.UsageError("--file: accepted: without RUN, which holds its own")
        return of_log(run, output)
    if path is None:
        raise click.UsageError("accepted: RUN, or --file and a Prometheus")
    return of_prometheus(path, history, output)


def _refuse(accepted: str, **options: Path | None) -> None:
    for name, value in options.items():
        if value is not None:
            raise click.UsageError(f"--{name.replace('_', '-')}: accepted: {accepted}")


def _report(run: Path, output: str, to: Path | None, png: Path | None, records: Path | None) -> None:
    needed = ("jinja2", "plotly", *(["kaleido"] if png else []))
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise ConfigError(f"a report needs the package {missing[0]}: pip install 'ipa-seldon[report]'")
    from ipa_seldon.runs.charts import every_chart
    from ipa_seldon.runs.recorded import read_log, read_run
    from ipa_seldon.runs.slides import write_slides

    if run.is_dir():
        _refuse("where RUN is an audit log", records=records)
    recorded = read_run(run) if run.is_dir() else read_log(run, records)
    beside = run / REPORT if run.is_dir() else run.with_suffix(".html")
    write(recorded, output, to or (beside if output == HTML else None))
    if png is not None:
        drawn = write_slides(every_chart(recorded.runs), png)
        click.echo(f"{len(drawn)} pictures: {png}", err=True)
