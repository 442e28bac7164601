"""The simulator as a platform: plans run on a discrete-event simulation, in the time that ``observe`` is told."""

from __future__ import annotations

import numpy as np

from ipa_seldon.errors import PlatformError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import BUDGET_SECONDS, Allocation, Observation, Plan
from ipa_seldon.simulation.physics import Physics
from ipa_seldon.simulation.pipeline import Requests, SimulatedPipeline

ROUNDING = 1e-6
"""By how much shares may miss 1."""


class SimulatedPlatform:
    """Serves ``requests`` from second 0 on; ``seed`` decides everything that is random in serving them.

    A plan that is applied takes effect when its replicas are ready, while the loop goes on: what is observed is the
    plan that runs or is on its way. ``history`` is how many seconds of arrivals an observation holds.
    """

    def __init__(self, pipeline: Pipeline, requests: Requests, physics: Physics, seed: int, history: int) -> None:
        self.simulated = SimulatedPipeline(pipeline, requests, physics, seed)
        self._variants = {
            (stage.name, variant.name): variant for stage in pipeline.stages for variant in stage.variants
        }
        self._counts: list[float] = np.bincount(requests.arrivals.astype(int)).astype(float).tolist()
        self._history = history
        self._requests = requests
        self._by_deadline = pipeline.by_deadline

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
        budgets = self._budgets(now) if self._by_deadline else ()
        return Observation(now, arrivals, made.plan, made.remaining(), budgets, made.ready())

    def apply(self, plan: Plan) -> None:
        """Start what ``plan`` needs; PlatformError for a plan that is not of this pipeline."""
        for stage, allocations in plan.items():
            variants = [allocation.variant for allocation in allocations]
            if len(set(variants)) < len(variants):
                raise PlatformError(f"plan: stage {stage!r}: {', '.join(variants)}; accepted: each variant once")
            for allocation in allocations:
                self._check(stage, allocation)
            shared = sum(allocation.share for allocation in allocations)
            if abs(shared - 1) > ROUNDING:
                raise PlatformError(f"plan: stage {stage!r}: shares sum to {shared:g}; accepted: 1")
        self.simulated.apply(plan)

    def _budgets(self, now: float) -> tuple[float, ...]:
        """What requests had left that came in the BUDGET_SECONDS before ``now``."""
        first, last = np.searchsorted(self._requests.arrivals, (now - BUDGET_SECONDS, now))
        return tuple(self._requests.budgets[first:last].tolist())

    def _check(self, stage: str, allocation: Allocation) -> None:
        place = f"plan: stage {stage!r}, variant {allocation.variant!r}"
        variant = self._variants.get((stage, allocation.variant))
        if variant is None:
            raise PlatformError(f"{place}: not of this pipeline")
        profiled = variant.has_latency(allocation.cores, allocation.batch)
        if not profiled and variant.core_rate <= 0:
            known = ", ".join(map(str, variant.cores)) or "none"
            raise PlatformError(f"{place}: {allocation.cores} cores; profiled: {known}")
        if allocation.replicas < 1 or allocation.batch < 1 or allocation.cores < 1:
            raise PlatformError(
                f"{place}: {allocation.replicas} replicas of {allocation.cores} cores, batch {allocation.batch}; "
                "accepted: from 1"
            )
        if not profiled and allocation.batch > 1:
            raise PlatformError(f"{place}: batch {allocation.batch}; accepted: 1 on cores without a profile")
        if not 0 <= allocation.share <= 1 + ROUNDING:
            raise PlatformError(f"{place}: share {allocation.share:g}; accepted: 0 to 1")
