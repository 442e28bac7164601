"""The baselines of InfAdapter's evaluation: one variant at a time, in one pod.

The cores of a fixed variant follow its usage as Kubernetes has it (vpa) or the load (vpa+); or the variant changes with
the load (model-switching). The latter two are InfAdapter over what is left to choose.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor, nan
from typing import Protocol

from ipa_seldon.algorithms import Algorithm, Settings
from ipa_seldon.algorithms.baselines import with_variants
from ipa_seldon.algorithms.damping import Agreed
from ipa_seldon.algorithms.infadapter import InfAdapter
from ipa_seldon.algorithms.recommender import Minutes, Recommendation, Recommender
from ipa_seldon.algorithms.sponge import Sponge
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Observation, Plan, Proposal, transition_cores
from ipa_seldon.profiles import USABLE

SETTLED = 12 * 3600.0
"""Seconds after which a pod within the bounds is resized too (in-recommendation-bounds-eviction-lifetime-threshold)."""
CHANGE = 0.1
"""By which fraction of its cores, at least (pod-update-threshold)."""
_NOTHING_RUNS = Observation(time=0.0, arrivals=(), plan={})


def vpa(pipeline: Pipeline, settings: Settings) -> Algorithm:
    """One variant in a pod whose cores a Vertical Pod Autoscaler sets; before there is any usage, the fewest that carry
    the rate that baselines are sized for, or the first one decided for. By its capacity, or by its profile, with the
    batch that Sponge would take, where only that is known.
    """
    one = with_variants(pipeline, settings.baselines.variants)
    batched = len(one.stages) == 1 and all(v.capacity is None and v.cores for v in one.stages[0].variants)
    pod = BatchedPod(one, settings) if batched else CorePod(_fewest_cores(pipeline, settings))
    return Autoscaler(pod, settings.baselines.rate)


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


class Pod(Protocol):
    """The only pod of a stage, on ``least`` to ``most`` cores."""

    stage: str
    least: int
    most: int

    def running(self, plan: Plan) -> Allocation | None:
        """The pod, as far as ``plan`` runs one."""
        ...

    def first(self, rate: float) -> Allocation:
        """The pod for ``rate`` requests/s of the pipeline, on the fewest cores."""
        ...

    def on(self, cores: int, rate: float) -> Allocation:
        """The pod on so many cores, at that rate."""
        ...

    def usage(self, pod: Allocation, rate: float) -> float:
        """The cores that ``pod`` uses at that rate, all of them where it does not carry it."""
        ...

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        """What a plan of such a pod is worth."""
        ...


class CorePod:
    """A pod of which only the capacity is known, by InfAdapter over its one variant."""

    def __init__(self, single: InfAdapter) -> None:
        self._single = single
        (self._variant,) = single.variants
        self.stage = single.stage.name
        self.least, self.most = single.settings.sets.min_cores, single.cores_limit
        self.evaluate = single.evaluate

    def running(self, plan: Plan) -> Allocation | None:
        """The pod, as far as ``plan`` runs one."""
        cores = self._single.running(plan).get(self._variant.name)
        return None if cores is None else self.on(cores)

    def first(self, rate: float) -> Allocation:
        """The smallest that carries the rate, or the largest."""
        return self._single.decide(rate, _NOTHING_RUNS).plan[self.stage][0]

    def on(self, cores: int, rate: float = 0.0) -> Allocation:
        """One request at a time on each core, at any rate."""
        return Allocation(self._variant.name, 1, cores, 1)

    def usage(self, pod: Allocation, rate: float) -> float:
        """A request takes a core for its time."""
        return min(rate / (self._variant.core_rate / self._single.stage.rate), pod.cores)


class BatchedPod:
    """A pod that serves batches on all of its cores, by Sponge over the one variant of a pipeline."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self._pipeline = pipeline
        self._settings = replace(settings, sponge=replace(settings.sponge, variant=None))
        sponge = Sponge(pipeline, self._settings)
        self._stage, self._variant = sponge.stage, sponge.variant
        self.stage = sponge.stage.name
        self.least, self.most = 1, int(sponge.options.cores.max())
        self.evaluate = sponge.evaluate

    def running(self, plan: Plan) -> Allocation | None:
        """The pod, as far as ``plan`` runs one."""
        pods = plan.get(self.stage, ())
        return pods[0] if len(pods) == 1 and self.evaluate({self.stage: pods}, 0.0) else None

    def first(self, rate: float) -> Allocation:
        """Sponge's for an empty queue, of requests that have the whole SLO, with the room that capacities keep."""
        return self._sponge(None, rate / USABLE)

    def on(self, cores: int, rate: float) -> Allocation:
        """With Sponge's batch."""
        return self._sponge((cores,), rate)

    def usage(self, pod: Allocation, rate: float) -> float:
        """All cores, for the time of full batches."""
        busy = rate * self._stage.rate / self._variant.throughput(pod.cores, pod.batch)
        return min(busy, 1.0) * pod.cores

    def _sponge(self, cores: tuple[int, ...] | None, rate: float) -> Allocation:
        sponge = Sponge(self._pipeline, self._settings, cores=cores)
        return sponge.decide(rate, _NOTHING_RUNS).plan[self.stage][0]


