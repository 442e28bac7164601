"""IPA: one variant, one batch size and n replicas per stage of a pipeline (Ghafouri et al., arXiv 2308.12871)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.algorithms import Settings
from ipa_seldon.explanation import explain
from ipa_seldon.options import StageOptions, Weights, prepare, undominated
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Observation, Plan, Proposal, Status, allocated_cores, plan_to_json
from ipa_seldon.programs import AccuracyMeasure, Floats, MultipleChoice

_THRIFTY = Weights(alpha=1e-6, beta=1.0, delta=1e-9)  # the cheapest plan; accuracy decides among equals


@dataclass(frozen=True)
class Demand:
    """What a plan must carry: ``rate`` pipeline requests/s, with queues that fill at ``offered`` requests/s."""

    rate: float
    offered: float
    slo: float
    weights: Weights


@dataclass(frozen=True)
class Candidates:
    """The undominated options of every stage under one demand: ``rows[t]`` are rows of the stage's prepared options,
    ``replicas[t]`` goes with them, ``problem`` is what a solver takes.
    """

    rows: tuple[NDArray[np.intp], ...]
    replicas: tuple[Floats, ...]
    problem: MultipleChoice


class Ipa:
    """Maximises ``alpha * accuracy - beta * cores - delta * batches`` under the SLO on every path and the budget."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self.pipeline = pipeline
        self.settings = settings
        self.options = prepare(pipeline, settings.measure, settings.variable_cores)
        index = {stage.name: t for t, stage in enumerate(pipeline.stages)}
        self.paths = tuple(tuple(index[name] for name in path) for path in pipeline.paths)

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The best plan that carries ``rate`` requests/s within the SLO, else the degraded plan."""
        del observation  # IPA decides from the load alone
        candidates = self._candidates(Demand(rate, rate, self.pipeline.slo, self.settings.weights))
        choice = self._choose(candidates)
        if candidates is None or choice is None:
            return self._degraded(rate)
        explanation = explain(candidates.problem, choice)
        runner_up = explanation.runner_up and plan_to_json(self._plan(candidates, explanation.runner_up))
        why = {"binding": explanation.binding, "runner_up": runner_up}
        return replace(self._price(self._plan(candidates, choice), rate), why=why)

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        """The worth of ``plan`` at ``rate``; None when a stage is missing or runs what is not in the profile."""
        for options in self.options:
            allocations = plan.get(options.stage.name, ())
            if len(allocations) != 1 or options.row(allocations[0]) is None:
                return None
        return self._price(plan, rate)

    def _candidates(self, demand: Demand) -> Candidates | None:
        """The options that carry the demand; None when a stage has none."""
        measure, budget = self.settings.measure, self.pipeline.cores
        is_product = measure in (AccuracyMeasure.PRODUCT, AccuracyMeasure.RANK)
        alpha = demand.weights.alpha / (len(self.options) if measure is AccuracyMeasure.AVERAGE else 1)
        rows, counts, columns = [], [], []
        for options in self.options:
            replicas = options.replicas(demand.rate)
            most = np.inf if budget is None else budget
            keep = np.flatnonzero((replicas <= options.stage.max_replicas) & (replicas * options.cores <= most))
            if not len(keep):
                return None
            cores = (replicas * options.cores)[keep]
            penalty = demand.weights.beta * cores + demand.weights.delta * options.batch[keep]
            latency, accuracy = options.delay(demand.offered)[keep], options.accuracy[keep]
            worth = [-accuracy, penalty] if is_product else [penalty - alpha * accuracy]
            best = undominated([latency, *worth, *([] if budget is None else [cores])])
            rows.append(keep[best])
            counts.append(replicas[keep][best])
            columns.append((accuracy[best], penalty[best], latency[best], cores[best]))
        accuracies, penalties, latencies, core_counts = zip(*columns, strict=True)
        problem = MultipleChoice(
            accuracy=accuracies,
            penalty=penalties,
            latency=latencies,
            cores=core_counts,
            paths=self.paths,
            slo=demand.slo,
            alpha=alpha,
            measure=AccuracyMeasure.PRODUCT if is_product else AccuracyMeasure.SUM,
            budget=budget,
        )
        return Candidates(tuple(rows), tuple(counts), problem)

    def _choose(self, candidates: Candidates | None) -> tuple[int, ...] | None:
        return None if candidates is None else self.settings.solver.choose(candidates.problem).choice

    def _plan(self, candidates: Candidates, choice: Sequence[int]) -> Plan:
        chosen = zip(self.options, candidates.rows, candidates.replicas, choice, strict=True)
        return {
            options.stage.name: (options.allocation(int(rows[k]), replicas[k]),)
            for options, rows, replicas, k in chosen
        }

    def _price(self, plan: Plan, rate: float) -> Proposal:
        """Objective, accuracy, cost and predicted latency of a plan; degraded where it breaks a promise at ``rate``."""
        allocations = [plan[options.stage.name][0] for options in self.options]
        rows = [_row(options, allocation) for options, allocation in zip(self.options, allocations, strict=True)]
        accuracies = [float(options.accuracy[row]) for options, row in zip(self.options, rows, strict=True)]
        delays = [float(options.delay(rate)[row]) for options, row in zip(self.options, rows, strict=True)]
        accuracy = combine(accuracies, self.settings.measure)
        latency = max(sum(delays[t] for t in path) for path in self.paths)
        weights, cost = self.settings.weights, allocated_cores(plan)
        batches = sum(allocation.batch for allocation in allocations)
        served = [
            allocation.replicas * float(options.throughput[row]) / options.stage.rate
            for options, allocation, row in zip(self.options, allocations, rows, strict=True)
        ]
        reason = self._broken_promise(served, cost, rate, latency)
        return Proposal(
            plan=plan,
            status=Status.DEGRADED if reason else Status.OPTIMAL,
            objective=weights.alpha * accuracy - weights.beta * cost - weights.delta * batches,
            accuracy=accuracy,
            cost=cost,
            latency=latency,
            served=min(served),
            solver=self.settings.solver.name,
            reason=reason,
        )

    def _broken_promise(self, served: Sequence[float], cost: int, rate: float, latency: float) -> str:
        """The first promise a plan breaks at ``rate``, in words; ``served`` per stage; empty when it keeps all."""
        for options, load in zip(self.options, served, strict=True):
            if load < rate * (1 - 1e-9):
                return f"stage {options.stage.name} carries {load:.4g} of {rate:.4g} requests/s"
        if latency > self.pipeline.slo + 1e-9:
            return f"latency {latency:.4g} s exceeds the SLO of {self.pipeline.slo:.4g} s"
        if self.pipeline.cores is not None and cost > self.pipeline.cores:
            return f"{cost} cores exceed the budget of {self.pipeline.cores}"
        return ""

    def _degraded(self, rate: float) -> Proposal:
        """The most load served within the SLO, then the cheapest.

        Where no plan meets the SLO at any load, the SLO is relaxed to the least latency there is.
        """
        shortest = [float(options.delay(rate).min()) for options in self.options]
        least = max(sum(shortest[t] for t in path) for path in self.paths)
        reachable = least <= self.pipeline.slo
        for slo in (self.pipeline.slo if reachable else least + 1e-9, np.inf):
            served, plan = self._most_load(rate, slo)
            if plan is None:
                continue
            limit = "replicas" if self.pipeline.cores is None else "cores"
            if reachable and slo < np.inf:
                reason = f"no plan within the limits carries {rate:.4g} requests/s; this one serves {served:.4g}"
            else:
                limit = "slo"
                reason = f"no plan meets the SLO of {self.pipeline.slo:.4g} s; the least latency is {least:.4g} s"
            why = {"binding": limit, "runner_up": None}
            return replace(self._price(plan, rate), status=Status.DEGRADED, reason=reason, why=why)
        raise AssertionError("one replica per stage always fits: the budget is checked when the pipeline is built")

    def _most_load(self, rate: float, slo: float) -> tuple[float, Plan | None]:
        """The most load (requests/s) that any plan serves within ``slo``, and the cheapest plan that does.

        A queue that is offered more than it serves fills at the offered rate, so waits are reckoned at ``rate``; what
        can be served is then monotone, and bisection over the loads that use some candidate to the full is exact.
        """
        loads = self._full_loads(rate)
        low, high = 0, len(loads) - 1
        served, plan = 0.0, None
        while low <= high:
            middle = (low + high) // 2
            candidates = self._candidates(Demand(float(loads[middle]), rate, slo, _THRIFTY))
            choice = self._choose(candidates)
            if candidates is not None and choice is not None:
                served, plan = float(loads[middle]), self._plan(candidates, choice)
                low = middle + 1
            else:
                high = middle - 1
        return served, plan

    def _full_loads(self, rate: float) -> Floats:
        """Every load up to ``rate`` at which some candidate is used to the full, ascending, after 0."""
        loads = [np.zeros(1)]
        for options in self.options:
            most = min(options.stage.max_replicas, self.pipeline.cores or options.stage.max_replicas)
            loads.append(np.outer(options.throughput / options.stage.rate, np.arange(1, most + 1)).ravel())
        everything = np.unique(np.concatenate(loads))
        return everything[everything <= rate]


def _row(options: StageOptions, allocation: Allocation) -> int:
    row = options.row(allocation)
    if row is None:
        raise KeyError(allocation)
    return row


def combine(accuracies: Sequence[float], measure: AccuracyMeasure) -> float:
    """The pipeline's accuracy from its stages' (IPA: PAS is their product)."""
    if measure in (AccuracyMeasure.PRODUCT, AccuracyMeasure.RANK):
        return float(np.prod(accuracies))
    return sum(accuracies) / (len(accuracies) if measure is AccuracyMeasure.AVERAGE else 1)
