"""The default: exact label-setting where it applies, HiGHS for the rest."""

from __future__ import annotations

from ipa_seldon.programs import Choice, MultipleChoice
from ipa_seldon.solvers.labels import label_setting


class AutoSolver:
    """``time_limit`` (seconds) bounds HiGHS only."""

    def __init__(self, time_limit: float = 10.0) -> None:
        self._time_limit = time_limit
        self._name = "labels"

    @property
    def name(self) -> str:
        """``labels`` or ``highs``: the one that answered last."""
        return self._name

    def choose(self, problem: MultipleChoice) -> Choice:
        """An optimal choice; raises SolverError when HiGHS breaks down."""
        choice = label_setting(problem)
        if choice is not None:
            self._name = "labels"
            return choice
        # imported here: most problems never need it, and it takes longer to load than they take to solve
        from ipa_seldon.solvers.highs import HighsSolver

        highs = HighsSolver(self._time_limit)
        self._name = highs.name
        return highs.choose(problem)
