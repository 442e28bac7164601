"""IPA over stages that may run a set of variants: InfAdapter's idea (Salmani et al., arXiv 2304.10892) in a pipeline.

A variant carries a whole number of quanta of its stage's load. Its options for so much of it are IPA's: the fewest
replicas that carry it, and spare ones, with the latency that load gives them. A request may meet any variant of a set,
so that the set is as slow as its slowest; its accuracy is the mean over the requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import inf

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.algorithms import Settings, only_cores
from ipa_seldon.algorithms.candidates import Bounds, Columns, Demand, Offers, Price, columns, compared, fits, worths
from ipa_seldon.algorithms.ipa import Ipa
from ipa_seldon.algorithms.spreads import Parts, least_costs, spreads
from ipa_seldon.dominance import undominated
from ipa_seldon.options import StageOptions
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation
from ipa_seldon.programs import Floats

Limited = tuple[Floats, float]
"""What sets are compared in, of every row, and the most that a set may have of it."""
_SLACK = 1e-9  # a whole number of cores is one, whatever the last bit of a division says


def ipa_sets(pipeline: Pipeline, settings: Settings) -> Ipa:
    """IPA whose stages share their load among variants, in multiples of ``settings.quantum``. ConfigError for variants
    with GPUs: one that comes needs its own before those that go have left theirs.
    """
    for stage in pipeline.stages:
        only_cores(stage, stage.variants)
    return Ipa(pipeline, settings, partial(Sets, quanta=round(1 / settings.quantum)))


class Sets:
    """Every variant takes 0, 1, ... ``quanta`` of the load, all of them together all of it.

    Rows are the stage's options for every number of quanta, and a last one, which is nothing.
    """

    def __init__(self, options: StageOptions, demand: Demand, price: Price, quanta: int) -> None:
        self._options = options
        self._price = price
        self._trades = demand.trades
        self._quanta = quanta
        zero = np.zeros(1)
        nothing = Columns(zero, zero, zero, zero, np.zeros((len(options.used), 1)))
        shares = (taken / quanta for taken in range(1, quanta + 1))
        self._columns = Columns.joined([*(columns(options, demand, share) for share in shares), nothing])
        self._taken = np.append(np.repeat(np.arange(1, quanta + 1), len(options.cores)), 0)
        self._is_allowed = (self._columns.replicas <= options.stage.max_replicas) & (self._taken > 0)
        # The most accurate first, as a set is stated.
        names = np.append(np.tile([variant.name for variant in options.variants], quanta), "")
        variants = sorted(options.stage.variants, key=lambda variant: -variant.accuracy)
        self._rows = [np.flatnonzero(names == variant.name) for variant in variants]

    @property
    def least(self) -> Bounds:
        """The least latency of any row; what the whole load takes of a resource on the row that takes the least per
        quantum.
        """
        rows = np.flatnonzero(self._is_allowed)
        allowed = self._columns.at(rows)
        used = self._quanta * (allowed.used / self._taken[rows]).min(axis=1, initial=inf)
        # Whole cores, as a set's are.
        return Bounds(float(allowed.latency.min(initial=inf)), np.ceil(used - _SLACK))

    def within(self, most: Bounds) -> Offers:
        """Undominated sets."""
        allowed = self._is_allowed & fits(self._columns, most)
        sums = [(used, most.used[0]) for used in compared(self._columns, self._trades, most)]
        if self._most_replicas(allowed) > self._options.stage.max_replicas:
            sums.append((self._columns.replicas, float(self._options.stage.max_replicas)))
        return self._sets(allowed, (self._columns.latency, most.latency), sums)

    def every(self) -> Offers:
        """The sets of the best worth."""
        sums = [(self._columns.used[0], inf)] if self._trades else []
        return self._sets(self._taken > 0, (np.zeros_like(self._columns.latency), inf), sums)

    def _most_replicas(self, allowed: NDArray[np.bool_]) -> float:
        """The replicas of the largest set of ``allowed`` rows."""
        compared = np.stack([np.zeros_like(self._columns.replicas), -self._columns.replicas])
        parts = [self._parts(rows[allowed[rows]], compared) for rows in self._rows]
        return -float(least_costs(parts, self._quanta)[0][1, self._quanta])

    def _sets(self, allowed: NDArray[np.bool_], slowest: Limited, sums: Sequence[Limited]) -> Offers:
        """The sets of ``allowed`` rows that no other one beats in worth, in what is ``slowest`` among their variants,
        and in the ``sums`` over them.
        """
        worth = worths(self._columns, self._price)
        added = [values for values, _ in sums]
        # The accuracy of one variant for so much of the load is what it is: among its rows the penalty tells the worth.
        alone = np.stack([*added, self._columns.penalty, slowest[0]])
        rows = [self._best(variant[allowed[variant]], alone) for variant in self._rows]
        costs = np.stack([slowest[0], *worth, *added])
        limits = np.array([slowest[1], *[inf] * len(worth), *(limit for _, limit in sums)])
        picks = spreads([self._parts(kept, costs) for kept in rows], self._quanta, limits)
        chosen = np.stack([np.append(-1, kept)[pick] for kept, pick in zip(rows, picks, strict=True)])
        each = self._columns.at(chosen)
        totals = Columns(*(values.sum(axis=-2) for values in each))
        return Offers(totals._replace(latency=each.latency.max(axis=0)), lambda k: self._allocations(chosen[:, k]))

    def _best(self, rows: NDArray[np.intp], costs: Floats) -> NDArray[np.intp]:
        """Of the ``rows`` of one variant, for every number of quanta those that no other one beats."""
        taken = self._taken[rows].astype(float)
        return rows[undominated([taken, -taken, *costs[:, rows]])]

    def _parts(self, rows: NDArray[np.intp], costs: Floats) -> Parts:
        """Those rows of one variant, after nothing."""
        parts = np.append(-1, rows)
        return Parts(self._taken[parts], costs[:, parts])

    def _allocations(self, rows: NDArray[np.intp]) -> tuple[Allocation, ...]:
        return tuple(
            self._options.allocation(
                row % len(self._options.cores), self._columns.replicas[row], int(self._taken[row]) / self._quanta
            )
            for row in rows.tolist()
            if row >= 0
        )
