"""The default: exact label-setting where it applies, HiGHS for the rest; options with deadlines are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipa_seldon.programs import Choice, Deadlines, MultipleChoice, VariantSet
from ipa_seldon.solvers.exhaustive import ExhaustiveSolver
from ipa_seldon.solvers.labels import label_setting
from ipa_seldon.solvers.sets import set_labels

if TYPE_CHECKING:
    from ipa_seldon.solvers.highs import HighsSolver


class AutoSolver:
    """``time_limit`` (seconds) bounds HiGHS only."""

    def __init__(self, time_limit: float = 10.0) -> None:
        self._time_limit = time_limit
        self._name = "labels"
        self.gap = 0.0

    @property
    def name(self) -> str:
        """``labels``, ``highs`` or ``exhaustive``: the one that answered last."""
        return self._name

    def choose(self, problem: MultipleChoice) -> Choice:
        """An optimal choice; raises SolverError when HiGHS breaks down."""
        choice = label_setting(problem)
        if choice is not None:
            return self._answered("labels", choice)
        highs = self._highs()
        return self._answered(highs.name, highs.choose(problem))

    def share(self, problem: VariantSet) -> Choice:
        """An optimal set of variants; raises SolverError when HiGHS breaks down."""
        choice = set_labels(problem)
        if choice is not None:
            return self._answered("labels", choice)
        highs = self._highs()
        return self._answered(highs.name, highs.share(problem))

    def meet(self, problem: Deadlines) -> Choice:
        """The option that meets all deadlines, by comparing them all: that takes less than formulating a program."""
        compared = ExhaustiveSolver()
        return self._answered(compared.name, compared.meet(problem))

    def _answered(self, name: str, choice: Choice) -> Choice:
        self._name, self.gap = name, choice.gap
        return choice

    def _highs(self) -> HighsSolver:
        # imported here: most problems never need it, and it takes longer to load than they take to solve
        from ipa_seldon.solvers.highs import HighsSolver

        return HighsSolver(self._time_limit)
