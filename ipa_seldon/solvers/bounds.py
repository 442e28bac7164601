"""Upper bounds for a multiple-choice problem: its limits are priced into the options (Lagrange relaxation).

Every problem is brought to one form: maximise ``alpha * product - cost`` subject to limits on sums of weights. Every
path is a limit, and so is every budget. A sum of accuracies is part of the cost there, beside a product of ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.programs import AccuracyMeasure, Floats, MultipleChoice

Places = NDArray[np.intp]

# Sums of latencies carry rounding errors; every solver here accepts this much beyond a limit.
TOLERANCE = 1e-9
# Secant steps per limit, and rounds over several limits.
STEPS = 12
ROUNDS = 3
# A dearer limit (latencies 1e-9 s apart) gains nothing: rounding in price * slack would exceed a tie-break.
DEAREST = 1e6


@dataclass(frozen=True)
class Choices:
    """Choices for some stages: product of accuracies (n,), sum of costs (n,), sums of weights (n, limits)."""

    product: Floats
    cost: Floats
    weight: Floats

    def extended(self, others: Choices) -> Choices:
        """Every choice with every other; the latter run faster."""
        return Choices(
            np.multiply.outer(self.product, others.product).ravel(),
            np.add.outer(self.cost, others.cost).ravel(),
            (self.weight[:, None, :] + others.weight).reshape(-1, self.weight.shape[1]),
        )

    def at(self, places: Places) -> Choices:
        """The choices at these places."""
        return Choices(self.product[places], self.cost[places], self.weight[places])


def nothing(limits: int) -> Choices:
    """The one choice for no stage."""
    return Choices(np.ones(1), np.zeros(1), np.zeros((1, limits)))


def stages_of(problem: MultipleChoice) -> list[Choices]:
    """The options of every stage, in the common form; ``capacity_of`` has the limits."""
    product = problem.measure is AccuracyMeasure.PRODUCT
    stages = []
    for t, (accuracy, penalty) in enumerate(zip(problem.accuracy, problem.penalty, strict=True)):
        unused = np.zeros_like(penalty)
        weights = [problem.latency[t] if t in path else unused for path in problem.paths]
        weights += [problem.used[t][resource] for resource in problem.bounded]
        weight = np.column_stack(weights)
        if product:
            stages.append(Choices(accuracy, penalty, weight))
        else:
            stages.append(Choices(np.ones_like(accuracy), penalty - problem.alpha * accuracy, weight))
    return stages


def capacity_of(problem: MultipleChoice) -> Floats:
    """What each sum of weights may reach, shape (limits,); of latencies not more than they do, as an infinite limit has
    no price.
    """
    longest = [sum(float(problem.latency[t].max()) for t in path) for path in problem.paths]
    budgets = [problem.budgets[resource] for resource in problem.bounded]
    return np.array([min(problem.slo, seconds) for seconds in longest] + budgets) + TOLERANCE


@dataclass(frozen=True)
class Envelope:
    """The best that a run of stages can add to a choice whose product, times alpha, is x: the upper envelope of the
    lines ``x * line.product - level`` (level: priced cost), each the best between two of the ``breaks``.
    """

    lines: Choices
    level: Floats
    breaks: Floats

    def __call__(self, x: Floats) -> Floats:
        """The envelope at each ``x`` >= 0."""
        line = np.searchsorted(self.breaks, x)
        value: Floats = x * self.lines.product[line] - self.level[line]
        return value


@dataclass(frozen=True)
class Relaxation:
    """A bound for every partial choice: exceeding a limit is allowed at ``price`` (limits,) per unit.
    ``following[t]`` is the envelope of stages t, t+1, ..., the last one that of no stage.
    """

    price: Floats
    following: list[Envelope]

    def bound(self, labels: Choices, stage: int, alpha: float, capacity: Floats) -> Floats:
        """The most that completing each label by stages ``stage``, ... can be worth."""
        slack = capacity - labels.weight
        bound: Floats = self.following[stage](alpha * labels.product) - labels.cost + slack @ self.price
        return bound

    def tangent(self, alpha: float, capacity: Floats) -> tuple[float, Floats]:
        """The bound of the whole problem, and its slopes: the slack (limits,) of the relaxed problem's best choice."""
        whole = self.following[0]
        line = np.searchsorted(whole.breaks, alpha)
        value = alpha * whole.lines.product[line] - whole.level[line]
        return float(value + capacity @ self.price), capacity - whole.lines.weight[line]


