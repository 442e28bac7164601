"""The baselines of InfAdapter's evaluation: one variant at a time, in one pod.

The cores of a fixed variant follow its usage as Kubernetes has it (vpa) or the load (vpa+); or the variant changes with
the load (model-switching). The latter two are InfAdapter over what is left to choose.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor, nan

from ipa_seldon.algorithms import Algorithm, Settings
from ipa_seldon.algorithms.baselines import with_variants
from ipa_seldon.algorithms.damping import Agreed
from ipa_seldon.algorithms.infadapter import InfAdapter
from ipa_seldon.algorithms.recommender import Minutes, Recommendation, Recommender
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Observation, Plan, Proposal, transition_cores

SETTLED = 12 * 3600.0
"""Seconds after which a pod within the bounds is resized too (in-recommendation-bounds-eviction-lifetime-threshold)."""
CHANGE = 0.1
"""By which fraction of its cores, at least (pod-update-threshold)."""
_NOTHING_RUNS = Observation(time=0.0, arrivals=(), plan={})


def vpa(pipeline: Pipeline, settings: Settings) -> Algorithm:
    """One variant in a pod whose cores a Vertical Pod Autoscaler sets; before there is any usage, the fewest that carry
    the rate that baselines are sized for, or the first one decided for.
    """
    return Autoscaler(_fewest_cores(pipeline, settings), settings.baselines.rate)


def vpa_plus(pipeline: Pipeline, settings: Settings) -> Algorithm:
    """InfAdapter's VPA+: one variant, on the fewest cores whose capacity carries the forecast; up at once, down when
    enough decisions in a row agree.
    """
    return Agreed(_fewest_cores(pipeline, settings), settings.sets.scale_down_after)


def model_switching(pipeline: Pipeline, settings: Settings) -> Algorithm:
    """InfAdapter's Model-Switching+: InfAdapter with one variant at a time."""
    return Agreed(InfAdapter(pipeline, settings, pods=1), settings.sets.scale_down_after)


def _fewest_cores(pipeline: Pipeline, settings: Settings) -> InfAdapter:
    """InfAdapter over the one variant; what runs does not weigh."""
    variants = settings.baselines.variants
    return InfAdapter(with_variants(pipeline, variants), replace(settings, sets=replace(settings.sets, gamma=0.0)))


class Autoscaler:
    """A Vertical Pod Autoscaler over ``single``, InfAdapter over one variant; ``rate`` (requests/s) sizes a first pod.

    The usage of a second is what its arrivals take of the cores that run. Recommendations are whole cores within the
    limits (the integer post-processor, then the policy's minAllowed and maxAllowed). A pod outside of the bounds is
    resized, and one off the target by a tenth that has run for half a day. Left out of upstream's rules: running out of
    memory; at least two replicas, and at most half of them at a time, as there is only one; rate limits; in-place
    updates that do not fit. It decides when it is asked to, upstream once a minute.
    """

    def __init__(self, single: InfAdapter, rate: float | None) -> None:
        self._single = single
        (self._variant,) = single.variants
        self._rate = rate
        self._minutes = Minutes()
        self._recommender = Recommender()
        self._pod: tuple[int, float] | None = None

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The pod on the cores it should have, whatever ``rate`` is; degraded where that does not carry it."""
        running = self._single.running(observation.plan).get(self._variant.name)
        self._observe(observation, running)
        bounds = self._recommender.recommend()
        if running is not None or bounds is not None:
            cores = self._resized(running, bounds, observation.time)
            plan: Plan = {self._single.stage.name: (Allocation(self._variant.name, 1, cores, 1),)}
        else:
            plan = self._single.decide(rate if self._rate is None else self._rate, _NOTHING_RUNS).plan
        proposal = self._single.evaluate(plan, rate)
        if proposal is None:
            raise AssertionError("a pod of its own variant has a worth")
        capped = bounds is not None and bounds.target > self._single.cores_limit
        peak = transition_cores(observation.plan, plan)
        why = {"binding": "budget" if capped else "none", "runner_up": None, "peak": peak}
        return replace(proposal, solver="vpa", why=why)

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        """As InfAdapter values it."""
        return self._single.evaluate(plan, rate)

    def _observe(self, observation: Observation, running: int | None) -> None:
        """Take in the seconds that are new; of those without a pod no usage is known."""
        if running is None:
            self._pod = None
        elif self._pod is None or self._pod[0] != running:
            self._pod = running, observation.time
        per_core = self._variant.core_rate / self._single.stage.rate
        usage = [nan if running is None else min(count / per_core, running) for count in observation.arrivals]
        for minute, mean in self._minutes.take(floor(observation.time), usage):
            self._recommender.add(minute, mean)

    def _resized(self, running: int | None, bounds: Recommendation | None, time: float) -> int:
        """The cores of the pod, at ``time``, that has those that are ``running``, or is to be."""
        if bounds is None:
            return self._allowed(running or 0)
        lower, target, upper = map(self._allowed, (bounds.lower, bounds.target, bounds.upper))
        if running is None or self._pod is None or not lower <= running <= upper:
            return target
        settled = time - self._pod[1] >= SETTLED and abs(target - running) >= CHANGE * running
        return target if settled else running

    def _allowed(self, cores: float) -> int:
        """Whole cores within the limits."""
        return max(self._single.settings.sets.min_cores, ceil(min(cores, self._single.cores_limit)))
