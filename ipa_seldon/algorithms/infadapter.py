"""InfAdapter: a set of variants at once, each in one pod, that share the load (Salmani et al., EuroMLSys 2023,
arXiv 2304.10892).

Plans that are worth the same to 1e-6 are equal; of those the one on the fewest cores is taken, then the one with more
of them on the more accurate variants, of equally accurate ones on those that are listed first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ipa_seldon.algorithms import Algorithm, Settings
from ipa_seldon.algorithms.damping import Agreed
from ipa_seldon.errors import ConfigError
from ipa_seldon.explanation import set_binding, set_runner_up
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Allocation, Observation, Plan, Proposal, Status, allocated_cores, plan_to_json
from ipa_seldon.programs import AccuracyMeasure, Floats, MultipleChoice, VariantSet

# What decides among equals, for the whole budget: fewer cores, and, below what one core of hundreds weighs, whose.
_FEWER, _WHOSE = 1e-6, 4e-9
_SLACK = 1e-9  # a load of exactly the capacity is carried, whatever the last bit says


def infadapter(pipeline: Pipeline, settings: Settings) -> Algorithm:
    """InfAdapter with its rule for scaling down: up at once, down when enough decisions in a row agree."""
    return Agreed(InfAdapter(pipeline, settings), settings.sets.scale_down_after)


class InfAdapter:
    """Maximises ``alpha * accuracy - beta * cores / budget - gamma * loading / longest load time``.

    Accuracy is the mean over the requests; loading is the longest load time of the variants that a plan creates or
    resizes against what runs. A variant has no pod, or one on ``min_cores`` to ``budget`` cores, and takes at most its
    capacity. ConfigError for more than one stage, a variant without a capacity, or a budget below one pod.
    """

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self.pipeline = pipeline
        self.settings = settings
        self.stage = _only_stage(pipeline)
        self.variants = sorted(self.stage.variants, key=lambda variant: -variant.accuracy)
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
        """The best plan that carries ``rate`` requests/s on the budget, else the degraded plan of most capacity."""
        running = self._running(observation.plan)
        problem = self._problem(rate * self.stage.rate, running)
        choice = self.settings.solver.share(problem).choice
        if choice is None:
            return self._degraded(rate, problem, running)
        second = set_runner_up(problem, choice)
        why = {
            "binding": set_binding(problem, choice),
            "runner_up": second and plan_to_json(self._plan(problem, second)),
        }
        return replace(self._price(self._plan(problem, choice), rate, running), why=why)

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        """The worth of keeping ``plan``, with its shares, at ``rate``: nothing is created. None when it is no set of
        single pods of this stage's variants.
        """
        allocations = plan.get(self.stage.name, ())
        if not allocations or len(self._running(plan)) < len(allocations):
            return None
        return self._price(plan, rate, self._running(plan))

    def _running(self, plan: Plan) -> Mapping[str, int]:
        """Variant -> the cores of its pod, as far as ``plan`` runs what this algorithm would."""
        known = {variant.name for variant in self.variants}
        return {
            allocation.variant: allocation.cores
            for allocation in plan.get(self.stage.name, ())
            if allocation.variant in known and (allocation.replicas, allocation.batch) == (1, 1)
        }

    def _problem(self, load: float, running: Mapping[str, int]) -> VariantSet:
        """The choice of pods for ``load`` requests/s, beside those that are ``running``."""
        weights = self.settings.sets
        options = [self._options(rank, load, running) for rank in range(len(self.variants))]
        portion, cores, penalty, loading = (tuple(columns) for columns in zip(*options, strict=True))
        accuracy = np.array([variant.accuracy for variant in self.variants])
        return VariantSet(
            accuracy, portion, cores, penalty, loading, weights.alpha, weights.gamma, float(self.cores_limit)
        )

    def _options(self, rank: int, load: float, running: Mapping[str, int]) -> tuple[Floats, Floats, Floats, Floats]:
        """Portion, cores, penalty and loading of a variant's options: no pod, its sizes up to the first that takes as
        much of the load as any, and the size that runs. Where there is no load, what takes any takes all.
        """
        variant, capacity = self.variants[rank], self.capacities[rank]
        portion = np.minimum(capacity, load) / load if load > 0 else np.where(capacity > 0, 1.0, 0.0)
        enough = int(np.argmax(portion))
        runs = self.cores == running.get(variant.name)
        kept = (portion > 0) & ((np.arange(len(portion)) <= enough) | runs)
        cores = self.cores[kept].astype(float)
        beta = self.settings.sets.beta + self._tie_break(rank)
        loading = np.where(runs[kept], 0.0, self._loading(variant))
        columns = (portion[kept], cores, beta * cores / self.settings.sets.budget, loading)
        portion, cores, penalty, loading = (np.concatenate(([0.0], column)) for column in columns)
        return portion, cores, penalty, loading

    def _tie_break(self, rank: int) -> float:
        """What a whole budget on the variant of that rank weighs beside beta."""
        return _FEWER + _WHOSE * rank / len(self.variants)

    def _loading(self, variant: Variant) -> float:
        """The variant's load time as a fraction of the longest."""
        longest = max(variant.load_time for variant in self.variants)
        return variant.load_time / longest if longest else 0.0

    def _plan(self, problem: VariantSet, choice: Sequence[int]) -> Plan:
        shares = problem.shares(choice).tolist()
        pods = (int(cores[k]) for cores, k in zip(problem.cores, choice, strict=True))
        return {
            self.stage.name: tuple(
                Allocation(variant.name, 1, cores, 1, share)
                for variant, cores, share in zip(self.variants, pods, shares, strict=True)
                if cores
            )
        }

    def _price(self, plan: Plan, rate: float, running: Mapping[str, int]) -> Proposal:
        """Objective, accuracy and cost of a plan against what is ``running``; degraded where a pod gets more than it
        takes at ``rate``, or the budget is exceeded. All that is known of the latency is that capacities keep the SLO.
        """
        weights = self.settings.sets
        allocations = plan[self.stage.name]
        accuracy = sum(a.share * self.stage.variant(a.variant).accuracy for a in allocations)
        cost = allocated_cores(plan)
        created = [a.variant for a in allocations if running.get(a.variant) != a.cores]
        loading = max((self._loading(self.stage.variant(name)) for name in created), default=0.0)
        reason = self._broken_promise(allocations, cost, rate)
        return Proposal(
            plan=plan,
            status=Status.DEGRADED if reason else Status.OPTIMAL,
            objective=weights.alpha * accuracy - weights.beta * cost / weights.budget - weights.gamma * loading,
            accuracy=accuracy,
            cost=cost,
            latency=self.pipeline.slo,
            served=sum(map(self._capacity, allocations)) / self.stage.rate,
            solver=self.settings.solver.name,
            reason=reason,
        )

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

    def _degraded(self, rate: float, problem: VariantSet, running: Mapping[str, int]) -> Proposal:
        """The most capacity within the budget, and every pod its part of it."""
        most = MultipleChoice(
            accuracy=problem.portion,
            penalty=tuple(self._tie_break(rank) * cores / problem.budget for rank, cores in enumerate(problem.cores)),
            latency=tuple(np.zeros_like(cores) for cores in problem.cores),
            cores=problem.cores,
            paths=(tuple(range(len(problem.cores))),),
            slo=0.0,
            alpha=1.0,
            measure=AccuracyMeasure.SUM,
            budget=problem.budget,
        )
        choice = self.settings.solver.choose(most).choice
        if choice is None:
            raise AssertionError("no pod at all fits every budget")
        proposal = self._price(self._plan(problem, choice), rate, running)
        reason = (
            f"no plan on {self.cores_limit} cores carries {rate:.4g} requests/s; this one serves {proposal.served:.4g}"
        )
        return replace(proposal, status=Status.DEGRADED, reason=reason, why={"binding": "budget", "runner_up": None})


def _only_stage(pipeline: Pipeline) -> Stage:
    if len(pipeline.stages) != 1:
        names = ", ".join(stage.name for stage in pipeline.stages)
        raise ConfigError(f"spec.algorithm: 'infadapter': accepted: for a pipeline of one stage; stages are: {names}")
    return pipeline.stages[0]


def _capacities(variant: Variant, cores: Iterable[int]) -> Floats:
    """The variant's capacity (requests/s) on each of ``cores``."""
    if variant.capacity is None:
        raise ConfigError(
            f"spec.capacity: missing for variant {variant.name}; accepted: a CSV file, relative to this file"
        )
    return np.array([variant.capacity(int(n)) for n in cores])