def relax(stages: Sequence[Choices], price: Floats) -> Relaxation:
    """The relaxation at these prices."""
    envelope = _upper(nothing(len(price)), price)
    following = [envelope]
    for options in reversed(stages):
        envelope = _upper(options.extended(envelope.lines), price)
        following.append(envelope)
    return Relaxation(price, following[::-1])


def _upper(lines: Choices, price: Floats) -> Envelope:
    """The envelope over x >= 0: only lines with a level below that of every steeper line, and of those the lower
    convex hull of (product, level).
    """
    level = lines.cost + lines.weight @ price
    lowest = level.argmin(keepdims=True)
    if lines.product[lowest] == lines.product.max():
        # always so when accuracies are summed: worth the shortcut
        return Envelope(lines.at(lowest), level[lowest], np.zeros(0))
    order = np.lexsort((level, -lines.product))
    descending = level[order]
    below = np.concatenate(([True], descending[1:] < np.minimum.accumulate(descending)[:-1]))
    order = order[below]
    points = list(zip(lines.product[order].tolist(), level[order].tolist(), strict=True))
    hull: list[int] = []
    for place, point in enumerate(points):
        while len(hull) > 1 and _above(points[hull[-2]], points[hull[-1]], point):
            hull.pop()
        hull.append(place)
    kept = order[hull[::-1]]
    lines, level = lines.at(kept), level[kept]
    return Envelope(lines, level, (level[1:] - level[:-1]) / (lines.product[1:] - lines.product[:-1]))


def _above(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> bool:
    """Whether the middle point does not lie below the chord; both coordinates descend from left to right."""
    return (left[1] - middle[1]) * (left[0] - right[0]) <= (left[1] - right[1]) * (left[0] - middle[0])


def relaxations(stages: Sequence[Choices], alpha: float, capacity: Floats) -> list[Relaxation]:
    """Relaxations at prices that make the bound of the whole problem tight, the tightest first: one limit after the
    other is priced with the rest held. Every limit must be attainable alone. All that were tried are returned: any
    prices >= 0 bound validly, and a label far from the whole problem's average is often cut by others than the best.
    """
    tried = [relax(stages, np.zeros(len(capacity)))]
    for _ in range(ROUNDS if len(capacity) > 1 else 1):
        tightest = tried[0]
        for limit in range(len(capacity)):
            tried += _priced(stages, alpha, capacity, limit, tried[0])
            tried.sort(key=lambda relaxation: relaxation.tangent(alpha, capacity)[0])
        if tried[0] is tightest:
            break
    return tried


def _priced(
    stages: Sequence[Choices], alpha: float, capacity: Floats, limit: int, start: Relaxation
) -> list[Relaxation]:
    """Secant search for one limit's price. The bound is convex in it, its slope is the slack of the relaxed choice:
    the next price is where the tangents of the last falling and the last rising side meet.
    """
    tried: list[Relaxation] = []

    def tangent(price: float) -> tuple[float, float]:
        prices = start.price.copy()
        prices[limit] = price
        tried.append(relax(stages, prices))
        bound, slack = tried[-1].tangent(alpha, capacity)
        return bound - price * slack[limit], slack[limit]

    falling = tangent(0.0)
    rising = _lightest(stages, alpha, capacity, limit, start.price)
    while falling[1] < 0 and len(tried) < STEPS:
        price = (rising[0] - falling[0]) / (falling[1] - rising[1])
        if price > DEAREST:
            break
        met = rising[0] + price * rising[1]
        height, slope = tangent(price)
        if height + price * slope <= met + TOLERANCE:
            break
        if slope < 0:
            falling = height, slope
        else:
            rising = height, slope
    return tried


def _lightest(
    stages: Sequence[Choices], alpha: float, capacity: Floats, limit: int, price: Floats
) -> tuple[float, float]:
    """The first rising tangent: that of the choice with the least weight in this limit."""
    others = price.copy()
    others[limit] = 0.0
    product, cost, weight = 1.0, 0.0, np.zeros(len(capacity))
    for options in stages:
        pick = np.lexsort((options.cost, options.weight[:, limit]))[0]
        product *= options.product[pick]
        cost += options.cost[pick]
        weight = weight + options.weight[pick]
    slack = capacity - weight
    return float(alpha * product - cost + slack @ others), float(slack[limit])
