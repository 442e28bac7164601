"""The simulator as a platform: plans run on a discrete-event simulation, in the time that ``observe`` is told."""

from __future__ import annotations

import numpy as np

from ipa_seldon.errors import PlatformError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import BUDGET_SECONDS, Allocation, Observation, Plan, check_plan
from ipa_seldon.simulation.physics import Physics
from ipa_seldon.simulation.pipeline import Requests, SimulatedPipeline


class SimulatedPlatform:
    """Serves ``requests`` from second 0 on; ``seed`` decides everything that is random in serving them.

    A plan that is applied takes effect when its replicas are ready, while the loop goes on: what is observed is the
    plan that runs or is on its way. ``history`` is how many seconds of arrivals an observation holds.
    """

    def __init__(self, pipeline: Pipeline, requests: Requests, physics: Physics, seed: int, history: int) -> None:
        self.simulated = SimulatedPipeline(pipeline, requests, physics, seed)
        self._counts: list[float] = np.bincount(requests.arrivals.astype(int)).astype(float).tolist()
        self._history = history
        self._requests = requests
        self._pipeline = pipeline

    def observe(self, now: float) -> Observation:
        """The arrivals of each second before ``now``, and the plan, once everything before ``now`` has happened; also
        what those have left who wait, and, where requests have deadlines, with what they came.
        """
        self.simulated.advance(now)
        second = int(now)
        counts = self._counts[max(0, second - self._history) : second]
        silent = min(second, self._history) - len(counts)
        arrivals = (*counts, *(0.0 for _ in range(silent)))
        made = self.simulated
        budgets = self._budgets(now) if self._pipeline.by_deadline else ()
        return Observation(now, arrivals, made.plan, made.remaining(), budgets, made.ready())

    def apply(self, plan: Plan) -> None:
        """Start what ``plan`` needs; PlatformError for a plan that is not of this pipeline, or whose times are
        not known.
        """
        check_plan(self._pipeline, plan)
        for stage, allocations in plan.items():
            for allocation in allocations:
                self._check_times(stage, allocation)
        self.simulated.apply(plan)

    def _budgets(self, now: float) -> tuple[float, ...]:
        """What requests had left that came in the BUDGET_SECONDS before ``now``."""
        first, last = np.searchsorted(self._requests.arrivals, (now - BUDGET_SECONDS, now))
        return tuple(self._requests.budgets[first:last].tolist())

    def _check_times(self, stage: str, allocation: Allocation) -> None:
        """PlatformError where it is not known how long the allocation's batches take."""
        variant = self._pipeline.stage(stage).variant(allocation.variant)
        if variant.is_known_on(allocation.cores, allocation.batch):
            return
        place = f"plan: stage {stage!r}: variant {allocation.variant!r}"
        if variant.core_rate > 0:
            raise PlatformError(f"{place}: batch {allocation.batch}; accepted: 1 on cores without a profile")
        profiled = ", ".join(map(str, variant.cores)) or "none"
        raise PlatformError(f"{place}: {allocation.cores} cores; profiled: {profiled}")
