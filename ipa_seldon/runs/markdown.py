"""The report of a run in Markdown, for a pull request or an issue. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from ipa_seldon.runs import tables
from ipa_seldon.runs.recorded import Recorded

MOST = 50
"""Decisions of a run that are told: what takes a text of 65,536 characters must take it."""


def render(recorded: Recorded) -> str:
    """Summary and variants, and folded the decisions, where the figures come from, and the pipeline file."""
    return "\n\n".join(_parts(recorded)) + "\n"


def _parts(recorded: Recorded) -> Iterator[str]:
    runs = recorded.runs
    yield f"## {_text(recorded.title)}"
    yield _text(tables.lead(runs))
    summary = ([row.label, *map(_cell, row.cells)] for row in tables.rows(runs))
    yield _table(["", *(_text(run.name) for run in runs)], summary)
    variants = tables.variants(runs)
    if variants:
        yield _table(tables.VARIANTS, (map(_text, row) for row in variants), texts=3)
    for run in runs:
        rounds, left_out = tables.decisions(run, MOST)
        table = _table(tables.DECISIONS, (map(_text, one.cells) for one in rounds), texts=len(tables.DECISIONS))
        words = tables.left_out_words(left_out)
        yield _folded(f"Decisions of the {run.name} run", f"{table}\n\n{words}" if words else table)
    notes = (map(_text, note) for note in recorded.notes.items())
    yield _folded("Machine, load and versions", _table(("", ""), notes, texts=2))
    yield _folded("Configuration", f"```yaml\n{recorded.configuration.rstrip()}\n```")


def _table(headings: Sequence[str], rows: Iterable[Iterable[str]], texts: int = 1) -> str:
    """All columns but the first ``texts`` are figures."""
    rule = [":--" if place < texts else "--:" for place in range(len(headings))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rule, *rows))


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{escape(' '.join(title.split()))}</summary>\n\n{text}\n\n</details>"


def _cell(cell: tables.Cell) -> str:
    return f"**{_text(cell.text)}**" if cell.best else _text(cell.text)


def _text(words: str) -> str:
    """Text of a run, which must not become markup, nor end a cell or a row."""
    return escape(words, quote=False).replace("|", "\\|").replace("\n", "<br>")
