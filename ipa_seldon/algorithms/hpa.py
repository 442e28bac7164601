"""A threshold autoscaler: variants, cores and batches stay fixed, replicas follow a target utilisation.

It behaves as a HorizontalPodAutoscaler (Kubernetes autoscaling/v2) with the default behaviour, one per stage, except
that the load it looks at is the forecast and that it decides when it is asked to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from ipa_seldon.algorithms import Algorithm, Settings
from ipa_seldon.algorithms.baselines import Sized, plan_for, with_variants, worth
from ipa_seldon.algorithms.ipa import Ipa
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Observation, Plan, Proposal

TOLERANCE = 0.1
"""Usage off its target by no more than this fraction changes nothing."""
SCALE_DOWN_WINDOW = 300.0
"""behavior.scaleDown.stabilizationWindowSeconds. (What its policy allows, 100 % per 15 s, is no limit.)"""
SCALE_UP_PERIOD, SCALE_UP_FACTOR, SCALE_UP_PODS = 15.0, 2, 4
"""behavior.scaleUp.policies: 100 % or 4 pods per 15 s, whichever is more. (Its window is 0 s.)"""
_SLACK = 1e-9  # usage of three halves of the target on 2 replicas needs 3, whatever the last bit says


def hpa(pipeline: Pipeline, settings: Settings) -> Algorithm:
    """One autoscaler per stage; cores and batches are IPA's for its variant at the rate baselines are sized for."""
    ipa = Ipa(with_variants(pipeline, settings.baselines.variants), settings)
    utilization = settings.baselines.utilization
    return Sized(lambda rate: Autoscaler(ipa, plan_for(ipa, rate), utilization), settings.baselines.rate)


class StageAutoscaler:
    """Replicas of one stage, from its usage as a multiple of the target."""

    def __init__(self) -> None:
        self._recommendations: deque[tuple[float, int]] = deque()
        self._replicas: deque[tuple[float, int]] = deque()

    def scale(self, time: float, current: int, usage: float) -> int:
        """The replicas wanted at ``time`` (seconds) of ``current`` ones that run at ``usage`` times the target.

        ``ceil(current * usage)``; up at once, as far as the policies allow; down to the highest recommendation of the
        window, at whose start (when the autoscaler first looks) the replicas that run are recommended.
        """
        desired = current if abs(usage - 1) <= TOLERANCE + _SLACK else ceil(current * usage - _SLACK)
        if not self._recommendations:
            self._recommendations.append((time, current))
        self._recommendations.append((time, desired))
        self._replicas.append((time, current))
        _forget(self._recommendations, time - SCALE_DOWN_WINDOW)
        _forget(self._replicas, time - SCALE_UP_PERIOD)
        if desired > current:
            at_start = self._replicas[0][1]
            allowed = max(at_start * SCALE_UP_FACTOR, at_start + SCALE_UP_PODS, current)
            return min(desired, allowed)
        return min(current, max(replicas for _, replicas in self._recommendations))


def _forget(window: deque[tuple[float, int]], cutoff: float) -> None:
    while window[0][0] <= cutoff:
        window.popleft()


class Autoscaler:
    """Scales the stages of ``fixed``, a plan made of ``ipa``'s options, to a target ``utilization``, within the limits.

    A stage that runs something else, or nothing, starts at the replicas that meet the target.
    """

    def __init__(self, ipa: Ipa, fixed: Plan, utilization: float) -> None:
        self._ipa = ipa
        self._allocations = [fixed[stage.name][0] for stage in ipa.pipeline.stages]
        self._capacities = [
            utilization * stage.variants[0].throughput(allocation.cores, allocation.batch) / stage.rate
            for stage, allocation in zip(ipa.pipeline.stages, self._allocations, strict=True)
        ]
        self._stages = [StageAutoscaler() for _ in self._allocations]

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """What the autoscalers want at ``rate`` requests/s, as far as the budget admits it; degraded where that breaks
        a promise.
        """
        running = self._running(observation.plan)
        wanted = self._wanted(rate, observation.time, running)
        allowed = [
            max(stage.min_replicas, min(count, stage.max_replicas))
            for stage, count in zip(self._ipa.pipeline.stages, wanted, strict=True)
        ]
        granted = self._admitted(allowed, running)
        capped = any(one < other for one, other in zip(allowed, wanted, strict=True))
        scarce = self._ipa.exceeded(self._plan(allowed))
        why = {"binding": scarce.name if scarce else "replicas" if capped else "none", "runner_up": None}
        return replace(worth(self._ipa, self._plan(granted), rate), solver="hpa", why=why)

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        """As IPA values it."""
        return self._ipa.evaluate(plan, rate)

    def remember(self, rate: float, observation: Observation, proposal: Proposal) -> None:
        """What the autoscalers wanted."""
        del proposal  # they look at what runs
        self._wanted(rate, observation.time, self._running(observation.plan))

    def _running(self, plan: Plan) -> list[int]:
        """Replicas of every stage, 0 where it runs something else."""
        names = (stage.name for stage in self._ipa.pipeline.stages)
        return [_alike(plan.get(name, ()), fixed) for name, fixed in zip(names, self._allocations, strict=True)]

    def _wanted(self, rate: float, time: float, running: Sequence[int]) -> list[int]:
        """The replicas that every stage's autoscaler wants."""
        return [
            autoscaler.scale(time, current, rate / (current * capacity)) if current else ceil(rate / capacity - _SLACK)
            for autoscaler, current, capacity in zip(self._stages, running, self._capacities, strict=True)
        ]

    def _plan(self, replicas: Sequence[int]) -> Plan:
        names = (stage.name for stage in self._ipa.pipeline.stages)
        return {
            name: (replace(allocation, replicas=count),)
            for name, allocation, count in zip(names, self._allocations, replicas, strict=True)
        }

    def _admitted(self, wanted: Sequence[int], running: Sequence[int]) -> list[int]:
        """As many of the ``wanted`` replicas as the budgets hold: the fewest of every stage, then those that run, then
        new ones, which the stages take in turns.
        """
        granted = [stage.min_replicas for stage in self._ipa.pipeline.stages]
        goals = ([min(pair) for pair in zip(wanted, running, strict=True)], wanted)
        for goal in goals:
            grew = True
            while grew:
                grew = False
                for t, count in enumerate(goal):
                    more = [n + (s == t) for s, n in enumerate(granted)]
                    if granted[t] < count and not self._ipa.exceeded(self._plan(more)):
                        granted, grew = more, True
        return granted


def _alike(allocations: Sequence[Allocation], fixed: Allocation) -> int:
    """How many replicas of the ``fixed`` allocation run; 0 where something else does."""
    alike = [a for a in allocations if replace(a, replicas=fixed.replicas) == fixed]
    return alike[0].replicas if len(alike) == len(allocations) == 1 else 0
