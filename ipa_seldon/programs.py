"""The forms of a planning problem that solvers take: a multiple-choice problem on a DAG, a set of variants that share a
load, requests with a deadline each, and an integer program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import combinations
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Accuracies this close count as equal.
RESOLUTION = 1e-7

_TOLERANCE = 1e-9


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

    Stage t has k_t options; ``accuracy[t]``, ``penalty[t]`` and ``latency[t]`` (seconds, queueing included) are float64
    arrays of shape (k_t,), ``used[t]``, of shape (r, k_t), is what they take of each of r resources, all replicas
    together: first of the cost, in cores. ``measure`` is PRODUCT or SUM (AVERAGE arrives here as SUM with alpha divided
    by the number of stages, RANK as PRODUCT of ranks). ``paths`` holds stage indices of every root-to-leaf path;
    ``budgets`` bound the total of each resource (infinity: no bound).
    """

    accuracy: tuple[Floats, ...]
    penalty: tuple[Floats, ...]
    latency: tuple[Floats, ...]
    used: tuple[Floats, ...]
    paths: tuple[tuple[int, ...], ...]
    slo: float
    alpha: float
    measure: AccuracyMeasure
    budgets: tuple[float, ...] = (inf,)

    @property
    def cost(self) -> tuple[Floats, ...]:
        """What the options of every stage cost, in cores: arrays of shape (k_t,)."""
        return tuple(used[0] for used in self.used)

    @property
    def bounded(self) -> list[int]:
        """The resources that have a bound."""
        return [resource for resource, most in enumerate(self.budgets) if isfinite(most)]

    def within(self, cost: float) -> MultipleChoice:
        """The same problem for so much ``cost`` at most, in cores."""
        return replace(self, budgets=(cost, *self.budgets[1:]))

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
        """Whether ``choice`` meets the SLO on every path, and the budgets."""
        for path in self.paths:
            if sum(float(self.latency[t][choice[t]]) for t in path) > self.slo + tolerance:
                return False
        used = sum(used[:, k] for used, k in zip(self.used, choice, strict=True))
        return bool(np.all(used <= np.array(self.budgets) + tolerance))


Picks = NDArray[np.intp]
"""Choices of a VariantSet, one per column: an option index of every variant, shape (variants, n)."""


@dataclass(frozen=True)
class VariantSet:
    """Pick one option of every variant, no pod or one on so many cores, and share a load among the pods: maximise
    ``alpha * A - sum(penalty) - gamma * max(loading)`` on at most ``budget`` cores, with at most ``pods`` (None: any).

    Variants come the most accurate first. Variant m has ``accuracy[m]`` and k_m options: ``portion[m]`` (the fraction
    of the load that such a pod sustains, at most 1), ``cores[m]``, ``penalty[m]`` and ``loading[m]`` are float64 arrays
    >= 0 of shape (k_m,); option 0 is no pod, zero in all of them. A is the mean accuracy over the load, as high as the
    pods allow: the more accurate gets what it sustains first. ``alpha`` and ``gamma`` are >= 0.
    """

    accuracy: Floats
    portion: tuple[Floats, ...]
    cores: tuple[Floats, ...]
    penalty: tuple[Floats, ...]
    loading: tuple[Floats, ...]
    alpha: float
    gamma: float
    budget: float
    pods: int | None = None

    def carried(self, picks: Picks) -> Floats:
        """The fraction of the load that each variant takes, shape (variants, n); they sum to 1 where all is taken."""
        left = np.ones(picks.shape[1])
        carried = np.empty(picks.shape)
        for m, portion in enumerate(self.portion):
            carried[m] = np.minimum(left, portion[picks[m]])
            left -= carried[m]
        return carried

    def worth(self, picks: Picks) -> Floats:
        """The objective of choices, feasible or not, shape (n,); of the part of the load that is taken."""
        carried = self.carried(picks)
        mean = self.accuracy @ carried / np.maximum(carried.sum(axis=0), 1e-12)
        loading = np.max([values[pick] for values, pick in zip(self.loading, picks, strict=True)], axis=0)
        worth: Floats = self.alpha * mean - _summed(self.penalty, picks) - self.gamma * loading
        return worth

    def sustained(self, picks: Picks, tolerance: float = 1e-9) -> NDArray[np.bool_]:
        """Which choices take all of the load, shape (n,)."""
        sustained: NDArray[np.bool_] = _summed(self.portion, picks) >= 1 - tolerance
        return sustained

    def affordable(self, picks: Picks, tolerance: float = 1e-9) -> NDArray[np.bool_]:
        """Which choices stay within the budget, shape (n,)."""
        affordable: NDArray[np.bool_] = _summed(self.cores, picks) <= self.budget + tolerance
        return affordable

    def few(self, picks: Picks) -> NDArray[np.bool_]:
        """Which choices run no more pods than they may, shape (n,)."""
        most = len(picks) if self.pods is None else self.pods
        few: NDArray[np.bool_] = (picks > 0).sum(axis=0) <= most
        return few

    def allowed(self, picks: Picks) -> NDArray[np.bool_]:
        """Which choices keep to everything: load, budget and pods, shape (n,)."""
        return self.sustained(picks) & self.affordable(picks) & self.few(picks)

    def shares(self, choice: Sequence[int]) -> Floats:
        """The share of what is taken that each variant gets, shape (variants,), summing to 1."""
        carried = self.carried(_column(choice))[:, 0]
        shares: Floats = carried / carried.sum()
        return shares

    def objective(self, choice: Sequence[int]) -> float:
        """The objective of ``choice`` (one option index per variant), feasible or not."""
        return float(self.worth(_column(choice))[0])

    def feasible(self, choice: Sequence[int]) -> bool:
        """Whether the pods of ``choice`` sustain the load, and are within the limits."""
        return bool(self.allowed(_column(choice))[0])

    def near(self, choice: Sequence[int]) -> Iterator[Picks]:
        """The choices that differ from ``choice`` in the same two variants, it among them, for every two; in the only
        one where there is one.
        """
        sizes = [len(cores) for cores in self.cores]
        for changed in combinations(range(len(sizes)), min(2, len(sizes))):
            grid = np.indices([sizes[m] for m in changed]).reshape(len(changed), -1)
            picks = np.repeat(_column(choice), grid.shape[1], axis=1)
            picks[list(changed)] = grid
            yield picks


