"""Sponge: one model whose requests have a deadline each (Razavi et al., EuroMLSys 2024, arXiv 2404.00704).

A plan is chosen for what is queued now, carry-over included, and for what is still to come. With n pods of batch b on c
cores, served earliest deadline first, a plan keeps every deadline when

1. *queued requests* end in time. Of those that can be saved at all, in the order of their remaining budgets, request i
   (from 0) has i requests before it, and those that arrive later with less time left: budgets of arrivals are at
   least B, so that until its deadline ``lambda * (remaining - B)`` do, a part of one counting as one. It ends
   ``(floor(before / (n b)) + 1) * l(b, c)`` seconds from now. The batch under way is taken to end at once: what
   it delays the next decision sees, and to count it whole would cost cores in every one.
2. *a request that arrives* ends in time: within B it sees the batch under way, whatever is queued with less time left,
   and its own: ``(1 + floor(before / (n b)) + 1) * l <= B``.
3. *a burst* until the next decision, T seconds from now, is served in time: a request that arrives with the last of it
   has those before it that are queued with less time left, and ``lambda T + burst * sqrt(lambda T)`` that have arrived,
   as many more than forecast as ``burst`` standard deviations of a Poisson count, and ends within T + B. What comes
   later the next decision sees.
4. *the load* is carried: ``n * h(b, c) >= lambda``.

What must have ended by a moment grows in steps at the queue's deadlines, and between them no faster than a plan that
carries the load serves, so that other moments need no check. (Batches that leave part-filled may still make an arrival
late, by less than a batch takes; the next decision sees it coming.) B is the least budget with which requests arrived
lately, the SLO where the platform does not know; of budgets so small that no plan could promise them anything it is the
least of the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.algorithms import Settings
from ipa_seldon.algorithms.sponge_options import Options, prepare
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Observation, Plan, Proposal, Status, allocated_cores, plan_to_json
from ipa_seldon.programs import Deadlines, Floats

_NOBODY = Observation(time=0.0, arrivals=(), plan={})
_HURRY = 0.9  # the part of the SLO that the published loop plans with


def sponge(pipeline: Pipeline, settings: Settings) -> Sponge:
    """One pod, scaled in place."""
    return Sponge(pipeline, settings)


def sponge_hv(pipeline: Pipeline, settings: Settings) -> Sponge:
    """Pods are scaled in place; others join where those that run are not enough."""
    return Sponge(pipeline, settings, replicas=pipeline.stages[0].max_replicas)


def sponge_published(pipeline: Pipeline, settings: Settings) -> Published:
    """One pod, by the rule of the authors' loop."""
    return Published(pipeline, settings)


@dataclass(frozen=True)
class Demand:
    """What is to be served: ``load`` (requests/s) to come, ``budgets`` (seconds) with which requests arrived lately and
    ``least``, the B of the plan; ``queue``: what queued requests have left (seconds, ascending), those left out that
    nothing can save, of which there are ``hopeless``.
    """

    load: float
    budgets: Floats
    least: float
    queue: Floats
    hopeless: int


@dataclass(frozen=True)
class Pods:
    """Replicas that run or are on their way, and how many of them are ``ready``."""

    replicas: int
    ready: int


@dataclass(frozen=True)
class Found:
    """The plan chosen of those at ``places`` of the options: the one at ``choice`` of these."""

    places: NDArray[np.intp]
    problem: Deadlines
    choice: int


