"""Differences to a baseline: paired by seed, and when a method dominates."""

from __future__ import annotations

from math import isnan

import pytest

from ipa_seldon.experiments.compare import comparisons, summaries
from ipa_seldon.experiments.results import Row


def rows(method: str, *runs: tuple[float, float | None, float]) -> list[Row]:
    """A row per seed from 0 on: violation ratio, accuracy, cost."""
    return [
        {
            **{"pipeline": "p", "load": "l", "method": method, "seed": seed, "key": "k", "switches": 1},
            **{"violation_ratio": violations, "accuracy": accuracy, "mean_cost": cost},
        }
        for seed, (violations, accuracy, cost) in enumerate(runs)
    ]


BASE = rows("base", (0.1, 0.5, 10.0), (0.3, 0.7, 30.0))


def test_pairing_takes_out_what_seeds_share() -> None:
    """Both seeds are better by the same, so the interval is a point, however far apart the seeds are."""
    (one,) = comparisons([*BASE, *rows("new", (0.05, 0.5, 9.0), (0.25, 0.7, 29.0))], "base")
    cost = one.differences["mean_cost"]
    assert (cost.mean, cost.low, cost.high) == (-1.0, -1.0, -1.0)
    assert (one.seeds, one.baseline, one.dominates) == (2, "base", True)


@pytest.mark.parametrize(
    ("new", "dominates"),
    [
        (((0.1, 0.5, 10.0), (0.3, 0.7, 30.0)), False),
        (((0.1, 0.5, 10.0), (0.3, 0.7, 29.0)), True),
        (((0.1, 0.5, 12.0), (0.3, 0.7, 27.0)), True),
        (((0.1, 0.5, 9.0), (0.3, 0.69, 30.0)), False),
        (((0.1, 0.6, 10.0), (0.31, 0.7, 30.0)), False),
        (((0.1, 0.6, 10.1), (0.3, 0.7, 30.0)), False),
        (((0.1, 0.5, 10.0), (0.3 + 1e-16, 0.7, 29.0)), True),
        (((0.1, None, 9.0), (0.3, None, 29.0)), False),
    ],
)
def test_dominance_is_by_means(new: tuple[tuple[float, float | None, float], ...], dominates: bool) -> None:
    """No worse in any of the three and better in one; equal in all, or without an accuracy, is not."""
    (one,) = comparisons([*BASE, *rows("new", *new)], "base")
    assert one.dominates is dominates


def test_only_shared_seeds_count() -> None:
    """A seed that one of the two lacks is left out; without any there is no comparison."""
    (one,) = comparisons([*BASE, *rows("new", (0.1, 0.5, 8.0))], "base")
    assert one.seeds == 1
    assert one.differences["mean_cost"].mean == -2.0
    assert isnan(one.differences["mean_cost"].low)
    other = [{**row, "seed": 7} for row in rows("new", (0.1, 0.5, 8.0))]
    assert comparisons([*BASE, *other], "base") == []


def test_summaries_leave_out_what_a_run_lacks() -> None:
    """A figure that one seed has not is no mean of the others."""
    (cell,) = summaries(rows("new", (0.1, None, 9.0), (0.3, 0.5, 29.0)))
    assert cell.seeds == 2
    assert set(cell.figures) == {"violation_ratio", "mean_cost", "switches"}
    assert cell.figures["mean_cost"].mean == 19.0
