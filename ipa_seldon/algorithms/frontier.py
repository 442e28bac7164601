"""The trade of accuracy against cost: the choices that no other one beats in both.

In every problem here ``alpha * A`` is the pipeline's accuracy in its measure, and the penalties only decide among
choices as accurate and as cheap. Solvers maximise one number, so what decides among equals is scaled until all of it is
worth less than ``RESOLUTION`` of accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf

from ipa_seldon.plan import Proposal
from ipa_seldon.programs import RESOLUTION, Floats, MultipleChoice
from ipa_seldon.solvers import Solver

_STEP = 1e-3  # cores by which costs differ that are not whole
_SCALE = 1e3  # lifts what decides among equals above the solvers' tolerances of 1e-9


@dataclass(frozen=True)
class FrontierPoint:
    """A plan that no other one beats in both accuracy and cost. Weights select it where alpha / beta lies inside the
    open range ``ratio`` (delta aside; infinity: any higher one); None: no weights do, it is off the convex hull.
    """

    proposal: Proposal
    ratio: tuple[float, float] | None


def frontier_points(proposals: Sequence[Proposal]) -> tuple[FrontierPoint, ...]:
    """Undominated plans with their ranges of weights."""
    ranges = ratios([(proposal.accuracy, proposal.cost) for proposal in proposals])
    return tuple(FrontierPoint(*pair) for pair in zip(proposals, ranges, strict=True))


def ratios(points: Sequence[tuple[float, float]]) -> list[tuple[float, float] | None]:
    """For each undominated (accuracy, cost) the open range of alpha / beta where ``alpha * accuracy - beta * cost`` is
    higher than at every other one; None where there is none.
    """
    ranges: list[tuple[float, float] | None] = []
    for accuracy, cost in points:
        lower = max(((cost - c) / (accuracy - a) for a, c in points if a < accuracy), default=0.0)
        upper = min(((c - cost) / (a - accuracy) for a, c in points if a > accuracy), default=inf)
        # three points on one line: rounding must not give the middle one a range
        ranges.append((lower, upper) if lower < upper * (1 - 1e-9) else None)
    return ranges


def frontier(problem: MultipleChoice, solver: Solver) -> Iterator[tuple[int, ...]]:
    """Every undominated pair of accuracy and cost within the budget as one choice, the dearest first.

    Exact: what is most accurate at some cost is followed by what is most accurate at less than it costs.
    """
    step = least_step(problem)
    choice = most_accurate(problem, solver, problem.budgets[0])
    while choice is not None:
        cheaper = most_accurate(problem, solver, cost_of(problem, choice) - step)
        if cheaper is None or accuracy_of(problem, cheaper) < accuracy_of(problem, choice) - RESOLUTION:
            yield settled(problem, solver, choice)
        choice = cheaper


def cheapest(problem: MultipleChoice, solver: Solver, accuracy: float) -> tuple[int, ...] | None:
    """The cheapest choice of at least ``accuracy``, of those the most accurate; the most accurate of all where none
    reaches it; None when the problem is infeasible.

    Exact: the highest accuracy within a budget grows with the budget, so bisection over the steps of cost finds the
    least.
    """
    best = most_accurate(problem, solver, problem.budgets[0])
    if best is None:
        return None
    if reaches(accuracy_of(problem, best), accuracy):
        step = least_step(problem)
        too_little, enough = 0, round(cost_of(problem, best) / step)
        while enough - too_little > 1:
            middle = (too_little + enough) // 2
            choice = most_accurate(problem, solver, middle * step)
            if choice is not None and reaches(accuracy_of(problem, choice), accuracy):
                best, enough = choice, round(cost_of(problem, choice) / step)
            else:
                too_little = middle
    return settled(problem, solver, best)


def reaches(accuracy: float, least: float) -> bool:
    """Whether ``accuracy`` is at least ``least``."""
    return accuracy >= least - RESOLUTION


def most_accurate(problem: MultipleChoice, solver: Solver, cost: float) -> tuple[int, ...] | None:
    """The most accurate choice at ``cost`` at most, the cheapest among equals; None when there is none."""
    return solver.choose(accuracy_first(problem.within(cost), problem.cost)).choice


def settled(problem: MultipleChoice, solver: Solver, choice: tuple[int, ...]) -> tuple[int, ...]:
    """Of all choices as accurate and as cheap as an undominated ``choice``, the one of the least penalty."""
    within = problem.within(cost_of(problem, choice))
    return solver.choose(accuracy_first(within, problem.penalty)).choice or choice


def accuracy_first(problem: MultipleChoice, among_equals: Sequence[Floats]) -> MultipleChoice:
    """The problem with accuracy for its objective; the least sum of ``among_equals`` (per stage, shape (k,)) decides
    among equals.
    """
    spans = [values - values.min() for values in among_equals]
    most = sum(float(span.max()) for span in spans)
    unit = _SCALE * RESOLUTION / most if most else 0.0
    return replace(problem, alpha=_SCALE * problem.alpha, penalty=tuple(unit * span for span in spans))


def accuracy_of(problem: MultipleChoice, choice: Sequence[int]) -> float:
    """The pipeline's accuracy."""
    return problem.objective(choice) + sum(float(p[k]) for p, k in zip(problem.penalty, choice, strict=True))


def cost_of(problem: MultipleChoice, choice: Sequence[int]) -> float:
    """What a choice costs, in cores."""
    return sum(float(cost[k]) for cost, k in zip(problem.cost, choice, strict=True))


def least_step(problem: MultipleChoice) -> float:
    """By how much two costs differ at least, in cores: those of whole cores by one. Where a GPU costs a broken number
    of them, closer ones count as equal.
    """
    return 1.0 if all((cost % 1 == 0).all() for cost in problem.cost) else _STEP
