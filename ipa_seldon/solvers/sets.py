"""Exact bounded label-setting for a set of variants that shares a load: extend partial sets variant by variant.

A label is a choice for the most accurate variants, which take what they sustain; ``left`` of the load goes to the
others. Labels are dropped, and widths proven enough, as in ``labels``; what is particular here is what completing a
label can be worth, and when one label is at least as good as another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ipa_seldon.programs import Choice, Floats, VariantSet
from ipa_seldon.solvers.bounds import TOLERANCE, Choices, Places
from ipa_seldon.solvers.labels import SPARE, WIDTHS, proven, undominated

# Objectives this close count as equal: below the smallest tie-break, above rounding.
TIE = 1e-12


def set_labels(problem: VariantSet, widths: Sequence[int] = WIDTHS) -> Choice | None:
    """An optimal choice; None when the last of ``widths`` gives no proof."""
    bounds = [_Bound.of(problem, m) for m in range(len(problem.cores) + 1)]
    return proven(partial(_round, problem, bounds), problem.objective, widths, TIE)


@dataclass(frozen=True)
class _Labels:
    """Choices for the first variants, arrays of shape (n,). ``gain``: what they are worth, loading aside."""

    cores: Floats
    pods: Floats
    left: Floats
    gain: Floats
    loading: Floats

    def at(self, places: Places) -> _Labels:
        return _Labels(
            self.cores[places], self.pods[places], self.left[places], self.gain[places], self.loading[places]
        )

    def extended(self, problem: VariantSet, m: int) -> _Labels:
        """Every label with every option of variant m; the latter run faster."""
        left = np.maximum(0.0, self.left[:, None] - problem.portion[m])
        taken = problem.alpha * problem.accuracy[m] * (self.left[:, None] - left)
        return _Labels(
            (self.cores[:, None] + problem.cores[m]).ravel(),
            (self.pods[:, None] + np.minimum(np.arange(len(problem.cores[m])), 1)).ravel(),
            left.ravel(),
            (self.gain[:, None] + taken - problem.penalty[m]).ravel(),
            np.maximum(self.loading[:, None], problem.loading[m]).ravel(),
        )

    def undominated(self, problem: VariantSet, m: int) -> Places:
        """Places of labels no other is at least as good as, before variant m is decided.

        One that leaves less of the load completes as another does, and forgoes at most the accuracy of variant m for
        what the other has left over; a longer loading costs it at most the difference.
        """
        worth = self.gain + problem.alpha * problem.accuracy[m] * self.left
        criteria = (-worth, problem.gamma * self.loading - worth, *([] if problem.pods is None else [self.pods]))
        return undominated(Choices(-self.left, self.cores, np.column_stack(criteria)))


@dataclass(frozen=True)
class _Bound:
    """The most that the variants from one on can add per unit of load, by the cores there are per unit: the upper hull
    of their best ratios, as if every fraction of a pod could be had. Without variants both arrays are empty.
    """

    cores: Floats
    gain: Floats

    @staticmethod
    def of(problem: VariantSet, first: int) -> _Bound:
        points = []
        for m in range(first, len(problem.cores)):
            usable = problem.portion[m] > 0
            if usable.any():
                portion = problem.portion[m][usable]
                cores = float((problem.cores[m][usable] / portion).min())
                gain = problem.alpha * problem.accuracy[m] - (problem.penalty[m][usable] / portion).min()
                points.append((cores, float(gain)))
        hull: list[tuple[float, float]] = []
        for point in sorted(points, key=lambda point: (point[0], -point[1])):
            if hull and point[1] <= hull[-1][1]:
                continue
            while len(hull) > 1 and _below(hull[-1], hull[-2], point):
                hull.pop()
            hull.append(point)
        return _Bound(np.array([cores for cores, _ in hull]), np.array([gain for _, gain in hull]))

    def __call__(self, labels: _Labels, problem: VariantSet) -> Floats:
        """What each label can become worth at most; minus infinity where it cannot be completed."""
        room = problem.budget + TOLERANCE - labels.cores
        pods = (np.inf if problem.pods is None else problem.pods) - labels.pods
        sure = labels.gain - problem.gamma * labels.loading
        bound = np.where((labels.left <= TOLERANCE) & (room >= 0) & (pods >= 0), sure, -np.inf)
        if len(self.cores):
            open_ = (labels.left > TOLERANCE) & (room >= labels.left * self.cores[0] - TOLERANCE) & (pods > 0)
            left = labels.left[open_]
            bound[open_] = sure[open_] + left * np.interp(room[open_] / left, self.cores, self.gain)
        return bound


def _below(middle: tuple[float, float], left: tuple[float, float], right: tuple[float, float]) -> bool:
    """Whether the middle point does not lie above the chord."""
    return (middle[1] - left[1]) * (right[0] - left[0]) <= (right[1] - left[1]) * (middle[0] - left[0])


def _round(
    problem: VariantSet, bounds: Sequence[_Bound], width: int, value: float
) -> tuple[tuple[int, ...] | None, float]:
    """The best choice better than ``value`` found with ``width`` labels a variant, and the best bound left out."""
    labels = _Labels(np.zeros(1), np.zeros(1), np.ones(1), np.zeros(1), np.zeros(1))
    trail: list[Places] = []
    left_out = -np.inf
    for m in range(len(problem.cores)):
        labels = labels.extended(problem, m)
        bound = bounds[m + 1](labels, problem)
        kept = np.flatnonzero(bound > value + TIE)
        for narrow in (SPARE * width, width):
            if len(kept) > narrow:
                order = kept[np.argsort(-bound[kept], kind="stable")]
                left_out = max(left_out, float(bound[order[narrow]]))
                kept = order[:narrow]
            if narrow > width and m + 1 < len(problem.cores):
                kept = kept[labels.at(kept).undominated(problem, m + 1)]
        if not len(kept):
            return None, left_out
        trail.append(kept)
        labels = labels.at(kept)
    last = int((labels.gain - problem.gamma * labels.loading).argmax())
    choice = []
    for m in reversed(range(len(trail))):
        last, option = divmod(int(trail[m][last]), len(problem.cores[m]))
        choice.append(option)
    return tuple(reversed(choice)), left_out
