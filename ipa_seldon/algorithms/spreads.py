"""Every undominated way to spread a stage's load over its variants, in whole units: exact, variant by variant.

A label is what the first variants take; what is ``left`` goes to the others. It is dropped when even the least that
the others could cost breaks a limit, or makes it no better than a complete spread that is known, and when another label
that leaves as much is no worse in every respect. What is known are spreads in coarser steps, at first the variants
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.dominance import beats, undominated
from ipa_seldon.programs import Floats

Places = NDArray[np.intp]
_COARSE = 5  # steps that the load is spread in before it is spread in units
_SLACK = 1e-9  # sums reach their limits but for rounding


@dataclass(frozen=True)
class Parts:
    """What one variant may take: ``units`` of the load, shape (p,), at ``costs``, shape (criteria, p), smaller is
    better. Part 0 is nothing, at no cost.
    """

    units: Places
    costs: Floats


def spreads(parts: Sequence[Parts], units: int, limits: Floats) -> Places:
    """Undominated spreads of ``units``, shape (variants, n): the part of every variant.

    The first criterion of a spread is the highest of its parts', each other one their sum; none exceeds its limit,
    shape (criteria,).
    """
    known = _Spreads(np.zeros((len(parts), 0), dtype=np.intp), np.zeros((len(limits), 0)))
    for step in (units, units // _COARSE, 1):
        if step and units % step == 0:
            found = _search(parts, units, step, limits, known)
            known = found.at(undominated(found.costs[::-1]))
    return known.picks


@dataclass(frozen=True)
class _Spreads:
    """Complete or partial spreads: ``picks`` (variants, n), ``costs`` (criteria, n)."""

    picks: Places
    costs: Floats

    def at(self, places: Places) -> _Spreads:
        return _Spreads(self.picks[:, places], self.costs[:, places])


def _search(parts: Sequence[Parts], units: int, step: int, limits: Floats, known: _Spreads) -> _Spreads:
    """The ``known`` spreads, and those in multiples of ``step`` that may be better."""
    allowed = [np.flatnonzero(part.units % step == 0) for part in parts]
    steps = [Parts(part.units[places], part.costs[:, places]) for part, places in zip(parts, allowed, strict=True)]
    rest = least_costs(steps, units)
    labels = _Spreads(np.zeros((len(parts), 1), dtype=np.intp), np.zeros((len(limits), 1)))
    left = np.array([units])
    for m, (part, places) in enumerate(zip(steps, allowed, strict=True)):
        least = rest[m + 1]
        leaves = left[:, None] - part.units
        possible = np.isfinite(least).all(axis=0)
        label, taken = np.nonzero((leaves >= 0) & possible[leaves])
        leaves = leaves[label, taken]
        costs = _joined(labels.costs[:, label], part.costs[:, taken])
        lowest = _joined(costs, least[:, leaves])
        hopeful = np.flatnonzero((lowest <= limits[:, None] + _SLACK).all(axis=0))
        hopeful = hopeful[~beats(known.costs, lowest[:, hopeful])]
        alike = leaves[hopeful].astype(float)
        kept = hopeful[undominated([alike, -alike, *costs[::-1, hopeful]])]
        picks = labels.picks[:, label[kept]]
        picks[m] = places[taken[kept]]
        labels, left = _Spreads(picks, costs[:, kept]), leaves[kept]
    return _Spreads(np.hstack((known.picks, labels.picks)), np.hstack((known.costs, labels.costs)))


def least_costs(parts: Sequence[Parts], units: int) -> list[Floats]:
    """For the variants from each one on, and for none: the least cost in each criterion by itself, shape (criteria,
    units + 1), of taking 0, 1, ... units; infinity where they cannot.
    """
    rest = np.full((len(parts[0].costs), units + 1), np.inf)
    rest[:, 0] = 0.0
    found = [rest]
    for part in reversed(parts):
        own = np.full_like(rest, np.inf)
        order = np.argsort(part.units, kind="stable")
        counts, starts = np.unique(part.units[order], return_index=True)
        own[:, counts] = np.minimum.reduceat(part.costs[:, order], starts, axis=1)
        both = np.full_like(rest, np.inf)
        for taken in range(units + 1):
            with_others = _joined(own[:, taken : taken + 1], rest[:, : units + 1 - taken])
            np.minimum(both[:, taken:], with_others, out=both[:, taken:])
        rest = both
        found.append(rest)
    return found[::-1]


def _joined(one: Floats, other: Floats) -> Floats:
    joined: Floats = one + other
    joined[0] = np.maximum(one[0], other[0])
    return joined
