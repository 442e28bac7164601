"""A run's report, in the form that is asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ipa_seldon.errors import ConfigError

if TYPE_CHECKING:
    from ipa_seldon.runs.recorded import Recorded
    from ipa_seldon.runs.summary import RunResult

HTML, REPORT = "html", "report.html"


def write(recorded: Recorded, output: str, path: Path | None) -> None:
    """The report as ``html``, ``md`` or ``json`` to ``path``, None: to standard output; or ``table``, the summary."""
    from ipa_seldon.runs import markdown
    from ipa_seldon.runs.report import as_json, render

    if output == "table":
        _print_table(recorded.runs)
        return
    if output == "json":
        text = json.dumps(as_json(recorded), indent=2, allow_nan=False) + "\n"
    else:
        text = render(recorded) if output == HTML else markdown.render(recorded)
    if path is None:
        click.echo(text, nl=False)
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    click.echo(f"report: {path}", err=True)


def _print_table(runs: Sequence[RunResult]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from ipa_seldon.runs.summary import summary

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    for run in runs:
        table.add_column(run.name, justify="right")
    for label, *cells in _lines([summary(run) for run in runs]):
        table.add_row(label, *cells)
    Console().print(table)


def _lines(summaries: Sequence[dict[str, object]]) -> list[list[str]]:
    from ipa_seldon.words import ABSENT

    def text(value: object, key: str) -> str:
        if value is None:
            return ABSENT
        return (
            f"{value:.1%}" if key == "violation_ratio" else f"{value:.4g}" if isinstance(value, float) else str(value)
        )

    lines = []
    for key, example in summaries[0].items():
        if key == "variants":
            lines += _variant_lines([figures[key] for figures in summaries])
        elif isinstance(example, dict):
            for part in example:
                values = [figures[key] for figures in summaries]
                lines.append(
                    [f"{key} {part}", *(text(v[part], key) if isinstance(v, dict) else ABSENT for v in values)]
                )
        else:
            lines.append([key, *(text(figures[key], key) for figures in summaries)])
    return lines


def _variant_lines(runs: Sequence[Any]) -> list[list[str]]:
    """A line per variant of a stage that any of the runs used: requests that it answered, and lines read exactly."""
    from ipa_seldon.words import ABSENT, share

    def text(one: dict[str, Any] | None) -> str:
        read = "" if one is None or one["accuracy"] is None else f", {share(one['accuracy'])} read"
        return ABSENT if one is None else f"{one['requests']}{read}"

    used = sorted({(stage, variant) for run in runs for stage, variants in run.items() for variant in variants})
    return [[f"{stage} {v}", *(text(run.get(stage, {}).get(v)) for run in runs)] for stage, v in used]
