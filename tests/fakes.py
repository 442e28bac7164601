"""Real implementations that are simple enough to reason about: a platform without servers, a constant forecaster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ipa_seldon.errors import PlatformError
from ipa_seldon.plan import Allocation, LoadFault, Observation, Plan


class MemoryPlatform:
    """Runs plans by remembering them; ``arrivals`` are what it observes; faults can be switched on."""

    def __init__(self, plan: Plan, arrivals: Sequence[float]) -> None:
        self.plan: Mapping[str, tuple[Allocation, ...]] = plan
        self.arrivals = tuple(arrivals)
        self.applied: list[Plan] = []
        self.observe_fails = self.apply_fails = False
        self.fault = "out of reach"
        self.missing: LoadFault | None = None

    def observe(self, now: float) -> Observation:
        if self.observe_fails:
            raise PlatformError(self.fault)
        return Observation(now, () if self.missing else self.arrivals, self.plan, fault=self.missing)

    def apply(self, plan: Plan) -> None:
        if self.apply_fails:
            raise PlatformError("did not follow")
        self.plan = plan
        self.applied.append(plan)


class LastForecaster:
    """Forecasts the last arrival count."""

    why: Mapping[str, Any] = {}

    def forecast(self, time: float, arrivals: Sequence[float]) -> float:
        return arrivals[-1] if arrivals else 0.0
