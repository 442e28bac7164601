"""IPA: one variant, one batch size and n replicas per stage of a pipeline (Ghafouri et al., arXiv 2308.12871)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, prod

import numpy as np

from ipa_seldon.algorithms import Settings
from ipa_seldon.algorithms.candidates import (
    ANY_PRICE,
    Bounds,
    Candidates,
    Columns,
    Demand,
    MakeCandidates,
    Offers,
    OneVariant,
    Price,
    StageWorth,
    stage_worth,
    starting,
)
from ipa_seldon.algorithms.frontier import FrontierPoint, frontier, frontier_points, reaches
from ipa_seldon.algorithms.goals import Goal, Weighted
from ipa_seldon.dominance import undominated
from ipa_seldon.errors import ConfigError
from ipa_seldon.explanation import binding, runner_up
from ipa_seldon.options import Choices, Resource, StageOptions, Weights, prepare, resources_of
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Observation, Plan, Proposal, Status, cost_of, plan_to_json
from ipa_seldon.programs import AccuracyMeasure, Floats, MultipleChoice

_ANY = Weights(alpha=0.0, beta=1.0, delta=0.0)  # whether there is a plan at all
_THRIFTY = Weights(alpha=1e-6, beta=1.0, delta=1e-9)  # the cheapest plan; accuracy decides among equals
_SLACK = 1e-9  # sums of latencies carry rounding errors
_CLOSE = 1e-7  # loads this close, as a fraction, count as equal
_KEYS = {"cost": "objective.cost_at_most", "cores": "limits.cores", "gpus": "limits.gpus"}  # that bound resources


@dataclass(frozen=True)
class Question:
    """What every stage offers under one demand: ``problem`` is what a solver takes, over the ``offers``."""

    demand: Demand
    stages: tuple[Candidates, ...]
    offers: tuple[Offers, ...]
    problem: MultipleChoice


class Ipa:
    """Maximises ``alpha * accuracy - beta * cost - delta * batches``, or meets the constraint that takes its place,
    under the SLO on every path and the budgets. ``candidates`` makes what the stages could run.
    """

    def __init__(self, pipeline: Pipeline, settings: Settings, candidates: MakeCandidates = OneVariant) -> None:
        self.goal: Goal = settings.constraint or Weighted(settings.weights)
        self.pipeline = pipeline
        self.settings = settings
        self._make_candidates = candidates
        self.resources = resources_of(pipeline, self.goal.most_cost)
        self._most = np.array([resource.most for resource in self.resources])
        choices = Choices(settings.measure, settings.variable_cores, settings.queueing, self.resources)
        self.options = prepare(pipeline, choices)
        index = {stage.name: t for t, stage in enumerate(pipeline.stages)}
        self.paths = tuple(tuple(index[name] for name in path) for path in pipeline.paths)
        _check_budgets(self.resources, self.options)

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The best plan that carries ``rate`` requests/s within the SLO, else the degraded plan."""
        goal = self.goal
        weights = self._traded if goal.trades else self.settings.weights
        demand = Demand(rate, rate, self.pipeline.slo, weights, observation.plan, trades=goal.trades)
        question = self._question(demand)
        choice = None if question is None else goal.choose(question.problem, self.settings.solver)
        if question is None or choice is None:
            return self._degraded(rate)
        proposal = self._price(self._plan(question, choice), rate)
        if not reaches(proposal.accuracy, goal.floor):
            reason = f"no plan within the limits is accurate enough at {rate:.4g} requests/s: {proposal.reason}"
            return replace(proposal, reason=reason, why={"binding": "accuracy", "runner_up": None})
        second = runner_up(goal.ordered(question.problem), choice, self._summed(goal.floor))
        why = {
            "binding": self._binding(question, choice),
            "runner_up": second and plan_to_json(self._plan(question, second)),
        }
        return replace(proposal, why=why)

    def frontier(self, rate: float) -> tuple[FrontierPoint, ...]:
        """The plans within the limits that carry ``rate`` requests/s and that no other one beats in both accuracy and
        cost, the cheapest first; none where the load is infeasible.
        """
        question = self._question(Demand(rate, rate, self.pipeline.slo, self._traded, {}, trades=True))
        if question is None:
            return ()
        choices = list(frontier(question.problem, self.settings.solver))
        return frontier_points([self._price(self._plan(question, choice), rate) for choice in reversed(choices)])

    def exceeded(self, plan: Plan) -> Resource | None:
        """The first resource of which a plan takes more than there is; None when it keeps to all budgets."""
        return next((r for r in self.resources if r.taken(plan) > r.most * (1 + _SLACK)), None)

    @property
    def _traded(self) -> Weights:
        """Accuracy as it is, and what decides among plans as accurate and as cheap."""
        return replace(self.settings.weights, alpha=1.0, beta=0.0)

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        """The worth of ``plan`` at ``rate``; None when a stage is missing or runs what is not in the profile."""
        worths = self._worths(plan, rate)
        return None if worths is None else self._priced(plan, worths, rate)

    def terms(self, plan: Plan, running: Plan) -> Mapping[str, float] | None:
        """The goal's, and what it costs to start what is not ``running`` where that has a price."""
        worths = self._worths(plan, 0.0)
        if worths is None:
            return None
        accuracy = combine([worth.accuracy for worth in worths], self.settings.measure)
        terms = self.goal.terms(accuracy, cost_of(self.pipeline, plan), _batches(plan))
        price = self.settings.weights.switching
        if not price:
            return terms
        stages = ((options, options.stage.name) for options in self.options)
        seconds = sum(starting(options, plan[stage], running.get(stage, ())) for options, stage in stages)
        return {**terms, "switching": -price * seconds}

    def _question(self, demand: Demand) -> Question | None:
        """What carries the demand within the limits; None when a stage has nothing."""
        prices = [self._price_of_accuracy(t, demand) for t in range(len(self.options))]
        stages = tuple(
            self._make_candidates(options, demand, price) for options, price in zip(self.options, prices, strict=True)
        )
        least = [stage.least for stage in stages]
        if not all(isfinite(bounds.latency) for bounds in least):
            return None
        rooms = self._rooms(least, demand.slo)
        offers = tuple(candidates.within(most) for candidates, most in zip(stages, rooms, strict=True))
        if not all(len(offer.columns.latency) for offer in offers):
            return None
        return Question(demand, stages, offers, self._problem([offer.columns for offer in offers], demand))

    def _price_of_accuracy(self, stage: int, demand: Demand) -> Price:
        """By what the other stages' accuracies can multiply the worth of the accuracy of the stage of that index."""
        if demand.trades:
            return ANY_PRICE
        alpha = self._alpha(demand)
        if not self._is_product:
            return Price(alpha, alpha)
        others = [options.accuracy for t, options in enumerate(self.options) if t != stage]
        return Price(
            alpha * prod(float(accuracy.min()) for accuracy in others),
            alpha * prod(float(accuracy.max()) for accuracy in others),
        )

    def _rooms(self, least: Sequence[Bounds], slo: float) -> list[Bounds]:
        """What is left to each stage where every other one takes the ``least`` it can."""
        left = self._most - sum(bounds.used for bounds in least)
        rooms = []
        for t, own in enumerate(least):
            others = [sum(least[s].latency for s in path if s != t) for path in self.paths if t in path]
            rooms.append(Bounds(slo - max(others) + _SLACK, left + own.used + _SLACK))
        return rooms

    def _problem(self, columns: Sequence[Columns], demand: Demand) -> MultipleChoice:
        return MultipleChoice(
            accuracy=tuple(column.accuracy for column in columns),
            penalty=tuple(column.penalty for column in columns),
            latency=tuple(column.latency for column in columns),
            used=tuple(column.used for column in columns),
            paths=self.paths,
            slo=demand.slo,
            alpha=self._alpha(demand),
            measure=AccuracyMeasure.PRODUCT if self._is_product else AccuracyMeasure.SUM,
            budgets=tuple(resource.most for resource in self.resources),
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

    def _binding(self, question: Question, choice: Sequence[int]) -> str:
        """The constraint that keeps a better plan out, among options beyond the limits too."""
        every = [
            Columns.joined([candidates.every().columns, offer.columns.at(np.array([k]))])
            for candidates, offer, k in zip(question.stages, question.offers, choice, strict=True)
        ]
        chosen = [len(column.latency) - 1 for column in every]
        allowed = [
            column.replicas <= options.stage.max_replicas for column, options in zip(every, self.options, strict=True)
        ]
        problem = self.goal.ordered(self._problem(every, question.demand))
        names = [resource.name for resource in self.resources]
        return binding(problem, chosen, allowed, names, self._summed(self.goal.floor))

    def _plan(self, question: Question, choice: Sequence[int]) -> Plan:
        return {
            options.stage.name: offer.allocations(k)
            for options, offer, k in zip(self.options, question.offers, choice, strict=True)
        }

    def _worths(self, plan: Plan, rate: float) -> list[StageWorth] | None:
        """What the stages' allocations give at ``rate``; None where one is not made of this pipeline's options."""
        worths = [stage_worth(options, plan.get(options.stage.name, ()), rate) for options in self.options]
        known = [worth for worth in worths if worth is not None]
        return known if len(known) == len(worths) else None

    def _price(self, plan: Plan, rate: float) -> Proposal:
        worths = self._worths(plan, rate)
        if worths is None:
            raise AssertionError("a plan of its own options has a worth")
        return self._priced(plan, worths, rate)

    def _priced(self, plan: Plan, worths: Sequence[StageWorth], rate: float) -> Proposal:
        """Objective, accuracy, cost and predicted latency of a plan; degraded where it breaks a promise at ``rate``."""
        accuracy = combine([worth.accuracy for worth in worths], self.settings.measure)
        latency = max(sum(worths[t].delay for t in path) for path in self.paths)
        cost = cost_of(self.pipeline, plan)
        served = [worth.served for worth in worths]
        reason = self._broken_promise(served, rate, latency) or self._excess(plan) or self._inaccuracy(accuracy)
        return Proposal(
            plan=plan,
            status=Status.DEGRADED if reason else Status.OPTIMAL,
            objective=self.goal.objective(accuracy, cost, _batches(plan)),
            accuracy=accuracy,
            cost=cost,
            latency=latency,
            served=min(served),
            solver=self.settings.solver.name,
            gap=self.settings.solver.gap,
            reason=reason,
        )

    def _broken_promise(self, served: Sequence[float], rate: float, latency: float) -> str:
        """What is wrong with load or latency of a plan at ``rate``, in words; ``served`` per stage; empty: nothing."""
        for options, load in zip(self.options, served, strict=True):
            if load < rate * (1 - 1e-9):
                return f"stage {options.stage.name} carries {load:.4g} of {rate:.4g} requests/s"
        if latency > self.pipeline.slo + 1e-9:
            return f"latency {latency:.4g} s exceeds the SLO of {self.pipeline.slo:.4g} s"
        return ""

    def _excess(self, plan: Plan) -> str:
        """The budget that a plan exceeds, in words; empty when it keeps to all."""
        beyond = self.exceeded(plan)
        return "" if beyond is None else f"{beyond.words(plan)} exceed the budget of {beyond.most:g}"

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
        for slo in (self.pipeline.slo if reachable else least + _SLACK, inf):
            served, plan = self._most_load(rate, slo)
            if plan is None:
                continue
            limit = self._scarce(plan)
            if not reachable:
                limit = "slo"
                reason = f"no plan meets the SLO of {self.pipeline.slo:.4g} s; the least latency is {least:.4g} s"
            elif slo == inf:
                reason = f"no plan within the limits meets the SLO of {self.pipeline.slo:.4g} s"
            elif served >= rate:
                limit = "slo"
                reason = f"no plan within the limits keeps the waits at {rate:.4g} requests/s within the SLO"
            else:
                reason = f"no plan within the limits carries {rate:.4g} requests/s; this one serves {served:.4g}"
            why = {"binding": limit, "runner_up": None}
            return replace(self._price(plan, rate), status=Status.DEGRADED, reason=reason, why=why)
        raise AssertionError("the fewest replicas of every stage always fit: the budget was checked")

    def _scarce(self, plan: Plan) -> str:
        """The budget that the largest part of is taken of by a plan; the replicas where there is none."""
        parts = {r.name: r.taken(plan) / r.most if r.most else 1.0 for r in self.resources if isfinite(r.most)}
        return max(parts, key=lambda name: parts[name], default="replicas")

    def _most_load(self, rate: float, slo: float) -> tuple[float, Plan | None]:
        """The most load (requests/s) that any plan serves within ``slo``, and the cheapest plan that does.

        A queue that is offered more than it serves fills at the offered rate, so waits are reckoned at ``rate``; what
        can be served is then monotone, and bisection finds it, from what the plans found on the way serve.
        """
        served = beyond = rate
        if self._cheapest(rate, rate, slo, _ANY) is None:
            served = 0.0
            if self._cheapest(served, rate, slo, _ANY) is None:
                return served, None
        while beyond - served > _CLOSE * rate:
            middle = (served + beyond) / 2
            plan = self._cheapest(middle, rate, slo, _ANY)
            if plan is None:
                beyond = middle
            else:
                served = max(middle, self._price(plan, rate).served)
        return served, self._cheapest(served, rate, slo, _THRIFTY)

    def _cheapest(self, load: float, rate: float, slo: float, weights: Weights) -> Plan | None:
        """The best plan that serves ``load`` of ``rate`` requests/s within ``slo``; None where there is none."""
        question = self._question(Demand(load, rate, slo, weights, {}, overload=True))
        if question is None:
            return None
        choice = self.settings.solver.choose(question.problem).choice
        return None if choice is None else self._plan(question, choice)


def _check_budgets(resources: Sequence[Resource], options: Sequence[StageOptions]) -> None:
    """ConfigError where the fewest replicas of every stage do not fit the budgets, whatever variants they are of."""
    totals = np.zeros((len(resources), 1))
    for stage in options:
        sums: Floats = totals[:, :, None] + stage.stage.min_replicas * stage.used[:, None, :]
        totals = sums.reshape(len(resources), -1)
        totals = totals[:, undominated(totals)]
    for r, resource in enumerate(resources):
        least = totals[r].min()
        totals = totals[:, totals[r] <= resource.most * (1 + _SLACK)]
        if not totals.size:
            raise ConfigError(
                f"spec.{_KEYS[resource.name]}: {resource.most:g}: accepted: at least {least:g}, "
                "what the fewest replicas of every stage are allocated"
            )


def _batches(plan: Plan) -> int:
    """The sum of all batch sizes."""
    return sum(allocation.batch for allocations in plan.values() for allocation in allocations)


def combine(accuracies: Sequence[float], measure: AccuracyMeasure) -> float:
    """The pipeline's accuracy from its stages' (IPA: PAS is their product)."""
    if measure in (AccuracyMeasure.PRODUCT, AccuracyMeasure.RANK):
        return float(np.prod(accuracies))
    return sum(accuracies) / (len(accuracies) if measure is AccuracyMeasure.AVERAGE else 1)
