"""What pages of Markdown are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

ORIGIN = "Written by `make docs` from the code."


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar in a cell stays one."""
    return "".join([_row(headings), f"|{'---|' * len(headings)}\n", *map(_row, rows)])


def plain(docstring: str) -> str:
    """A docstring as one line of Markdown."""
    return " ".join(docstring.replace("``", "`").split())


def slug(heading: str) -> str:
    """The anchor of a heading, as repository browsers and the site have it."""
    return re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
