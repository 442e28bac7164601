"""Why this plan and no other: the runner-up, and the constraint that keeps a better plan out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.programs import AccuracyMeasure, Floats, MultipleChoice

Flags = NDArray[np.bool_]
_TOLERANCE = 1e-9


def runner_up(problem: MultipleChoice, choice: Sequence[int]) -> tuple[int, ...] | None:
    """The best feasible choice that differs from ``choice`` (one option index per stage) in a single stage."""
    best, found = -np.inf, None
    for stage, objective, slo_met, budget_met in _exchanges(problem, choice):
        feasible = np.where(slo_met & budget_met, objective, -np.inf)
        feasible[choice[stage]] = -np.inf
        k = int(np.argmax(feasible))
        if feasible[k] > best:
            best, found = float(feasible[k]), (*choice[:stage], k, *choice[stage + 1 :])
    return found


def binding(problem: MultipleChoice, choice: Sequence[int], allowed: Sequence[Flags]) -> str:
    """``slo``, ``cores``, ``replicas`` or ``none``: the constraint that keeps the best better plan out.

    Looked for among plans that differ from ``choice`` in a single stage; ``allowed[t]``, shape (k_t,), marks the
    options of stage t within its limit of replicas.
    """
    best, name = problem.objective(choice) + _TOLERANCE, "none"
    for stage, objective, slo_met, budget_met in _exchanges(problem, choice):
        excluded = np.where(slo_met & budget_met & allowed[stage], -np.inf, objective)
        k = int(np.argmax(excluded))
        if excluded[k] > best:
            best = float(excluded[k])
            name = "slo" if not slo_met[k] else "cores" if not budget_met[k] else "replicas"
    return name


def _exchanges(problem: MultipleChoice, choice: Sequence[int]) -> Iterator[tuple[int, Floats, Flags, Flags]]:
    """Per stage: the objective and the two feasibilities of every option in it, the other stages as chosen."""
    taken_latency = [float(latency[k]) for latency, k in zip(problem.latency, choice, strict=True)]
    taken_cores = sum(float(cores[k]) for cores, k in zip(problem.cores, choice, strict=True))
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
        cores = taken_cores - float(problem.cores[t][k]) + problem.cores[t]
        budget_met = np.full(len(cores), True) if problem.budget is None else cores <= problem.budget + 1e-9
        yield t, problem.alpha * combined - penalty, slo_met, budget_met
