"""The two forms of a planning problem that solvers take: a multiple-choice problem on a DAG, and an integer program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Accuracies this close count as equal.
RESOLUTION = 1e-7


class AccuracyMeasure(StrEnum):
    """How stage accuracies make the pipeline's (systems: IPA section 3). ``rank`` replaces each accuracy by its
    normalised rank before the product; the replacement happens where options are made, so solvers see ``product``.
    """

    PRODUCT = "product"
    SUM = "sum"
    AVERAGE = "average"
    RANK = "rank"


@dataclass(frozen=True)
class MultipleChoice:
    """Pick one option of every stage: maximise ``alpha * A - sum(penalty)`` subject to every path's latency <= slo.

    Stage t has k_t options; ``accuracy[t]``, ``penalty[t]``, ``latency[t]`` (seconds, queueing included) and
    ``cores[t]`` (replicas * cores of one replica) are float64 arrays of shape (k_t,). ``measure`` is PRODUCT or SUM
    (AVERAGE arrives here as SUM with alpha divided by the number of stages, RANK as PRODUCT of ranks).
    ``paths`` holds stage indices of every root-to-leaf path; ``budget`` bounds the total of ``cores`` (None: no bound).
    """

    accuracy: tuple[Floats, ...]
    penalty: tuple[Floats, ...]
    latency: tuple[Floats, ...]
    cores: tuple[Floats, ...]
    paths: tuple[tuple[int, ...], ...]
    slo: float
    alpha: float
    measure: AccuracyMeasure
    budget: float | None = None

    @property
    def is_chain(self) -> bool:
        """True when one path visits every stage."""
        return len(self.paths) == 1 and len(self.paths[0]) == len(self.latency)

    def objective(self, choice: Sequence[int]) -> float:
        """The objective of ``choice`` (one option index per stage), feasible or not."""
        accuracies = [float(a[k]) for a, k in zip(self.accuracy, choice, strict=True)]
        combined = float(np.prod(accuracies)) if self.measure is AccuracyMeasure.PRODUCT else sum(accuracies)
        return self.alpha * combined - sum(float(p[k]) for p, k in zip(self.penalty, choice, strict=True))

    def feasible(self, choice: Sequence[int], tolerance: float = 1e-9) -> bool:
        """Whether ``choice`` meets the SLO on every path, and the budget."""
        for path in self.paths:
            if sum(float(self.latency[t][choice[t]]) for t in path) > self.slo + tolerance:
                return False
        used = sum(float(c[k]) for c, k in zip(self.cores, choice, strict=True))
        return self.budget is None or used <= self.budget + tolerance


@dataclass(frozen=True)
class Row:
    """One linear constraint: ``lower <= sum(coefficients[v] * v) <= upper``."""

    coefficients: Mapping[str, float]
    lower: float = float("-inf")
    upper: float = float("inf")


@dataclass(frozen=True)
class Variable:
    """A decision variable; ``integer`` False makes it continuous."""

    lower: float = 0.0
    upper: float = 1.0
    integer: bool = True


@dataclass(frozen=True)
class IntegerProgram:
    """Maximise a linear objective over named variables and linear rows."""

    variables: Mapping[str, Variable]
    objective: Mapping[str, float]
    rows: tuple[Row, ...] = field(default=())


class SolveStatus(StrEnum):
    """``FEASIBLE``: the time limit ended the search with an incumbent and a gap."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"


@dataclass(frozen=True)
class Choice:
    """A solver's answer to a MultipleChoice: ``choice`` is one option index per stage, None when infeasible.
    ``gap`` is the relative optimality gap that was proven (0 when exact).
    """

    status: SolveStatus
    choice: tuple[int, ...] | None
    objective: float = float("nan")
    gap: float = 0.0


@dataclass(frozen=True)
class Solution:
    """A solver's answer to an IntegerProgram: a value per variable, None when infeasible."""

    status: SolveStatus
    values: Mapping[str, float] | None
    objective: float = float("nan")
    gap: float = 0.0
