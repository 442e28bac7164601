"""What results say: means per cell, and differences to a baseline, paired by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from ipa_seldon.experiments.grid import Cell
from ipa_seldon.experiments.results import IDENTITY, KEY, Row
from ipa_seldon.experiments.statistics import Estimate, estimate

ROUNDING = 1e-12
"""Differences up to here are those of means of the same values, added up in another order."""
COMPARED = ("violation_ratio", "accuracy", "mean_cost", "switches")


@dataclass(frozen=True)
class Summary:
    """A cell over ``seeds`` runs: each figure that every run has."""

    cell: Cell
    seeds: int
    figures: dict[str, Estimate]


@dataclass(frozen=True)
class Comparison:
    """A cell less that of the method ``baseline`` for the same pipeline and load, over the ``seeds`` runs both have.

    ``dominates``: by means over these seeds, violations no higher, accuracy no lower, cost no higher, and one of them
    strictly better.
    """

    cell: Cell
    baseline: str
    seeds: int
    differences: dict[str, Estimate]
    dominates: bool


def summaries(rows: Sequence[Row]) -> list[Summary]:
    """A summary per cell, in the order of ``rows``, which has the rows of a cell together."""
    return [
        Summary(cell, len(of_cell), {figure: estimate(_column(of_cell, figure)) for figure in _known(of_cell)})
        for cell, of_cell in _by_cell(rows)
    ]


def comparisons(rows: Sequence[Row], baseline: str) -> list[Comparison]:
    """Every cell of another method, compared with the cell of the method ``baseline``; cells that share no seed with it
    are left out.
    """
    cells = dict(_by_cell(rows))
    compared = []
    for cell, of_cell in cells.items():
        others = {row["seed"]: row for row in cells.get(Cell(cell.pipeline, cell.load, baseline), ())}
        pairs = [(row, others[row["seed"]]) for row in of_cell if row["seed"] in others]
        if cell.method != baseline and pairs:
            compared.append(_comparison(cell, baseline, pairs))
    return compared


def _comparison(cell: Cell, baseline: str, pairs: Sequence[tuple[Row, Row]]) -> Comparison:
    known = [figure for figure in COMPARED if all(row[figure] is not None for pair in pairs for row in pair)]
    differences = {
        figure: estimate([float(one[figure] or 0) - float(other[figure] or 0) for one, other in pairs])
        for figure in known
    }
    # Positive is worse in each.
    losses = [
        sign * differences[figure].mean
        for figure, sign in (("violation_ratio", 1), ("accuracy", -1), ("mean_cost", 1))
        if figure in differences
    ]
    dominates = len(losses) == 3 and max(losses) <= ROUNDING and min(losses) < -ROUNDING
    return Comparison(cell, baseline, len(pairs), differences, dominates)


def _by_cell(rows: Sequence[Row]) -> Iterator[tuple[Cell, list[Row]]]:
    for cell, of_cell in groupby(rows, key=_cell):
        yield cell, list(of_cell)


def _cell(row: Row) -> Cell:
    return Cell(str(row["pipeline"]), str(row["load"]), str(row["method"]))


def _known(rows: Sequence[Row]) -> list[str]:
    figures = [column for column in rows[0] if column not in (*IDENTITY, KEY)]
    return [figure for figure in figures if all(row.get(figure) is not None for row in rows)]


def _column(rows: Sequence[Row], figure: str) -> list[float]:
    return [float(row[figure] or 0) for row in rows]
