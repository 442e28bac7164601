"""IPA: one variant, one batch size and n replicas per stage of a pipeline (Ghafouri et al., arXiv 2308.12871)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.algorithms import Settings
from ipa_seldon.algorithms.frontier import FrontierPoint, frontier, frontier_points, reaches
from ipa_seldon.algorithms.goals import CostAtMost, Goal, Weighted
from ipa_seldon.errors import ConfigError
from ipa_seldon.explanation import binding, runner_up
from ipa_seldon.options import Choices, StageOptions, Weights, prepare, undominated
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Observation, Plan, Proposal, Status, allocated_cores, plan_to_json
from ipa_seldon.programs import AccuracyMeasure, Floats, MultipleChoice

_THRIFTY = Weights(alpha=1e-6, beta=1.0, delta=1e-9)  # the cheapest plan; accuracy decides among equals


@dataclass(frozen=True)
class Demand:
    """What a plan must carry: ``rate`` pipeline requests/s, of ``offered`` that arrive. ``overload``: more arrives than
    any plan can carry within the SLO. A switch starts from what is ``running``. ``trades``: every trade of accuracy for
    cores counts, whatever the weights.
    """

    rate: float
    offered: float
    slo: float
    weights: Weights
    running: Plan
    overload: bool = False
    trades: bool = False


@dataclass(frozen=True)
class Columns:
    """All options of one stage under one demand, as arrays of shape (k,); ``within`` marks those inside the limits."""

    replicas: Floats
    accuracy: Floats
    penalty: Floats
    latency: Floats
    cores: Floats
    within: NDArray[np.bool_]


@dataclass(frozen=True)
class Candidates:
    """The undominated options of every stage under one demand: ``rows[t]`` are rows of the stage's prepared options,
    ``columns`` describes all of them, ``problem`` (over the rows) is what a solver takes.
    """

    demand: Demand
    rows: tuple[NDArray[np.intp], ...]
    columns: tuple[Columns, ...]
    problem: MultipleChoice


class Ipa:
    """Maximises ``alpha * accuracy - beta * cores - delta * batches``, or meets the constraint that takes its place,
    under the SLO on every path and the budget.
    """

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self.goal: Goal = settings.constraint or Weighted(settings.weights)
        self.pipeline = self.goal.limited(pipeline)
        self.settings = settings
        self.options = prepare(pipeline, Choices(settings.measure, settings.variable_cores, settings.queueing))
        index = {stage.name: t for t, stage in enumerate(pipeline.stages)}
        self.paths = tuple(tuple(index[name] for name in path) for path in pipeline.paths)
        least = sum(options.stage.min_replicas * int(options.cores.min()) for options in self.options)
        if self.pipeline.cores is not None and self.pipeline.cores < least:
            key = "limits.cores" if self._budget_name == "cores" else "objective.cost_at_most"
            raise ConfigError(
                f"spec.{key}: {self.pipeline.cores}: accepted: at least {least}, "
                "what the fewest replicas of every stage are allocated"
            )

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The best plan that carries ``rate`` requests/s within the SLO, else the degraded plan."""
        goal = self.goal
        weights = self._traded if goal.trades else self.settings.weights
        demand = Demand(rate, rate, self.pipeline.slo, weights, observation.plan, trades=goal.trades)
        candidates = self._candidates(demand)
        choice = None if candidates is None else goal.choose(candidates.problem, self.settings.solver)
        if candidates is None or choice is None:
            return self._degraded(rate)
        proposal = self._price(self._plan(candidates, choice), rate)
        if not reaches(proposal.accuracy, goal.floor):
            reason = f"no plan within the limits is accurate enough at {rate:.4g} requests/s: {proposal.reason}"
            return replace(proposal, reason=reason, why={"binding": "accuracy", "runner_up": None})
        second = runner_up(goal.ordered(candidates.problem), choice, self._summed(goal.floor))
        why = {
            "binding": self._binding(candidates, choice),
            "runner_up": second and plan_to_json(self._plan(candidates, second)),
        }
        return replace(proposal, why=why)

    def frontier(self, rate: float) -> tuple[FrontierPoint, ...]:
        """The plans within the limits that carry ``rate`` requests/s and that no other one beats in both accuracy and
        cost, the cheapest first; none where the load is infeasible.
        """
        candidates = self._candidates(Demand(rate, rate, self.pipeline.slo, self._traded, {}, trades=True))
        if candidates is None:
            return ()
        choices = list(frontier(candidates.problem, self.settings.solver))
        return frontier_points([self._price(self._plan(candidates, choice), rate) for choice in reversed(choices)])

    @property
    def _traded(self) -> Weights:
        """Accuracy as it is, and what decides among plans as accurate and as cheap."""
        return replace(self.settings.weights, alpha=1.0, beta=0.0)

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        """The worth of ``plan`` at ``rate``; None when a stage is missing or runs what is not in the profile."""
        for options in self.options:
            allocations = plan.get(options.stage.name, ())
            if len(allocations) != 1 or options.row(allocations[0]) is None:
                return None
        return self._price(plan, rate)

    def _candidates(self, demand: Demand) -> Candidates | None:
        """The options that carry the demand within the limits; None when a stage has none."""
        columns = tuple(self._columns(options, demand) for options in self.options)
        if not all(column.within.any() for column in columns):
            return None
        rows = tuple(self._undominated(column, demand) for column in columns)
        return Candidates(demand, rows, columns, self._problem(columns, rows, demand))

    def _columns(self, options: StageOptions, demand: Demand) -> Columns:
        replicas = options.replicas(demand.rate)
        cores = replicas * options.cores
        budget = np.inf if self.pipeline.cores is None else self.pipeline.cores
        weights = demand.weights
        penalty = weights.beta * cores + weights.delta * options.batch
        if weights.switching:
            running = next(iter(demand.running.get(options.stage.name, ())), None)
            penalty = penalty + weights.switching * options.starting(replicas, running)
        return Columns(
            replicas=replicas,
            accuracy=options.accuracy,
            penalty=penalty,
            latency=options.filling(demand.offered) if demand.overload else options.delay(demand.offered, replicas),
            cores=cores,
            within=(replicas <= options.stage.max_replicas) & (cores <= budget),
        )

    def _undominated(self, column: Columns, demand: Demand) -> NDArray[np.intp]:
        """Rows within the limits that no other one beats in latency, in worth and, under a budget, in cores."""
        alpha = self._alpha(demand)
        keep = np.flatnonzero(column.within)
        accuracy, penalty = column.accuracy[keep], column.penalty[keep]
        worth = [-accuracy, penalty] if self._is_product or demand.trades else [penalty - alpha * accuracy]
        cores = [column.cores[keep]] if demand.trades or self.pipeline.cores is not None else []
        return keep[undominated([column.latency[keep], *worth, *cores])]

    def _problem(self, columns: Sequence[Columns], rows: Sequence[NDArray[np.intp]], demand: Demand) -> MultipleChoice:
        pairs = list(zip(columns, rows, strict=True))
        return MultipleChoice(
            accuracy=tuple(column.accuracy[keep] for column, keep in pairs),
            penalty=tuple(column.penalty[keep] for column, keep in pairs),
            latency=tuple(column.latency[keep] for column, keep in pairs),
            cores=tuple(column.cores[keep] for column, keep in pairs),
            paths=self.paths,
            slo=demand.slo,
            alpha=self._alpha(demand),
            measure=AccuracyMeasure.PRODUCT if self._is_product else AccuracyMeasure.SUM,
            budget=self.pipeline.cores,
        )

    @property
    def _is_product(self) -> bool:
        return self.settings.measure in (AccuracyMeasure.PRODUCT, AccuracyMeasure.RANK)

    def _alpha(self, demand: Demand) -> float:
        """What a unit of summed or multiplied accuracy is worth."""
        return demand.weights.alpha / self._summed(1.0)

    def _summed(self, accuracy: float) -> float:
        """A pipeline's accuracy as the sum or product that solvers see."""
        return accuracy * (len(self.options) if self.settings.measure is AccuracyMeasure.AVERAGE else 1)

    @property
    def _budget_name(self) -> str:
        """What the explanation calls the budget: after the constraint, where that is the tighter one."""
        constraint = self.settings.constraint
        return "cost" if isinstance(constraint, CostAtMost) and constraint.cores == self.pipeline.cores else "cores"

    def _binding(self, candidates: Candidates, choice: Sequence[int]) -> str:
        """The constraint that keeps a better plan out, among all options, those beyond the limits included."""
        every = [np.arange(len(column.within)) for column in candidates.columns]
        chosen = [int(rows[k]) for rows, k in zip(candidates.rows, choice, strict=True)]
        allowed = [
            column.replicas <= options.stage.max_replicas
            for column, options in zip(candidates.columns, self.options, strict=True)
        ]
        problem = self.goal.ordered(self._problem(candidates.columns, every, candidates.demand))
        name = binding(problem, chosen, allowed, self._summed(self.goal.floor))
        return self._budget_name if name == "cores" else name

    def _choose(self, candidates: Candidates | None) -> tuple[int, ...] | None:
        return None if candidates is None else self.settings.solver.choose(candidates.problem).choice

    def _plan(self, candidates: Candidates, choice: Sequence[int]) -> Plan:
        plan = {}
        for options, rows, column, k in zip(self.options, candidates.rows, candidates.columns, choice, strict=True):
            row = int(rows[k])
            plan[options.stage.name] = (options.allocation(row, column.replicas[row]),)
        return plan

    def _price(self, plan: Plan, rate: float) -> Proposal:
        """Objective, accuracy, cost and predicted latency of a plan; degraded where it breaks a promise at ``rate``."""
        allocations = [plan[options.stage.name][0] for options in self.options]
        rows = [_row(options, allocation) for options, allocation in zip(self.options, allocations, strict=True)]
        accuracies = [float(options.accuracy[row]) for options, row in zip(self.options, rows, strict=True)]
        delays = [
            float(options.delay(rate, np.full(len(options.batch), float(allocation.replicas)))[row])
            for options, allocation, row in zip(self.options, allocations, rows, strict=True)
        ]
        accuracy = combine(accuracies, self.settings.measure)
        latency = max(sum(delays[t] for t in path) for path in self.paths)
        cost = allocated_cores(plan)
        batches = sum(allocation.batch for allocation in allocations)
        served = [
            allocation.replicas * float(options.throughput[row]) / options.stage.rate
            for options, allocation, row in zip(self.options, allocations, rows, strict=True)
        ]
        reason = self._broken_promise(served, cost, rate, latency) or self._inaccuracy(accuracy)
        return Proposal(
            plan=plan,
            status=Status.DEGRADED if reason else Status.OPTIMAL,
            objective=self.goal.objective(accuracy, cost, batches),
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

    def _inaccuracy(self, accuracy: float) -> str:
        """The accuracy that is missing, in words; empty when none is."""
        floor = self.goal.floor
        return "" if reaches(accuracy, floor) else f"accuracy {accuracy:.4g} is below {floor:.4g}"

    def _degraded(self, rate: float) -> Proposal:
        """The most load served within the SLO, then the cheapest.

        Where no plan meets the SLO at any load, the SLO is relaxed to the least latency there is.
        """
        shortest = [float(options.filling(rate).min()) for options in self.options]
        least = max(sum(shortest[t] for t in path) for path in self.paths)
        reachable = least <= self.pipeline.slo
        for slo in (self.pipeline.slo if reachable else least + 1e-9, np.inf):
            served, plan = self._most_load(rate, slo)
            if plan is None:
                continue
            limit = "replicas" if self.pipeline.cores is None else self._budget_name
            if reachable and slo < np.inf and served >= rate:
                limit = "slo"
                reason = f"no plan within the limits keeps the waits at {rate:.4g} requests/s within the SLO"
            elif reachable and slo < np.inf:
                reason = f"no plan within the limits carries {rate:.4g} requests/s; this one serves {served:.4g}"
            else:
                limit = "slo"
                reason = f"no plan meets the SLO of {self.pipeline.slo:.4g} s; the least latency is {least:.4g} s"
            why = {"binding": limit, "runner_up": None}
            return replace(self._price(plan, rate), status=Status.DEGRADED, reason=reason, why=why)
        raise AssertionError("the fewest replicas of every stage always fit: the budget was checked")

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
            candidates = self._candidates(Demand(float(loads[middle]), rate, slo, _THRIFTY, {}, overload=True))
            choice = self._choose(candidates)
            if candidates is not None and choice is not None:
                served, plan = float(loads[middle]), self._plan(candidates, choice)
                low = middle + 1
            else:
                high = middle - 1
        return served, plan

    def _full_loads(self, rate: float) -> Floats:
        """Every load up to ``rate`` at which some candidate is used to the full, ascending, from 0 to ``rate``."""
        loads = [np.array([0.0, rate])]
        for options in self.options:
            most = min(options.stage.max_replicas, self.pipeline.cores or options.stage.max_replicas)
            loads.append(np.outer(options.throughput / options.stage.rate, np.arange(1, most + 1)).ravel())
        everything: Floats = np.unique(np.concatenate(loads))
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