class Sponge:
    """Minimises ``cores + batch_weight * batch`` under the deadlines, over whole cores and batches, and over replicas
    where there may be several.

    Those that are ready have to serve what is queued and what comes: a new one would be late for either. Where they
    cannot, on all cores, the plan is degraded, and the fewest replicas are added that can once they are ready. What is
    too much shrinks in place when ``shrink_after`` decisions in a row would have it, until when it is held; a replica
    goes when ``scale_down_after`` in a row had no use for it, until when ``why`` says how many were ``needed``.
    ConfigError as by ``prepare``.
    """

    arrivals: tuple[str, ...] = ("slo", "burst")
    """What the last requests of a problem stand for."""

    def __init__(
        self, pipeline: Pipeline, settings: Settings, replicas: int = 1, cores: Sequence[int] | None = None
    ) -> None:
        self.pipeline = pipeline
        self.settings = settings
        made = prepare(pipeline, settings.sponge, replicas, cores)
        self.stage, self.variant, self.fit, self.options = made.stage, made.variant, made.fit, made.options
        self._needed: deque[int] = deque(maxlen=settings.sponge.scale_down_after)
        self._held = 0

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The cheapest plan that keeps every deadline at ``rate`` requests/s, else the degraded plan."""
        demand, pods = self._demand(rate, observation), self._pods(observation)
        found = self._found(demand, pods, least=1)
        if found is None:
            self._held = 0
            return self._degraded(demand, pods)
        needed = int(self.options.replicas[found.places[found.choice]])
        self._needed.append(needed)
        least = min(max(self._needed), pods.replicas)
        kept = (self._found(demand, pods, least) if least > needed else None) or found
        others = kept.places[kept.problem.feasible][1:]
        why = {
            "binding": self._binding(kept.problem, kept.choice - 1) if kept.choice else "none",
            "runner_up": plan_to_json(self._plan(int(others[0]))) if len(others) else None,
            **_queued(demand),
            **({"needed": needed} if kept is not found else {}),
        }
        proposal = replace(self._price(int(kept.places[kept.choice]), demand, pods.ready), why=why)
        running = self._good_still(observation.plan, kept)
        self._held = 0 if running is None else (self._held + 1) % self.settings.sponge.shrink_after
        return self._hold(running, proposal, demand, pods) if running is not None and self._held else proposal

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        """The worth of ``plan`` at ``rate`` with an empty queue and arrivals that have the whole SLO left; None when it
        is none of this algorithm's.
        """
        place = self._place(plan)
        if place is None:
            return None
        return self._price(place, self._demand(rate, _NOBODY), int(self.options.replicas[place]))

    def remember(self, rate: float, observation: Observation, proposal: Proposal) -> None:
        """How many replicas were needed, and for how long a smaller plan has been held back."""
        del rate, observation
        self._held = self._held + 1 if proposal.held else 0
        running = sum(allocation.replicas for allocation in proposal.plan.get(self.stage.name, ()))
        self._needed.append(int(proposal.why.get("needed", running)))

    def terms(self, plan: Plan, running: Plan) -> Mapping[str, float]:
        """Cores, and what decides among as many."""
        del running
        batch = max((allocation.batch for allocation in plan.get(self.stage.name, ())), default=0)
        return {"cost": -float(allocated_cores(plan)), "batches": -self.settings.sponge.batch_weight * batch}

    def _place(self, plan: Plan) -> int | None:
        """Where in the options ``plan`` is; None: nowhere."""
        (allocation,) = plan.get(self.stage.name, ())[:1] or (None,)
        if allocation is None:
            return None
        options = self.options
        alike = (options.replicas == allocation.replicas) & (options.cores == allocation.cores)
        (places,) = np.nonzero(alike & (options.batch == allocation.batch))
        return int(places[0]) if len(places) and plan == self._plan(int(places[0])) else None

    def _good_still(self, plan: Plan, found: Found) -> int | None:
        """Where in the options ``plan`` is, if it keeps every deadline on as many replicas as the cheaper one ``found``
        does.
        """
        place, chosen = self._place(plan), int(found.places[found.choice])
        if place is None or place == chosen or self.options.replicas[place] != self.options.replicas[chosen]:
            return None
        return place if found.problem.feasible[np.searchsorted(found.places, place)] else None

    def _hold(self, running: int, instead_of: Proposal, demand: Demand, pods: Pods) -> Proposal:
        """What is ``running``, and why not what it is kept ``instead_of``."""
        return replace(
            self._price(running, demand, pods.ready),
            held=True,
            reason=f"{self._held} of {self.settings.sponge.shrink_after} decisions in a row agree on less",
            why={**instead_of.why, "held_back": plan_to_json(instead_of.plan)},
        )

    def _demand(self, rate: float, observation: Observation) -> Demand:
        quickest = float(self.options.latency.min())
        queue = np.sort(np.array(observation.remaining_slo, dtype=float))
        hopeless = int(np.searchsorted(queue, quickest))
        budgets = np.array(observation.budgets or (self.pipeline.slo,), dtype=float)
        promised = budgets[budgets >= 2 * quickest]  # the batch under way, and its own
        least = float(promised.min()) if len(promised) else float(budgets.max())
        return Demand(rate * self.stage.rate, budgets, min(least, self.pipeline.slo), queue[hopeless:], hopeless)

    def _pods(self, observation: Observation) -> Pods:
        """What runs of the variant; where nothing does, the first pod, which starts at once as any would."""
        running = sum(a.replicas for a in observation.plan.get(self.stage.name, ()) if a.variant == self.variant.name)
        replicas = min(max(1, running), int(self.options.replicas.max()))
        return Pods(replicas, min(max(1, observation.ready.get(self.stage.name, replicas)), replicas))

    def _problem(self, demand: Demand, options: Options, ready: int) -> Deadlines:
        """The choice among ``options`` where ``ready`` replicas serve; the last requests are those that arrive now and
        at the next decision.
        """
        queue, slots = demand.queue, np.minimum(options.replicas, ready) * options.batch
        overtaking = np.ceil(demand.load * np.maximum(0.0, queue - demand.least) - 1e-9)
        due = demand.least + np.array([0.0, self.settings.sponge.interval])
        meanwhile = demand.load * (due - demand.least)
        burst = np.ceil(meanwhile + self.settings.sponge.burst * np.sqrt(meanwhile) - 1e-9)
        return Deadlines(
            latency=options.latency,
            slots=slots,
            capacity=slots / options.latency,
            load=demand.load,
            ahead=np.append(np.arange(len(queue)) + overtaking, np.searchsorted(queue, due, side="right") + burst),
            lead=np.repeat([0.0, 1.0], [len(queue), len(due)]),
            due=np.append(queue, due),
        )

    def _found(self, demand: Demand, pods: Pods, least: int) -> Found | None:
        """The first plan that keeps every deadline on ``least`` or more replicas, of those there are; None: none."""
        replicas = self.options.replicas
        places = np.flatnonzero((replicas >= least) & (replicas <= pods.replicas))
        problem = self._problem(demand, self.options.at(places), pods.ready)
        choice = self.settings.solver.meet(problem).choice
        return None if choice is None else Found(places, problem, choice[0])

    def _degraded(self, demand: Demand, pods: Pods) -> Proposal:
        """All cores, the fewest replicas that will do once they are ready, and the batch that saves most requests."""
        replicas = self._enough(demand, pods.replicas)
        self._needed.append(replicas)
        places = np.flatnonzero(self.options.full & (self.options.replicas == replicas))
        saved, served = self._saved(demand, self.options.at(places), pods.ready)
        best = int((saved + served).argmax())
        price = self._price(int(places[best]), demand, pods.ready)
        words = [f"no plan within the limits keeps every deadline: {price.reason}"]
        if len(demand.queue):
            words.append(f"{saved[best]:.0f} of {len(demand.queue)} queued requests can be saved")
        if demand.hopeless:
            words.append(f"past saving: {demand.hopeless}")
        if replicas > pods.ready:
            words.append(f"ready: {pods.ready} of {replicas} replicas")
        why = {"binding": self._binding(self._problem_at(int(places[best]), demand, pods.ready), 0), "runner_up": None}
        return replace(price, status=Status.DEGRADED, reason="; ".join(words), why={**why, **_queued(demand)})

    def _enough(self, demand: Demand, running: int) -> int:
        """The fewest replicas, no fewer than are ``running``, that carry the load to come on all cores; where none do,
        the fewest of those that carry most of it.
        """
        places = np.flatnonzero(self.options.full & (self.options.replicas >= running))
        options = self.options.at(places)
        problem = self._problem(replace(demand, queue=np.zeros(0)), options, int(options.replicas.max()))
        enough = problem.feasible
        if not enough.any():
            carried = np.minimum(problem.capacity, demand.load)
            enough = carried >= carried.max() * (1 - 1e-9)
        return int(options.replicas[enough].min())

    def _saved(self, demand: Demand, options: Options, ready: int) -> tuple[Floats, Floats]:
        """How many queued requests, and how many of those that arrive within one SLO, are served in time, shapes (k,).

        Of the queue as many as there are places in batches before each deadline, which is the most that any order and
        any dropping can save. Of arrivals, whose batch cannot begin before the one under way has ended, that part of
        what is served which had the time for both, the former at a random moment.
        """
        slots, latency = np.minimum(options.replicas, ready) * options.batch, options.latency
        count = len(demand.queue)
        places = np.floor(demand.queue / latency[:, None] + 1e-9) * slots[:, None]
        after = count - 1 - np.arange(count)
        queued = np.minimum((places + after).min(axis=1, initial=count), count)
        in_time = np.clip(demand.budgets / latency[:, None] - 1, 0, 1).mean(axis=1)
        return queued, self.pipeline.slo * np.minimum(demand.load, slots / latency) * in_time

    def _plan(self, place: int) -> Plan:
        options = self.options
        replicas, cores, batch = (int(values[place]) for values in (options.replicas, options.cores, options.batch))
        return {self.stage.name: (Allocation(self.variant.name, replicas, cores, batch),)}

    def _problem_at(self, place: int, demand: Demand, ready: int) -> Deadlines:
        return self._problem(demand, self.options.at(np.array([place])), ready)

    def _price(self, place: int, demand: Demand, ready: int) -> Proposal:
        """Objective, cost and latency of an arrival under the plan at that place; degraded where it breaks a promise
        while ``ready`` replicas serve.
        """
        problem, options = self._problem_at(place, demand, ready), self.options
        cost = int(options.replicas[place] * options.cores[place])
        reason = self._broken_promise(problem)
        return Proposal(
            plan=self._plan(place),
            status=Status.DEGRADED if reason else Status.OPTIMAL,
            objective=-(cost + self.settings.sponge.batch_weight * float(options.batch[place])),
            accuracy=self.variant.accuracy,
            cost=cost,
            latency=float(problem.ends(0)[-len(self.arrivals)]),
            served=float(options.replicas[place] * options.batch[place] / options.latency[place]) / self.stage.rate,
            solver=self.settings.solver.name,
            gap=self.settings.solver.gap,
            reason=reason,
        )

    def _binding(self, problem: Deadlines, option: int) -> str:
        """What an option violates first: the deadlines of the ``queue``, those of ``arrivals``, or the ``load``, which
        goes before bursts on top of it.
        """
        missed = problem.missed(option)
        place = int(missed[0]) - (len(problem.due) - len(self.arrivals)) if len(missed) else len(self.arrivals)
        if place < 0:
            return "queue"
        late = self.arrivals[place] if place < len(self.arrivals) else "load"
        return "load" if late == "burst" and not problem.carrying[option] else late

    def _broken_promise(self, problem: Deadlines) -> str:
        """The promise that the only option of a problem breaks, in words; empty when it keeps all."""
        if problem.feasible[0]:
            return ""
        name, queued = self._binding(problem, 0), len(problem.due) - len(self.arrivals)
        if name == "queue":
            return f"{int((problem.missed(0) < queued).sum())} queued requests end late"
        if name == "load":
            return f"{problem.capacity[0]:.4g} of {problem.load:.4g} requests/s are carried"
        place = queued + self.arrivals.index(name)
        who = "arrivals take" if name == "slo" else "a burst until the next decision takes"
        return f"{who} {problem.ends(0)[place]:.4g} s of {problem.due[place]:.4g} s"


class Published(Sponge):
    """The authors' loop: the first plan that carries the load and has ``ceil(lambda / b) * l(b, c) + cl_max`` within
    ``0.9 * SLO``, where cl_max is the largest network latency of late; whatever is queued.
    """

    arrivals = ("slo",)

    def _problem(self, demand: Demand, options: Options, ready: int) -> Deadlines:
        """The choice among ``options``: a second's arrivals are all there is."""
        slo = self.pipeline.slo
        network = slo - float(demand.budgets.min())
        return replace(
            super()._problem(demand, options, ready),
            ahead=np.array([demand.load - 1e-9]),  # floor(ahead / b) + 1 is then ceil(lambda / b)
            lead=np.zeros(1),
            due=np.array([_HURRY * slo - network]),
        )


def _queued(demand: Demand) -> dict[str, int]:
    return {"queued": len(demand.queue) + demand.hopeless, "hopeless": demand.hopeless}
