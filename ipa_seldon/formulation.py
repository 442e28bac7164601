"""A multiple-choice problem as an integer program: one binary per option, exactly one option per stage.

Product accuracy stays linear through prefix products. With ``P[t]`` the product of the accuracies (>= 0) chosen in the
first stages up to t and ``y[t, m]`` = 1 when stage t runs an option of accuracy ``a[t, m]``, the variable
``w[t, m] = P[t-1] * y[t, m]`` obeys

    sum_m w[t, m] = sum_m a[t-1, m] * w[t-1, m]        and        Pmin[t-1] * y[t, m] <= w[t, m] <= Pmax[t-1] * y[t, m],

which is exact at integer points: only the chosen accuracy's ``w`` can differ from 0, so it carries the whole product.

A set of variants is one too: a binary per option, a share of the load per variant, and the longest loading. So are
requests with a deadline each: a binary per option, and a row per request that others do not make redundant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ipa_seldon.programs import (
    AccuracyMeasure,
    Choice,
    Deadlines,
    Floats,
    IntegerProgram,
    MultipleChoice,
    Row,
    Solution,
    Variable,
    VariantSet,
)

_SCALE = 1e3  # lifts what decides among equal sets above the solvers' tolerances of 1e-9


def formulate(problem: MultipleChoice) -> IntegerProgram:
    """The integer program whose optimal points are the optimal choices of ``problem``; ``decode`` reads them."""
    draft = _Draft(problem)
    for stage, penalties in enumerate(problem.penalty):
        names = [option(stage, index) for index in range(len(penalties))]
        draft.variables.update(dict.fromkeys(names, Variable()))
        draft.objective.update(zip(names, (-penalties).tolist(), strict=True))
        draft.rows.append(Row(dict.fromkeys(names, 1.0), 1.0, 1.0))
    if problem.measure is AccuracyMeasure.PRODUCT:
        _add_product(draft)
    else:
        _add_sum(draft)
    _add_latency(draft)
    for resource in problem.bounded:
        used = {
            option(stage, index): taken
            for stage, options in enumerate(problem.used)
            for index, taken in enumerate(options[resource].tolist())
        }
        draft.rows.append(Row(used, upper=problem.budgets[resource]))
    return IntegerProgram(draft.variables, draft.objective, tuple(draft.rows))


def formulate_set(problem: VariantSet) -> IntegerProgram:
    """The integer program whose optimal points are the optimal choices of ``problem``; ``decode`` reads them.

    Shares are continuous: which accuracy is taken first needs no telling, as the objective rewards it.
    """
    longest = "loading"
    variables = {longest: Variable(0.0, max(float(values.max()) for values in problem.loading), integer=False)}
    objective = {longest: -_SCALE * problem.gamma}
    rows: list[Row] = []
    shared: dict[str, float] = {}
    used: dict[str, float] = {}
    pods: dict[str, float] = {}
    for m, accuracy in enumerate(problem.accuracy.tolist()):
        share = f"share[{m}]"
        names = [option(m, index) for index in range(len(problem.penalty[m]))]
        variables |= {share: Variable(0.0, 1.0, integer=False), **dict.fromkeys(names, Variable())}
        objective[share] = _SCALE * problem.alpha * accuracy
        objective |= dict(zip(names, (-_SCALE * problem.penalty[m]).tolist(), strict=True))
        used |= dict(zip(names, problem.cores[m].tolist(), strict=True))
        pods |= dict.fromkeys(names[1:], 1.0)
        shared[share] = 1.0
        rows += [
            Row(dict.fromkeys(names, 1.0), 1.0, 1.0),
            Row({share: 1.0, **dict(zip(names, (-problem.portion[m]).tolist(), strict=True))}, upper=0.0),
            Row({longest: 1.0, **dict(zip(names, (-problem.loading[m]).tolist(), strict=True))}, lower=0.0),
        ]
    rows += [Row(shared, 1.0, 1.0), Row(used, upper=problem.budget)]
    if problem.pods is not None:
        rows.append(Row(pods, upper=problem.pods))
    return IntegerProgram(variables, objective, tuple(rows))


def formulate_deadlines(problem: Deadlines) -> IntegerProgram:
    """The integer program whose optimal point is the choice of ``problem``; ``decode`` reads it.

    An option costs its place in the order of preference, so that no two are equal.
    """
    names = [option(0, index) for index in range(len(problem.latency))]
    rows = [
        Row(dict.fromkeys(names, 1.0), 1.0, 1.0),
        Row(dict(zip(names, problem.capacity.tolist(), strict=True)), lower=problem.load),
    ]
    ends = np.array([problem.ends(index) for index in range(len(names))])
    for request in problem.tightest.tolist():
        taken = dict(zip(names, ends[:, request].tolist(), strict=True))
        rows.append(Row(taken, upper=float(problem.due[request])))
    objective = {name: -float(place) for place, name in enumerate(names)}
    return IntegerProgram(dict.fromkeys(names, Variable()), objective, tuple(rows))


Problem = MultipleChoice | VariantSet | Deadlines


def decode(problem: Problem, values: Mapping[str, float]) -> tuple[int, ...]:
    """The option index of every stage, or variant, in a solution of what ``problem`` was formulated as."""
    options = (problem.latency,) if isinstance(problem, Deadlines) else problem.penalty
    return tuple(
        max(range(len(each)), key=lambda index: values[option(stage, index)]) for stage, each in enumerate(options)
    )


def choice_of(problem: Problem, solution: Solution) -> Choice:
    """What a solution of what ``problem`` was formulated as chooses."""
    if solution.values is None:
        return Choice(solution.status, None)
    choice = decode(problem, solution.values)
    if isinstance(problem, VariantSet):
        choice = _polished(problem, choice)
    return Choice(solution.status, choice, problem.objective(choice), solution.gap)


def _polished(problem: VariantSet, choice: tuple[int, ...]) -> tuple[int, ...]:
    """A choice that none differing in two variants beats. Shares are continuous: by the tolerance of a solver, 1e-9 of
    the load, a set may look as good as the one that a tie-break prefers.
    """
    value = problem.objective(choice) if problem.feasible(choice) else -np.inf
    better = True
    while better:
        better = False
        for picks in problem.near(choice):
            worth = np.where(problem.allowed(picks), problem.worth(picks), -np.inf)
            k = int(worth.argmax())
            if worth[k] > value:
                choice, value, better = tuple(picks[:, k].tolist()), float(worth[k]), True
    return choice


def option(stage: int, index: int) -> str:
    """The name of the binary that is 1 when ``stage``, or the variant of that index, runs its option ``index``."""
    return f"x[{stage},{index}]"


@dataclass(frozen=True)
class _Draft:
    problem: MultipleChoice
    variables: dict[str, Variable] = field(default_factory=dict)
    objective: dict[str, float] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def weighted(self, stage: int, quantity: str) -> list[tuple[str, float]]:
        """(option name, value) pairs of one array of the problem."""
        array = getattr(self.problem, quantity)[stage]
        return [(option(stage, index), value) for index, value in enumerate(array.tolist())]


def _add_sum(draft: _Draft) -> None:
    for stage in range(len(draft.problem.accuracy)):
        for name, accuracy in draft.weighted(stage, "accuracy"):
            draft.objective[name] += draft.problem.alpha * accuracy


def _add_product(draft: _Draft) -> None:
    """``product`` maps names to coefficients whose sum is the product so far: over the options of the first stage,
    then over each stage's w. Narrow ranges of accuracy go first: the bounds on w stay tight for longer.
    """
    ranges = [_range(accuracy) for accuracy in draft.problem.accuracy]
    first, *others = sorted(range(len(ranges)), key=lambda stage: ranges[stage][1] / max(ranges[stage][0], 1e-9))
    product = dict(draft.weighted(first, "accuracy"))
    least, most = ranges[first]
    for stage in others:
        balance = {name: -coefficient for name, coefficient in product.items()}
        product = {}
        for index, (accuracy, options) in enumerate(_by_accuracy(draft, stage).items()):
            prefix = f"w[{stage},{index}]"
            draft.variables[prefix] = Variable(0.0, most, integer=False)
            draft.rows.append(Row({prefix: 1.0, **dict.fromkeys(options, -most)}, upper=0.0))
            draft.rows.append(Row({prefix: 1.0, **dict.fromkeys(options, -least)}, lower=0.0))
            balance[prefix] = 1.0
            product[prefix] = accuracy
        draft.rows.append(Row(balance, 0.0, 0.0))
        least, most = least * ranges[stage][0], most * ranges[stage][1]
    for name, coefficient in product.items():
        draft.objective[name] = draft.objective.get(name, 0.0) + draft.problem.alpha * coefficient


def _range(accuracy: Floats) -> tuple[float, float]:
    return (float(accuracy.min()), float(accuracy.max())) if len(accuracy) else (0.0, 0.0)


def _by_accuracy(draft: _Draft, stage: int) -> dict[float, list[str]]:
    """Options of equal accuracy share one ``w``: batch sizes and cores of a variant cost no further variable."""
    groups: dict[float, list[str]] = {}
    for name, accuracy in draft.weighted(stage, "accuracy"):
        groups.setdefault(accuracy, []).append(name)
    return groups


def _add_latency(draft: _Draft) -> None:
    """One row per path; where paths outnumber what node potentials cost, one potential per stage instead."""
    paths = draft.problem.paths
    edges = {edge for path in paths for edge in pairwise(path)}
    if len(paths) <= len(edges) + len(draft.problem.latency):
        for path in paths:
            used = {name: seconds for stage in path for name, seconds in draft.weighted(stage, "latency")}
            draft.rows.append(Row(used, upper=draft.problem.slo))
        return
    for stage in {stage for path in paths for stage in path}:
        draft.variables[_finish(stage)] = Variable(0.0, draft.problem.slo, integer=False)
    for stage in {path[0] for path in paths}:
        draft.rows.append(_after(draft, stage, {}))
    for parent, child in sorted(edges):
        draft.rows.append(_after(draft, child, {_finish(parent): -1.0}))


def _finish(stage: int) -> str:
    return f"finish[{stage}]"


def _after(draft: _Draft, stage: int, start: Mapping[str, float]) -> Row:
    """The stage finishes no earlier than its start plus its latency."""
    spent = {name: -seconds for name, seconds in draft.weighted(stage, "latency")}
    return Row({_finish(stage): 1.0, **start, **spent}, lower=0.0)