def _column(choice: Sequence[int]) -> Picks:
    return np.array(choice, dtype=np.intp)[:, None]


def _summed(arrays: Sequence[Floats], picks: Picks) -> Floats:
    total: Floats = np.sum([values[pick] for values, pick in zip(arrays, picks, strict=True)], axis=0)
    return total


@dataclass(frozen=True)
class Deadlines:
    """Pick the first option, in the order in which they are preferred, under which every request has ended in time and
    ``capacity >= load`` (requests/s).

    Option k serves ``slots[k]`` requests at once, ``latency[k]`` seconds each time, and carries ``capacity[k]``; arrays
    of shape (k,). Before request i is served, ``lead[i]`` whole batches and ``ahead[i]`` requests are; it must have
    ended in ``due[i]`` seconds; arrays of shape (r,), r >= 1.
    """

    latency: Floats
    slots: Floats
    capacity: Floats
    load: float
    ahead: Floats
    lead: Floats
    due: Floats

    def ends(self, option: int) -> Floats:
        """When each request ends (seconds), shape (r,): ``(lead + floor(ahead / slots) + 1) * latency``."""
        ends: Floats = (self.lead + np.floor(self.ahead / self.slots[option]) + 1) * self.latency[option]
        return ends

    def missed(self, option: int) -> Picks:
        """The requests that end late under an option, ascending."""
        return np.flatnonzero(self.ends(option) > self.due + _TOLERANCE)

    @cached_property
    def carrying(self) -> NDArray[np.bool_]:
        """Which options carry the load, shape (k,)."""
        carrying: NDArray[np.bool_] = self.capacity >= self.load - _TOLERANCE
        return carrying

    @cached_property
    def feasible(self) -> NDArray[np.bool_]:
        """Which options carry the load and end every request in time, shape (k,).

        How many batches a request waits for depends on the slots alone, so that for each number of slots one request,
        the tightest, says how long a batch may take.
        """
        longest, of_option, _ = self._longest
        in_time: NDArray[np.bool_] = self.latency <= longest[of_option]
        return in_time & self.carrying

    @property
    def tightest(self) -> Picks:
        """The requests that say for some number of slots how long a batch may take, ascending: in time when these are,
        all are.
        """
        return np.unique(self._longest[2])

    @cached_property
    def _longest(self) -> tuple[Floats, Picks, Picks]:
        """The longest that a batch may take (seconds) by number of slots, the place of each option's slots among these,
        and the request that says so.
        """
        slots, of_option = np.unique(self.slots, return_inverse=True)
        batches = self.lead + np.floor(self.ahead / slots[:, None]) + 1
        due = self.due + _TOLERANCE
        allowed = np.where(batches > 0, due / np.maximum(batches, 1), np.where(due >= 0, np.inf, -np.inf))
        tightest = allowed.argmin(axis=1)
        return allowed[np.arange(len(slots)), tightest], of_option, tightest

    def objective(self, choice: Sequence[int]) -> float:
        """Minus the place of the option chosen: preferred ones come first."""
        return -float(choice[0])


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
    """A solver's answer: ``choice`` is one option index per stage of a MultipleChoice, per variant of a VariantSet, and
    one for Deadlines; None when infeasible. ``gap`` is the relative optimality gap that was proven (0 when exact).
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
