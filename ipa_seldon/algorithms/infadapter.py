"""InfAdapter: a set of variants at once, each in one pod, that share the load (Salmani et al., EuroMLSys 2023,
arXiv 2304.10892).

Plans that are worth the same to 1e-6 are equal; of those the one on the fewest cores is taken, then the one with more
of them on the more accurate variants, of equally accurate ones on those that are listed first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ipa_seldon.algorithms import Algorithm, Settings, only_cores, only_stage
from ipa_seldon.algorithms.damping import Agreed
from ipa_seldon.dispatch import apportioned
from ipa_seldon.errors import ConfigError
from ipa_seldon.explanation import set_binding, set_runner_up
from ipa_seldon.pipeline import Pipeline, Variant
from ipa_seldon.plan import (
    Allocation,
    Observation,
    Plan,
    Proposal,
    Status,
    allocated_cores,
    plan_to_json,
    transition_cores,
)
from ipa_seldon.programs import AccuracyMeasure, Floats, MultipleChoice, VariantSet

# What decides among equals, for the whole budget: fewer cores, and, below what one core of hundreds weighs, whose.
_FEWER, _WHOSE = 1e-6, 4e-9
_SLACK = 1e-9  # a load of exactly the capacity is carried, whatever the last bit says


def infadapter(pipeline: Pipeline, settings: Settings) -> Algorithm:
    """InfAdapter with its rule for scaling down: up at once, down when enough decisions in a row agree."""
    return Agreed(InfAdapter(pipeline, settings), settings.sets.scale_down_after)


@dataclass(frozen=True)
class _Options:
    """A choice of pods: the ``problem`` that solvers see, and the cores of every option's pod, (k_m,) per variant. In
    the problem a pod counts with the cores that the transition takes, where ``peak`` limits those.
    """

    problem: VariantSet
    sizes: tuple[Floats, ...]
    peak: bool


class InfAdapter:
    """Maximises ``alpha * accuracy - beta * cores / budget - gamma * loading / longest load time``.

    Accuracy is the mean over the requests; loading is the longest load time of the variants that a plan creates or
    resizes against what runs. A variant has no pod, or one on ``min_cores`` to ``budget`` cores, and takes at most its
    capacity, in whole quanta of the load. At most ``pods`` of them run (None: any). ConfigError for more than one
    stage, a variant without a capacity or with GPUs, or a budget below one pod.
    """

    def __init__(self, pipeline: Pipeline, settings: Settings, pods: int | None = None) -> None:
        self.pipeline = pipeline
        self.settings = settings
        self.stage = only_stage(pipeline)
        only_cores(self.stage, self.stage.variants)
        self.variants = sorted(self.stage.variants, key=lambda variant: -variant.accuracy)
        self.pods = pods
        self.cores_limit = min(settings.sets.budget, pipeline.cores or settings.sets.budget)
        if self.cores_limit < settings.sets.min_cores:
            raise ConfigError(
                f"spec.limits.cores: {self.cores_limit}: accepted: at least {settings.sets.min_cores}, "
                "infadapter.min_cores"
            )
        self.cores = np.arange(settings.sets.min_cores, self.cores_limit + 1)
        self.capacities = [_capacities(variant, self.cores) for variant in self.variants]
        if not any(capacity.any() for capacity in self.capacities):
            raise ConfigError(
                f"spec.capacity: no variant takes any load on {self.cores[0]} to {self.cores[-1]} cores; accepted: "
                "a file by which one does"
            )

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The best plan that carries ``rate`` requests/s within the limits, else the degraded plan of most capacity.
        ``why`` also has the ``peak`` of the transition: the cores of the pods of both sides.
        """
        before = observation.plan
        options = self._options(rate * self.stage.rate, before, self._quanta)
        choice = self.settings.solver.share(options.problem).choice
        if choice is None:
            return self._degraded(rate, before)
        binding = set_binding(options.problem, choice)
        second = set_runner_up(options.problem, choice)
        plan = self._shared(options, choice)
        why = {
            "binding": "peak" if options.peak and binding == "budget" else binding,
            "runner_up": second and plan_to_json(self._shared(options, second)),
            "peak": transition_cores(before, plan),
        }
        return replace(self._price(plan, rate, before), why=why)

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        """The worth of keeping ``plan``, with its shares, at ``rate``: nothing is created. None when it is no set of
        single pods of this stage's variants.
        """
        allocations = plan.get(self.stage.name, ())
        if not allocations or len(self.running(plan)) < len(allocations):
            return None
        return self._price(plan, rate, plan)

    def terms(self, plan: Plan, running: Plan) -> Mapping[str, float] | None:
        """The three of the objective; None when ``plan`` is no set of single pods of this stage's variants."""
        allocations = plan.get(self.stage.name, ())
        return self._terms(plan, running) if allocations and len(self.running(plan)) == len(allocations) else None

    def running(self, plan: Plan) -> Mapping[str, int]:
        """Variant -> the cores of its pod, as far as ``plan`` runs what this algorithm would."""
        known = {variant.name for variant in self.variants}
        return {
            allocation.variant: allocation.cores
            for allocation in plan.get(self.stage.name, ())
            if allocation.variant in known and (allocation.replicas, allocation.batch) == (1, 1)
        }

    @property
    def _quanta(self) -> int:
        """How many quanta a whole load has; 0: it is divided continuously."""
        quantum = self.settings.sets.quantum
        return round(1 / quantum) if quantum else 0

    def _options(self, load: float, before: Plan, quanta: int) -> _Options:
        """The choice of pods for ``load`` requests/s, divided into ``quanta``, after the plan ``before``."""
        weights = self.settings.sets
        running = self.running(before)
        room = self._room(before)
        columns = [self._columns(rank, load, running.get(v.name), quanta) for rank, v in enumerate(self.variants)]
        portion, sizes, penalty, loading = (tuple(arrays) for arrays in zip(*columns, strict=True))
        cores, budget = sizes, float(self.cores_limit)
        if room is not None:
            kept = (running.get(variant.name, 0) for variant in self.variants)
            cores, budget = tuple(np.where(n == r, 0.0, n) for n, r in zip(sizes, kept, strict=True)), float(room)
        accuracy = np.array([variant.accuracy for variant in self.variants])
        problem = VariantSet(
            accuracy, portion, cores, penalty, loading, weights.alpha, weights.gamma, budget, self.pods
        )
        return _Options(problem, sizes, room is not None)

    def _columns(
        self, rank: int, load: float, running: int | None, quanta: int
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Portion, cores, penalty and loading of a variant's options: no pod, the sizes that take more of the load than
        every smaller one, and the size that runs. Where there is no load, what takes any takes all.
        """
        variant, capacity = self.variants[rank], self.capacities[rank]
        portion = np.minimum(capacity, load) / load if load > 0 else np.where(capacity > 0, 1.0, 0.0)
        if quanta:
            portion = np.floor(portion * quanta + _SLACK) / quanta
        runs = self.cores == running
        gains = np.diff(np.maximum.accumulate(portion), prepend=0.0) > 0
        kept = gains | (runs & (portion > 0))
        cores = self.cores[kept].astype(float)
        beta = self.settings.sets.beta + self._tie_break(rank)
        loading = np.where(runs[kept], 0.0, self._loading(variant))
        columns = (portion[kept], cores, beta * cores / self.settings.sets.budget, loading)
        portion, cores, penalty, loading = (np.concatenate(([0.0], column)) for column in columns)
        return portion, cores, penalty, loading

    def _room(self, before: Plan) -> int | None:
        """The cores of pods that may start beside the plan ``before``; None where the peak is no limit: none is wanted,
        or it could not be kept, as more runs than the budget, or what runs leaves no room and takes no load.
        """
        if self.settings.sets.peak == "ignored" or not before:
            return None
        room, running = self.cores_limit - allocated_cores(before), self.running(before)
        possible = any(
            capacity[(self.cores <= room) | (self.cores == running.get(variant.name))].any()
            for variant, capacity in zip(self.variants, self.capacities, strict=True)
        )
        return room if room >= 0 and possible else None

    def _started(self, plan: Plan, before: Plan) -> list[Allocation]:
        running = self.running(before)
        return [a for a in plan[self.stage.name] if running.get(a.variant) != a.cores]

    def _tie_break(self, rank: int) -> float:
        """What a whole budget on the variant of that rank weighs beside beta."""
        return _FEWER + _WHOSE * rank / len(self.variants)

    def _loading(self, variant: Variant) -> float:
        """The variant's load time as a fraction of the longest."""
        longest = max(variant.load_time for variant in self.variants)
        return variant.load_time / longest if longest else 0.0

    def _shared(self, options: _Options, choice: Sequence[int]) -> Plan:
        """The plan in which the more accurate variants get what they take first."""
        return self._plan(options, choice, options.problem.shares(choice))

    def _plan(self, options: _Options, choice: Sequence[int], shares: Floats) -> Plan:
        stated = shares.tolist()
        if self._quanta:
            stated = [parts / self._quanta for parts in apportioned(stated, self._quanta)]
        pods = (int(cores[k]) for cores, k in zip(options.sizes, choice, strict=True))
        return {
            self.stage.name: tuple(
                Allocation(variant.name, 1, cores, 1, share)
                for variant, cores, share in zip(self.variants, pods, stated, strict=True)
                if share
            )
        }

    def _price(self, plan: Plan, rate: float, before: Plan) -> Proposal:
        """Objective, accuracy and cost of a plan after the plan ``before``; degraded where a pod gets more than it
        takes at ``rate``, or the budget is exceeded. All that is known of the latency is that capacities keep the SLO.
        """
        allocations = plan[self.stage.name]
        cost = allocated_cores(plan)
        reason = self._broken_promise(allocations, cost, rate)
        return Proposal(
            plan=plan,
            status=Status.DEGRADED if reason else Status.OPTIMAL,
            objective=sum(self._terms(plan, before).values()),
            accuracy=self._accuracy(plan),
            cost=cost,
            latency=self.pipeline.slo,
            served=sum(map(self._capacity, allocations)) / self.stage.rate,
            solver=self.settings.solver.name,
            gap=self.settings.solver.gap,
            reason=reason,
        )

    def _terms(self, plan: Plan, before: Plan) -> Mapping[str, float]:
        weights = self.settings.sets
        started = (self.stage.variant(a.variant) for a in self._started(plan, before))
        return {
            "accuracy": weights.alpha * self._accuracy(plan),
            "cost": -weights.beta * allocated_cores(plan) / weights.budget,
            "loading": -weights.gamma * max(map(self._loading, started), default=0.0),
        }

    def _accuracy(self, plan: Plan) -> float:
        return sum(a.share * self.stage.variant(a.variant).accuracy for a in plan[self.stage.name])

    def _capacity(self, allocation: Allocation) -> float:
        return float(_capacities(self.stage.variant(allocation.variant), [allocation.cores])[0])

    def _broken_promise(self, allocations: Sequence[Allocation], cost: int, rate: float) -> str:
        """The promise that a plan breaks at ``rate``, in words; empty when it keeps all."""
        if cost > self.cores_limit:
            return f"{cost} cores exceed the budget of {self.cores_limit}"
        for allocation in allocations:
            load, capacity = allocation.share * rate * self.stage.rate, self._capacity(allocation)
            if load > capacity * (1 + _SLACK) + _SLACK:
                return f"variant {allocation.variant} takes {capacity:.4g} of {load:.4g} requests/s"
        return ""

    def _degraded(self, rate: float, before: Plan) -> Proposal:
        """The most capacity within the limits, and every pod its part of it, as far as quanta allow."""
        options = self._options(rate * self.stage.rate, before, quanta=0)
        problem = options.problem
        penalty = tuple(self._tie_break(rank) * n / self.cores_limit for rank, n in enumerate(options.sizes))
        most = MultipleChoice(
            accuracy=problem.portion,
            penalty=penalty,
            latency=tuple(np.minimum(n, 1.0) for n in options.sizes),  # a pod each: the limit of a path counts them
            used=tuple(n[None, :] for n in problem.cores),
            paths=(tuple(range(len(self.variants))),),
            slo=float(self.pods or len(self.variants)),
            alpha=1.0,
            measure=AccuracyMeasure.SUM,
            budgets=(problem.budget,),
        )
        choice = self.settings.solver.choose(most).choice
        if choice is None:
            raise AssertionError("no pod at all fits every budget")
        portions = np.array([portion[k] for portion, k in zip(problem.portion, choice, strict=True)])
        plan = self._plan(options, choice, portions / portions.sum())
        served = min(self._capacity(a) / a.share for a in plan[self.stage.name]) / self.stage.rate
        limit = (
            f"whose change runs at most {self.cores_limit} cores at once"
            if options.peak
            else f"on {self.cores_limit} cores"
        )
        return replace(
            self._price(plan, rate, before),
            status=Status.DEGRADED,
            reason=f"no plan {limit} carries {rate:.4g} requests/s; this one serves {served:.4g}",
            why={
                "binding": "peak" if options.peak else "budget",
                "runner_up": None,
                "peak": transition_cores(before, plan),
            },
        )


def _capacities(variant: Variant, cores: Iterable[int]) -> Floats:
    """The variant's capacity (requests/s) on each of ``cores``."""
    if variant.capacity is None:
        raise ConfigError(
            f"spec.capacity: missing for variant {variant.name}; accepted: a CSV file, relative to this file"
        )
    return np.array([variant.capacity(int(n)) for n in cores])
