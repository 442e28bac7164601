"""What is done while the load is not known: what runs is held, then, in the words of KEDA's ``fallback``, a floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Literal

from ipa_seldon.algorithms import Algorithm
from ipa_seldon.errors import LoadReason
from ipa_seldon.plan import LoadFault, LoadHealth, Observation, Proposal, Status, same_plan

Behavior = Literal["currentReplicas", "currentReplicasIfHigher", "static"]
"""What the fallback does once it is in force. No behaviour takes capacity away."""


@dataclass(frozen=True)
class FallbackSettings:
    """The fallback is in force from the ``threshold``-th round in a row without a load. A load whose newest second was
    measured more than ``stale_after`` seconds ago is none.
    """

    behavior: Behavior = "currentReplicas"
    threshold: int = 3
    stale_after: float = inf


class Fallback:
    """Judges the load of every round, and proposes the floor of behaviours that have one.

    ``floor`` is the algorithm that plans it, of its own, so that what is decided without a load leaves no trace in the
    one that decides by loads; ``rate`` (requests/s) is what the floor carries.
    """

    def __init__(
        self, settings: FallbackSettings = FallbackSettings(), floor: Algorithm | None = None, rate: float = 0.0
    ) -> None:
        self._settings = settings
        self._algorithm = floor
        self._rate = rate
        self._floor: Proposal | None = None
        self.health = LoadHealth()
        """What the last round that had an observation made of its load."""

    def judge(self, observation: Observation) -> LoadHealth:
        """What is the matter with this round's load; to be called once a round."""
        fault = _fault(observation, self._settings.stale_after)
        if fault is None or not fault.reason.is_missing:
            self._floor = None
            self.health = LoadHealth() if fault is None else LoadHealth(*fault)
        else:
            failures = self.health.failures + 1
            self.health = LoadHealth(*fault, failures, failures >= self._settings.threshold)
        return self.health

    def propose(self, observation: Observation) -> Proposal | None:
        """What is to run in place of what does, while the fallback is in force; None: what runs stays.

        The floor is planned once for all the time without a load.
        """
        if self._algorithm is None:
            return None
        running = self._algorithm.evaluate(observation.plan, self._rate) if observation.plan else None
        kept = self._settings.behavior == "currentReplicasIfHigher"
        if kept and running is not None and running.status is Status.OPTIMAL:
            return None
        floor = self._floor = self._floor or self._algorithm.decide(self._rate, observation)
        if running is not None and (same_plan(floor.plan, observation.plan) or floor.served < running.served):
            return None
        words = f"no load for {self.health.failures} rounds: the plan for {self._rate:g} requests/s"
        return replace(floor, reason="; ".join(filter(None, (words, floor.reason))))


def _fault(observation: Observation, stale_after: float) -> LoadFault | None:
    """What is the matter with a load, by its source or, where that has no complaint, by the load itself."""
    told = observation.fault
    if told is not None and told.reason.is_missing:
        return told
    return _missing(observation.arrivals, stale_after) or told or _gap(observation.arrivals)


def _missing(arrivals: Sequence[float], stale_after: float) -> LoadFault | None:
    age = next((age for age, count in enumerate(reversed(arrivals)) if isfinite(count)), None)
    if age is None:
        return LoadFault(LoadReason.EMPTY, "nobody has measured the load")
    if age > stale_after:
        return LoadFault(LoadReason.STALE, f"the newest second that was measured is {age} s old")
    return None


def _gap(arrivals: Sequence[float]) -> LoadFault | None:
    """Seconds that nobody measured since somebody first did."""
    known = [isfinite(count) for count in arrivals]
    missing = known[known.index(True) :].count(False)
    if not missing:
        return None
    return LoadFault(LoadReason.GAP, f"{missing} of the last {len(known)} seconds were not measured")
