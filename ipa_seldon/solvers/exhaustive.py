"""Every combination of options, compared: the oracle the other solvers are tested against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.errors import SolverError
from ipa_seldon.programs import AccuracyMeasure, Choice, Deadlines, Floats, MultipleChoice, SolveStatus, VariantSet

LIMIT = 20_000_000
CHUNK = 1 << 17
TOLERANCE = 1e-9


class ExhaustiveSolver:
    """Brute force; its work is the product of the numbers of options."""

    name = "exhaustive"
    gap = 0.0

    def choose(self, problem: MultipleChoice) -> Choice:
        """An optimal choice; raises SolverError beyond ``LIMIT`` combinations."""
        sizes = [len(latency) for latency in problem.latency]
        return _best(
            problem, sizes, lambda picks: np.where(_feasible(problem, picks), _objective(problem, picks), -np.inf)
        )

    def share(self, problem: VariantSet) -> Choice:
        """An optimal set of variants; raises SolverError beyond ``LIMIT`` combinations."""
        sizes = [len(cores) for cores in problem.cores]

        def values(picks: Picks) -> Floats:
            columns = np.stack(picks)
            return np.where(problem.allowed(columns), problem.worth(columns), -np.inf)

        return _best(problem, sizes, values)

    def meet(self, problem: Deadlines) -> Choice:
        """The option that meets all deadlines."""
        feasible = np.flatnonzero(problem.feasible)
        if not len(feasible):
            return Choice(SolveStatus.INFEASIBLE, None)
        choice = (int(feasible[0]),)
        return Choice(SolveStatus.OPTIMAL, choice, problem.objective(choice))


Picks = tuple[NDArray[np.intp], ...]


def _best(problem: MultipleChoice | VariantSet, sizes: Sequence[int], values: Callable[[Picks], Floats]) -> Choice:
    """The choice of one of so many options each with the highest of ``values``, minus infinity where infeasible."""
    total = prod(sizes)
    if total > LIMIT:
        raise SolverError(
            f"solver exhaustive: {total:.3g} combinations of options, at most {LIMIT:.3g}; use auto or highs"
        )
    best: tuple[int, ...] | None = None
    best_value = -np.inf
    for start in range(0, total, CHUNK):
        picks = np.unravel_index(np.arange(start, min(start + CHUNK, total)), sizes)
        found = values(picks)
        top = int(found.argmax())
        if found[top] > best_value:
            best, best_value = tuple(int(pick[top]) for pick in picks), float(found[top])
    if best is None:
        return Choice(SolveStatus.INFEASIBLE, None)
    return Choice(SolveStatus.OPTIMAL, best, problem.objective(best))


def _gather(arrays: tuple[Floats, ...], picks: Picks) -> list[Floats]:
    return [array[pick] for array, pick in zip(arrays, picks, strict=True)]


def _objective(problem: MultipleChoice, picks: Picks) -> Floats:
    accuracies = np.stack(_gather(problem.accuracy, picks))
    product = problem.measure is AccuracyMeasure.PRODUCT
    combined = accuracies.prod(axis=0) if product else accuracies.sum(axis=0)
    value: Floats = problem.alpha * combined - np.sum(_gather(problem.penalty, picks), axis=0)
    return value


def _feasible(problem: MultipleChoice, picks: Picks) -> NDArray[np.bool_]:
    latency = _gather(problem.latency, picks)
    meets = np.ones(len(picks[0]), dtype=np.bool_)
    for path in problem.paths:
        meets &= np.sum([latency[stage] for stage in path], axis=0) <= problem.slo + TOLERANCE
    for resource in problem.bounded:
        taken = _gather(tuple(used[resource] for used in problem.used), picks)
        meets &= np.sum(taken, axis=0) <= problem.budgets[resource] + TOLERANCE
    return meets
