"""Why this plan and no other: the runner-up, and the constraint that keeps a better plan out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.programs import RESOLUTION, AccuracyMeasure, Floats, MultipleChoice, Picks, VariantSet

Flags = NDArray[np.bool_]
_TOLERANCE = 1e-9


def runner_up(problem: MultipleChoice, choice: Sequence[int], floor: float = -np.inf) -> tuple[int, ...] | None:
    """The best feasible choice that differs from ``choice`` (one option index per stage) in a single stage; ``floor``
    is the least sum or product of accuracies.
    """
    best, found = -np.inf, None
    for exchange in _exchanges(problem, choice, floor):
        stage = exchange.stage
        feasible = np.where(exchange.feasible, exchange.objective, -np.inf)
        feasible[choice[stage]] = -np.inf
        k = int(np.argmax(feasible))
        if feasible[k] > best:
            best, found = float(feasible[k]), (*choice[:stage], k, *choice[stage + 1 :])
    return found


def binding(
    problem: MultipleChoice,
    choice: Sequence[int],
    allowed: Sequence[Flags],
    resources: Sequence[str],
    floor: float = -np.inf,
) -> str:
    """``slo``, a resource, ``replicas``, ``accuracy`` or ``none``: the constraint that keeps the best better plan out.

    Looked for among plans that differ from ``choice`` in a single stage; ``allowed[t]``, shape (k_t,), marks the
    options of stage t within its limit of replicas; ``resources`` are the names of the problem's; ``floor`` is the
    least sum or product of accuracies.
    """
    best, name = problem.objective(choice) + _TOLERANCE, "none"
    for exchange in _exchanges(problem, choice, floor):
        met = {
            "slo": exchange.slo_met,
            **dict(zip(resources, exchange.budgets_met, strict=True)),
            "replicas": allowed[exchange.stage],
            "accuracy": exchange.floor_met,
        }
        excluded = np.where(np.all(list(met.values()), axis=0), -np.inf, exchange.objective)
        k = int(np.argmax(excluded))
        if excluded[k] > best:
            best = float(excluded[k])
            name = next(constraint for constraint, flags in met.items() if not flags[k])
    return name


@dataclass(frozen=True)
class _Exchange:
    """What every option of one stage would give, the others as chosen: arrays of shape (k,), of the budgets (r, k)."""

    stage: int
    objective: Floats
    slo_met: Flags
    budgets_met: Flags
    floor_met: Flags

    @property
    def feasible(self) -> Flags:
        """Which options keep every promise."""
        feasible: Flags = self.slo_met & self.budgets_met.all(axis=0) & self.floor_met
        return feasible


def _exchanges(problem: MultipleChoice, choice: Sequence[int], floor: float) -> Iterator[_Exchange]:
    """One per stage."""
    taken_latency = [float(latency[k]) for latency, k in zip(problem.latency, choice, strict=True)]
    taken = np.sum([used[:, k] for used, k in zip(problem.used, choice, strict=True)], axis=0)
    budgets = np.array(problem.budgets)[:, None] + 1e-9
    taken_accuracy = [float(accuracy[k]) for accuracy, k in zip(problem.accuracy, choice, strict=True)]
    taken_penalty = sum(float(penalty[k]) for penalty, k in zip(problem.penalty, choice, strict=True))
    for t, k in enumerate(choice):
        others = taken_accuracy[:t] + taken_accuracy[t + 1 :]
        combined = (
            float(np.prod(others)) * problem.accuracy[t]
            if problem.measure is AccuracyMeasure.PRODUCT
            else sum(others) + problem.accuracy[t]
        )
        penalty = taken_penalty - float(problem.penalty[t][k]) + problem.penalty[t]
        slowest = max((sum(taken_latency[s] for s in path if s != t) for path in problem.paths if t in path), default=0)
        slo_met = slowest + problem.latency[t] <= problem.slo + 1e-9
        used = (taken - problem.used[t][:, k])[:, None] + problem.used[t]
        yield _Exchange(t, problem.alpha * combined - penalty, slo_met, used <= budgets, combined >= floor - RESOLUTION)


def set_runner_up(problem: VariantSet, choice: Sequence[int]) -> tuple[int, ...] | None:
    """The best feasible choice without an idle pod that differs from ``choice`` (one option index per variant) in one
    variant or two.
    """
    best, found = -np.inf, None
    for near in problem.near(choice):
        other = (near != np.array(choice)[:, None]).any(axis=0)
        picks = near[:, other & problem.allowed(near)]
        picks = picks[:, ~((picks > 0) & (problem.carried(picks) == 0)).any(axis=0)]
        worth = problem.worth(picks)
        if worth.size and worth.max() > best:
            k = int(worth.argmax())
            best, found = float(worth[k]), tuple(picks[:, k].tolist())
    return found


def set_binding(problem: VariantSet, choice: Sequence[int]) -> str:
    """What keeps a better choice out, of those that differ in one variant or two: ``budget`` where one would do that
    takes the load on more cores, else ``pods`` in more pods, else ``load`` for a part of it, else ``none``.
    """
    least = problem.objective(choice) + _TOLERANCE

    def better(picks: Picks) -> bool:
        return bool((problem.worth(picks) > least).any())

    found = set()
    for near in problem.near(choice):
        met = {"budget": problem.affordable(near), "pods": problem.few(near), "load": problem.sustained(near)}
        broken = np.sum([~flags for flags in met.values()], axis=0)
        if better(near[:, (broken == 1) & ~met["budget"]]):
            return "budget"
        found |= {name for name in met if name not in found and better(near[:, (broken == 1) & ~met[name]])}
    return next((name for name in ("pods", "load") if name in found), "none")
