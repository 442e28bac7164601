"""What makes one plan better than another: weights, or one of accuracy and cost while the other is held to a limit.

With a limit, the other weights (batches, starting up) only decide among plans as accurate and as cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import ClassVar, Protocol

from ipa_seldon.algorithms.frontier import accuracy_first, cheapest, frontier
from ipa_seldon.options import Weights
from ipa_seldon.programs import MultipleChoice
from ipa_seldon.solvers import Solver

_ACCURACY = 1e-3  # cores that a unit of accuracy is worth where it only decides among plans as cheap


class Goal(Protocol):
    """``trades``: the problem is solved under other budgets than its own, so that no option may be left out for one
    that costs more.
    """

    trades: ClassVar[bool]

    @property
    def most_cost(self) -> float:
        """The most that a plan may cost, in cores; infinity: there is no such bound."""
        ...

    @property
    def floor(self) -> float:
        """The least accuracy of a plan that keeps its promises."""
        ...

    def choose(self, problem: MultipleChoice, solver: Solver) -> tuple[int, ...] | None:
        """The best choice; one below the floor where none reaches it; None when the problem is infeasible."""
        ...

    def ordered(self, problem: MultipleChoice) -> MultipleChoice:
        """The problem with an objective that puts choices above the floor in this goal's order."""
        ...

    def objective(self, accuracy: float, cost: float, batches: int) -> float:
        """What a plan is worth, in the unit of ``damping.gain``."""
        ...

    def terms(self, accuracy: float, cost: float, batches: int) -> Mapping[str, float]:
        """What plans are put in order by, more being better: with weights the terms of the objective, else what counts
        first and what decides among equals.
        """
        ...


@dataclass(frozen=True)
class Weighted:
    """IPA's objective."""

    weights: Weights
    floor: ClassVar[float] = -inf
    most_cost: ClassVar[float] = inf
    trades: ClassVar[bool] = False

    def choose(self, problem: MultipleChoice, solver: Solver) -> tuple[int, ...] | None:
        """What the solver chooses."""
        return solver.choose(problem).choice

    def ordered(self, problem: MultipleChoice) -> MultipleChoice:
        """As it is."""
        return problem

    def objective(self, accuracy: float, cost: float, batches: int) -> float:
        """``alpha * accuracy - beta * cost - delta * batches``."""
        return sum(self.terms(accuracy, cost, batches).values())

    def terms(self, accuracy: float, cost: float, batches: int) -> Mapping[str, float]:
        """The three."""
        weights = self.weights
        return {
            "accuracy": weights.alpha * accuracy,
            "cost": -weights.beta * cost,
            "batches": -weights.delta * batches,
        }


@dataclass(frozen=True)
class CostAtMost:
    """The highest accuracy at ``most_cost`` at most, in cores, the cheapest among equals. The objective is the
    accuracy: a cheaper plan that is as accurate gains nothing.
    """

    most_cost: float
    floor: ClassVar[float] = -inf
    trades: ClassVar[bool] = True

    def choose(self, problem: MultipleChoice, solver: Solver) -> tuple[int, ...] | None:
        """The dear end of the frontier."""
        return next(frontier(problem, solver), None)

    def ordered(self, problem: MultipleChoice) -> MultipleChoice:
        """By accuracy, then by cost."""
        return accuracy_first(problem, problem.cost)

    def objective(self, accuracy: float, cost: float, batches: int) -> float:
        """The accuracy."""
        del cost, batches
        return accuracy

    def terms(self, accuracy: float, cost: float, batches: int) -> Mapping[str, float]:
        """Accuracy before cost."""
        del batches
        return {"accuracy": accuracy, "cost": -float(cost)}


@dataclass(frozen=True)
class AccuracyAtLeast:
    """The lowest cost with at least ``accuracy``, the most accurate among equals. The objective is minus the cost, in
    cores.
    """

    accuracy: float
    most_cost: ClassVar[float] = inf
    trades: ClassVar[bool] = True

    @property
    def floor(self) -> float:
        """``accuracy``."""
        return self.accuracy

    def choose(self, problem: MultipleChoice, solver: Solver) -> tuple[int, ...] | None:
        """The cheap end of what reaches the accuracy, else the most accurate."""
        return cheapest(problem, solver, self.accuracy)

    def ordered(self, problem: MultipleChoice) -> MultipleChoice:
        """By cost, then by accuracy."""
        return replace(problem, alpha=_ACCURACY * problem.alpha, penalty=problem.cost)

    def objective(self, accuracy: float, cost: float, batches: int) -> float:
        """Minus the cost."""
        del accuracy, batches
        return -float(cost)

    def terms(self, accuracy: float, cost: float, batches: int) -> Mapping[str, float]:
        """Cost before accuracy."""
        del batches
        return {"cost": -float(cost), "accuracy": accuracy}
