"""The simulator as a platform: plans run on a discrete-event simulation, in the time that ``observe`` is told."""

from __future__ import annotations

import numpy as np

from ipa_seldon.errors import PlatformError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Observation, Plan
from ipa_seldon.simulation.pipeline import Requests, SimulatedPipeline
from ipa_seldon.simulation.stage import Physics


class SimulatedPlatform:
    """Serves ``requests`` from second 0 on; ``seed`` decides everything that is random in serving them.

    A plan that is applied takes effect when its replicas are ready, while the loop goes on: what is observed is the
    plan that runs or is on its way. ``history`` is how many seconds of arrivals an observation holds.
    """

    def __init__(self, pipeline: Pipeline, requests: Requests, physics: Physics, seed: int, history: int) -> None:
        self.simulated = SimulatedPipeline(pipeline, requests, physics, seed)
        self._cores = {
            (stage.name, variant.name): variant.cores for stage in pipeline.stages for variant in stage.variants
        }
        self._counts: list[float] = np.bincount(requests.arrivals.astype(int)).astype(float).tolist()
        self._history = history

    def observe(self, now: float) -> Observation:
        """The arrivals of each second before ``now``, and the plan, once everything before ``now`` has happened."""
        self.simulated.advance(now)
        second = int(now)
        counts = self._counts[max(0, second - self._history) : second]
        silent = min(second, self._history) - len(counts)
        arrivals = (*counts, *(0.0 for _ in range(silent)))
        return Observation(now, arrivals, self.simulated.plan, self.simulated.remaining())

    def apply(self, plan: Plan) -> None:
        """Start what ``plan`` needs; PlatformError for a plan that is not of this pipeline."""
        for stage, allocations in plan.items():
            if len(allocations) != 1:
                raise PlatformError(
                    f"plan: stage {stage!r} has {len(allocations)} allocations; the simulator runs exactly one"
                )
            self._check(stage, allocations[0])
        self.simulated.apply(plan)

    def _check(self, stage: str, allocation: Allocation) -> None:
        place = f"plan: stage {stage!r}, variant {allocation.variant!r}"
        cores = self._cores.get((stage, allocation.variant))
        if cores is None:
            raise PlatformError(f"{place}: not of this pipeline")
        if allocation.cores not in cores:
            raise PlatformError(f"{place}: {allocation.cores} cores; profiled: {', '.join(map(str, cores))}")
        if allocation.replicas < 1 or allocation.batch < 1:
            raise PlatformError(f"{place}: {allocation.replicas} replicas, batch {allocation.batch}; accepted: from 1")
