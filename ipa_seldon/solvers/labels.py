"""Exact bounded label-setting: extend partial choices stage by stage, drop what cannot win.

A label is a choice of options for the first stages. It is dropped when its bound (``bounds``) does not beat the best
complete choice known, when its lightest completion breaks a limit, or when another label is no worse in every
respect. Each round keeps at most ``width`` labels a stage, those of the best bounds; a round is a proof as soon as no
label it left out could have beaten the best choice it found. Otherwise a wider round follows, pruned by that choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from ipa_seldon.programs import AccuracyMeasure, Choice, Floats, MultipleChoice, SolveStatus
from ipa_seldon.solvers.bounds import Choices, Places, Relaxation, capacity_of, nothing, relaxations, stages_of

WIDTHS = (16, 160, 1600, 3200)
# Every path is one more respect in which labels differ; with this many, HiGHS is the better tool.
MOST_PATHS = 16
# Objectives this close count as equal.
TIE = 1e-10
# Dominance compares every label with every survivor, so only the best-bounded SPARE * width labels go through it.
SPARE = 2
BLOCK = 128


def label_setting(problem: MultipleChoice, widths: Sequence[int] = WIDTHS) -> Choice | None:
    """An optimal choice; None when alpha or an accuracy is negative (the bounds do not hold there), when there are
    more than ``MOST_PATHS`` paths, or when the last of ``widths`` gives no proof.
    """
    if any(len(latency) == 0 for latency in problem.latency):
        return Choice(SolveStatus.INFEASIBLE, None)
    negative = problem.alpha < 0 or any(np.min(accuracy) < 0 for accuracy in problem.accuracy)
    if negative or len(problem.paths) > MOST_PATHS:
        return None
    search = _Search(problem)
    if not search.attainable:
        return Choice(SolveStatus.INFEASIBLE, None)
    return proven(search.round, problem.objective, widths, TIE)


def proven(
    search: Callable[[int, float], tuple[tuple[int, ...] | None, float]],
    objective: Callable[[tuple[int, ...]], float],
    widths: Sequence[int],
    tie: float,
) -> Choice | None:
    """What ``search(width, value)`` finds that beats ``value``, width by width, until what it left out is no better
    by more than ``tie``; None when the last of ``widths`` gives no proof.
    """
    best: tuple[int, ...] | None = None
    value = -np.inf
    for width in widths:
        found, left_out = search(width, value)
        if found is not None:
            best, value = found, objective(found)
        if left_out <= value + tie:
            break
    else:
        return None
    if best is None:
        return Choice(SolveStatus.INFEASIBLE, None)
    return Choice(SolveStatus.OPTIMAL, best, value)


class _Search:
    """What every round shares: undominated options of each stage, what later stages need, and the relaxations."""

    def __init__(self, problem: MultipleChoice) -> None:
        self._alpha = problem.alpha if problem.measure is AccuracyMeasure.PRODUCT else 0.0
        self._capacity = capacity_of(problem)
        options = stages_of(problem)
        self._places = [np.sort(undominated(choices)) for choices in options]
        self._stages = [choices.at(places) for choices, places in zip(options, self._places, strict=True)]
        least = np.array([choices.weight.min(axis=0) for choices in self._stages])
        self._lightest = np.vstack((np.cumsum(least[::-1], axis=0)[::-1], np.zeros(len(self._capacity))))

    @property
    def attainable(self) -> bool:
        """Whether each limit can be met, at least alone."""
        return bool((self._lightest[0] <= self._capacity).all())

    @cached_property
    def _relaxations(self) -> list[Relaxation]:
        return relaxations(self._stages, self._alpha, self._capacity)

    def round(self, width: int, value: float) -> tuple[tuple[int, ...] | None, float]:
        """The best choice better than ``value`` found with ``width`` labels a stage, and the best bound left out."""
        labels = nothing(len(self._capacity))
        trail: list[Places] = []
        left_out = -np.inf
        for t, options in enumerate(self._stages, start=1):
            labels = labels.extended(options)
            kept = np.flatnonzero((labels.weight + self._lightest[t] <= self._capacity).all(axis=1))
            bound = self._bound(labels.at(kept), t)
            promising = bound > value + TIE
            kept, bound = kept[promising], bound[promising]
            for narrow in (SPARE * width, width):
                if len(kept) > narrow:
                    order = np.argsort(-bound)
                    left_out = max(left_out, float(bound[order[narrow]]))
                    kept, bound = kept[order[:narrow]], bound[order[:narrow]]
                if narrow > width:
                    survivors = undominated(labels.at(kept))
                    kept, bound = kept[survivors], bound[survivors]
            if not len(kept):
                return None, left_out
            trail.append(kept)
            labels = labels.at(kept)
        best = int((self._alpha * labels.product - labels.cost).argmax())
        return self._traced(trail, best), left_out

    def _bound(self, labels: Choices, stage: int) -> Floats:
        bound = np.full(len(labels.cost), np.inf)
        for relaxation in self._relaxations:
            np.minimum(bound, relaxation.bound(labels, stage, self._alpha, self._capacity), out=bound)
        return bound

    def _traced(self, trail: list[Places], last: int) -> tuple[int, ...]:
        choice = []
        for kept, places in zip(reversed(trail), reversed(self._places), strict=True):
            last, option = divmod(int(kept[last]), len(places))
            choice.append(int(places[option]))
        return tuple(reversed(choice))


def undominated(labels: Choices) -> Places:
    """The places of labels no other label is at least as good as; of equal ones the first stays."""
    criteria = np.vstack((-labels.product, labels.weight.T))
    order = np.lexsort((*criteria, labels.cost))
    criteria = criteria[:, order]
    survivors = np.zeros(0, dtype=np.intp)
    for start in range(0, len(order), BLOCK):
        # sorted by cost, a label can only be dominated by an earlier one: cost itself needs no comparison
        block = np.arange(start, min(start + BLOCK, len(order)))
        rivals = np.concatenate((survivors, block))
        beaten = rivals[:, None] < block
        for criterion in criteria:
            beaten &= criterion[rivals, None] <= criterion[block]
        survivors = np.concatenate((survivors, block[~beaten.any(axis=0)]))
    kept: Places = order[survivors]
    return kept
