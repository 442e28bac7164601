"""What a stage could run under one demand, and what of it a solver needs to see: one variant, as IPA has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.dominance import undominated
from ipa_seldon.options import StageOptions, Weights
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.programs import Floats


@dataclass(frozen=True)
class Demand:
    """What a plan must carry: ``rate`` pipeline requests/s, of ``offered`` that arrive. ``overload``: more arrives than
    any plan can carry within the SLO. A switch starts from what is ``running``. ``trades``: every trade of accuracy for
    cost counts, whatever the weights.
    """

    rate: float
    offered: float
    slo: float
    weights: Weights
    running: Plan
    overload: bool = False
    trades: bool = False


@dataclass(frozen=True)
class Price:
    """What a unit of a stage's accuracy is worth in penalty, whatever the other stages run: ``least`` to ``most``."""

    least: float
    most: float


ANY_PRICE = Price(0.0, inf)


@dataclass(frozen=True)
class Bounds:
    """Seconds, and of each resource how much, shape (r,), that a stage takes at least, or may take at most."""

    latency: float
    used: Floats


class Columns(NamedTuple):
    """Options of a stage, or parts of them, as arrays of shape (k,), ``used`` of shape (r, k): of each resource what
    all replicas take.
    """

    replicas: Floats
    accuracy: Floats
    penalty: Floats
    latency: Floats
    used: Floats

    def at(self, rows: NDArray[np.intp]) -> Columns:
        """Those rows."""
        return Columns(*(values[..., rows] for values in self))

    @staticmethod
    def joined(every: Sequence[Columns]) -> Columns:
        """One below the other."""
        return Columns(*(np.concatenate(values, axis=-1) for values in zip(*every, strict=True)))


@dataclass(frozen=True)
class Offers:
    """Options of a stage: what solvers see of them, and the allocations that the k-th one stands for."""

    columns: Columns
    allocations: Callable[[int], tuple[Allocation, ...]]


class Candidates(Protocol):
    """What a stage could run under one demand; made of the stage's options, the demand and the price of accuracy."""

    @property
    def least(self) -> Bounds:
        """What every option within the stage's limit of replicas takes at least; infinite where there is none."""
        ...

    def within(self, most: Bounds) -> Offers:
        """The options within the stage's limit of replicas that take at most so much and that no other one beats."""
        ...

    def every(self) -> Offers:
        """Among them the best by worth, whatever limits they break: they explain what keeps a better plan out."""
        ...


MakeCandidates = Callable[[StageOptions, Demand, Price], Candidates]


class OneVariant:
    """One variant takes all of the load."""

    def __init__(self, options: StageOptions, demand: Demand, price: Price) -> None:
        self._options = options
        self._price = price
        self._trades = demand.trades
        self._columns = columns(options, demand)
        self._is_allowed = self._columns.replicas <= options.stage.max_replicas

    @property
    def least(self) -> Bounds:
        """The least of all rows."""
        allowed = self._columns.at(np.flatnonzero(self._is_allowed))
        return Bounds(float(allowed.latency.min(initial=inf)), allowed.used.min(axis=1, initial=inf))

    def within(self, most: Bounds) -> Offers:
        """Undominated rows."""
        rows = np.flatnonzero(self._is_allowed & fits(self._columns, most))
        some = self._columns.at(rows)
        best = undominated([*compared(some, self._trades, most), *worths(some, self._price), some.latency])
        return Offers(some.at(best), lambda k: self._allocations(int(rows[best[k]])))

    def every(self) -> Offers:
        """All rows."""
        return Offers(self._columns, self._allocations)

    def _allocations(self, row: int) -> tuple[Allocation, ...]:
        return (self._options.allocation(row, self._columns.replicas[row]),)


def columns(options: StageOptions, demand: Demand, share: float = 1.0) -> Columns:
    """The options of a stage for that share of its load, with what they add to the stage's accuracy."""
    replicas = options.replicas(demand.rate * share)
    used = replicas * options.used
    weights = demand.weights
    penalty = weights.beta * used[0] + weights.delta * options.batch
    if weights.switching:
        running = demand.running.get(options.stage.name, ())
        penalty = penalty + weights.switching * options.starting(replicas, running)
    offered = demand.offered * share
    return Columns(
        replicas=replicas,
        accuracy=share * options.accuracy,
        penalty=penalty,
        latency=options.filling(offered) if demand.overload else options.delay(offered, replicas),
        used=used,
    )


def fits(columns: Columns, most: Bounds) -> NDArray[np.bool_]:
    """Which of them take at most so much."""
    fit: NDArray[np.bool_] = (columns.latency <= most.latency) & (columns.used <= most.used[:, None]).all(axis=0)
    return fit


def compared(columns: Columns, trades: bool, most: Bounds) -> list[Floats]:
    """Of which resources one option must not take more than another to be as good: of those that have a bound, each
    shape (k,), and of the cost where it is traded.
    """
    return [used for r, used in enumerate(columns.used) if isfinite(most.used[r]) or (trades and r == 0)]


def worths(columns: Columns, price: Price) -> list[Floats]:
    """What one option must not exceed to be worth as much as another at every price: what it lacks at either end."""
    least = columns.penalty - price.least * columns.accuracy
    if price.most == price.least:
        return [least]
    return [least, columns.penalty - price.most * columns.accuracy if isfinite(price.most) else -columns.accuracy]


@dataclass(frozen=True)
class StageWorth:
    """What a stage's allocations give: their ``accuracy``, the ``delay`` (seconds) of the slowest, and the load that is
    ``served`` (pipeline requests/s) before one of them is full.
    """

    accuracy: float
    delay: float
    served: float


def stage_worth(options: StageOptions, allocations: Sequence[Allocation], rate: float) -> StageWorth | None:
    """What ``allocations`` give at ``rate`` pipeline requests/s; None where they are not made of the stage's options,
    or do not share all of the load.
    """
    rows = [options.row(allocation) for allocation in allocations]
    shares = [allocation.share for allocation in allocations]
    if None in rows or min(shares, default=0.0) <= 0 or abs(sum(shares) - 1) > 1e-6:
        return None
    made = [(allocation, row) for allocation, row in zip(allocations, rows, strict=True) if row is not None]
    return StageWorth(
        accuracy=sum(allocation.share * float(options.accuracy[row]) for allocation, row in made),
        delay=max(_delay(options, allocation, row, rate) for allocation, row in made),
        served=min(
            allocation.replicas * float(options.throughput[row]) / (options.stage.rate * allocation.share)
            for allocation, row in made
        ),
    )


def starting(options: StageOptions, allocations: Sequence[Allocation], running: Sequence[Allocation]) -> float:
    """Core-seconds of start-up that ``allocations``, made of the stage's options, take beside what is ``running``."""
    rows = [(allocation, options.row(allocation)) for allocation in allocations]
    return sum(
        float(options.starting(np.full(len(options.batch), float(allocation.replicas)), running)[row])
        for allocation, row in rows
        if row is not None
    )


def _delay(options: StageOptions, allocation: Allocation, row: int, rate: float) -> float:
    replicas = np.full(len(options.batch), float(allocation.replicas))
    return float(options.delay(rate * allocation.share, replicas)[row])