class Autoscaler:
    """A Vertical Pod Autoscaler over the only pod of a stage, as ``pods`` has it; ``rate`` (requests/s) sizes a first
    one.

    The usage of a second is what its arrivals take of the cores that run. Recommendations are whole cores within the
    limits (the integer post-processor, then the policy's minAllowed and maxAllowed). A pod outside of the bounds is
    resized, and one off the target by a tenth that has run for half a day. Left out of upstream's rules: running out of
    memory; at least two replicas, and at most half of them at a time, as there is only one; rate limits; in-place
    updates that do not fit. It decides when it is asked to, upstream once a minute.
    """

    def __init__(self, pods: Pod, rate: float | None) -> None:
        self._pods = pods
        self._rate = rate
        self._minutes = Minutes()
        self._recommender = Recommender()
        self._since: tuple[int, float] | None = None

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The pod on the cores it should have, whatever ``rate`` is; degraded where that does not carry it."""
        pods, running = self._pods, self._pods.running(observation.plan)
        self._observe(observation, running)
        bounds = self._recommender.recommend()
        if running is not None or bounds is not None:
            cores = self._resized(running.cores if running else None, bounds, observation.time)
            pod = running if running and running.cores == cores else pods.on(cores, rate)
        else:
            pod = pods.first(rate if self._rate is None else self._rate)
        plan: Plan = {pods.stage: (pod,)}
        proposal = pods.evaluate(plan, rate)
        if proposal is None:
            raise AssertionError("a pod of its own variant has a worth")
        capped = bounds is not None and bounds.target > pods.most
        peak = transition_cores(observation.plan, plan)
        why = {"binding": "budget" if capped else "none", "runner_up": None, "peak": peak}
        return replace(proposal, solver="vpa", why=why)

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        """As the algorithm that sizes its pods values it."""
        return self._pods.evaluate(plan, rate)

    def remember(self, rate: float, observation: Observation, proposal: Proposal) -> None:
        """The usage."""
        del rate, proposal  # it looks at what arrived and what runs
        self._observe(observation, self._pods.running(observation.plan))

    def _observe(self, observation: Observation, running: Allocation | None) -> None:
        """Take in the seconds that are new; of those without a pod no usage is known."""
        if running is None:
            self._since = None
        elif self._since is None or self._since[0] != running.cores:
            self._since = running.cores, observation.time
        usage = [nan if running is None else self._pods.usage(running, count) for count in observation.arrivals]
        for minute, mean in self._minutes.take(floor(observation.time), usage):
            self._recommender.add(minute, mean)

    def _resized(self, running: int | None, bounds: Recommendation | None, time: float) -> int:
        """The cores of the pod, at ``time``, that has those that are ``running``, or is to be."""
        if bounds is None:
            return self._allowed(running or 0)
        lower, target, upper = map(self._allowed, (bounds.lower, bounds.target, bounds.upper))
        if running is None or self._since is None or not lower <= running <= upper:
            return target
        settled = time - self._since[1] >= SETTLED and abs(target - running) >= CHANGE * running
        return target if settled else running

    def _allowed(self, cores: float) -> int:
        """Whole cores within the limits."""
        return max(self._pods.least, ceil(min(cores, self._pods.most)))
