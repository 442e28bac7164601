"""Solvers. Every one answers a MultipleChoice, a VariantSet and Deadlines exactly; ``highs`` and ``gurobi`` also take
any IntegerProgram.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ipa_seldon.programs import Choice, Deadlines, MultipleChoice, VariantSet

SOLVERS: Mapping[str, str] = {
    "auto": "ipa_seldon.solvers.auto:AutoSolver",
    "highs": "ipa_seldon.solvers.highs:HighsSolver",
    "gurobi": "ipa_seldon.solvers.gurobi:GurobiSolver",
    "exhaustive": "ipa_seldon.solvers.exhaustive:ExhaustiveSolver",
}


class Solver(Protocol):
    """``name`` is what reports print: the solver that really answered last. ``gap`` is what its answer leaves open."""

    @property
    def name(self) -> str:
        """A key of ``SOLVERS``, or ``labels``."""
        ...

    @property
    def gap(self) -> float:
        """The relative optimality gap of the last answer, 0 when exact; see Choice."""
        ...

    def choose(self, problem: MultipleChoice) -> Choice:
        """An optimal choice. Infeasibility is a value; raises SolverError when the solver breaks down."""
        ...

    def share(self, problem: VariantSet) -> Choice:
        """An optimal set of variants. Infeasibility is a value; raises SolverError when the solver breaks down."""
        ...

    def meet(self, problem: Deadlines) -> Choice:
        """The option that meets all deadlines. Infeasibility is a value; raises SolverError when the solver breaks
        down.
        """
        ...
