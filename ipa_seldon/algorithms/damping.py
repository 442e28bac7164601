"""Wrappers that hold switches back. None of them is a flag inside an algorithm.

A held proposal carries the plan that runs, ``held`` and the reason, and in ``why`` the plan that was ``held_back``; a
plan that no longer keeps its promises is always replaced at once. Where another rate than the forecast is decided for,
``why`` has that ``rate``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace

from ipa_seldon.algorithms import Algorithm, remember, terms
from ipa_seldon.plan import Observation, Plan, Proposal, Status, plan_to_json, same_plan


class Wrapper:
    """What is the same of every wrapper round an algorithm."""

    def __init__(self, algorithm: Algorithm) -> None:
        self._algorithm = algorithm

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        """As the wrapped algorithm values it."""
        return self._algorithm.evaluate(plan, rate)

    def terms(self, plan: Plan, running: Plan) -> Mapping[str, float] | None:
        """As the wrapped algorithm weighs it."""
        return terms(self._algorithm, plan, running)

    def remember(self, rate: float, observation: Observation, proposal: Proposal) -> None:
        """The wrapped algorithm takes it in."""
        remember(self._algorithm, rate, observation, proposal)


class CoolDown(Wrapper):
    """Holds switches for ``seconds`` after the last one that it let through and that was made.

    A switch that was refused, or only recommended, starts no cool-down: what it lets through is what it would do now.
    """

    def __init__(self, algorithm: Algorithm, seconds: float) -> None:
        super().__init__(algorithm)
        self._seconds = seconds
        self._last_switch: float | None = None
        self._let_through: Observation | None = None

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The wrapped algorithm's proposal, or the running plan during the cool-down."""
        self._notice(observation)
        proposal = self._algorithm.decide(rate, observation)
        running = _still_good(self._algorithm, proposal, rate, observation)
        if running is not None and self._last_switch is not None:
            left = self._last_switch + self._seconds - observation.time
            if left > 0:
                return _hold(running, proposal, f"cool-down: {left:.0f} s left")
        self._note(observation, proposal)
        return proposal

    def remember(self, rate: float, observation: Observation, proposal: Proposal) -> None:
        """Whether it let a switch through."""
        super().remember(rate, observation, proposal)
        self._notice(observation)
        self._note(observation, proposal)

    def _notice(self, observation: Observation) -> None:
        """Whether the switch that was let through last was made."""
        before, self._let_through = self._let_through, None
        if before is not None and not same_plan(before.plan, observation.plan):
            self._last_switch = before.time

    def _note(self, observation: Observation, proposal: Proposal) -> None:
        if observation.plan and not same_plan(proposal.plan, observation.plan):
            self._let_through = observation


class Stabilised(Wrapper):
    """Decides for a rate that follows the forecast up at once, and down only when the load stays down: when every
    forecast of the last ``seconds`` was below it by more than the fraction ``tolerance``.

    Window and tolerance are those of Kubernetes' autoscaling/v2, on the forecast instead of the replicas, so that
    whatever a lower load would change (variants, batches, cores) waits together.
    """

    def __init__(self, algorithm: Algorithm, seconds: float, tolerance: float) -> None:
        super().__init__(algorithm)
        self._seconds = seconds
        self._tolerance = tolerance
        self._recent: deque[tuple[float, float]] = deque()
        self._rate = 0.0

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The wrapped algorithm's proposal for the stabilised rate."""
        return _decided_for(self._stabilised(rate, observation.time), self._algorithm, rate, observation)

    def remember(self, rate: float, observation: Observation, proposal: Proposal) -> None:
        """The rate."""
        super().remember(self._stabilised(rate, observation.time), observation, proposal)

    def _stabilised(self, rate: float, time: float) -> float:
        self._recent.append((time, rate))
        while self._recent[0][0] < time - self._seconds:
            self._recent.popleft()
        highest = max(rate for _, rate in self._recent)
        if not self._rate * (1 - self._tolerance) <= highest <= self._rate:
            self._rate = highest
        return self._rate


class Agreed(Wrapper):
    """Decides for the highest rate of the last ``decisions`` ones: up with the forecast at once, down only when so many
    in a row agree on a lower load.
    """

    def __init__(self, algorithm: Algorithm, decisions: int) -> None:
        super().__init__(algorithm)
        self._rates: deque[float] = deque(maxlen=decisions)

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The wrapped algorithm's proposal for the highest rate."""
        self._rates.append(rate)
        return _decided_for(max(self._rates), self._algorithm, rate, observation)

    def remember(self, rate: float, observation: Observation, proposal: Proposal) -> None:
        """The rate."""
        self._rates.append(rate)
        super().remember(max(self._rates), observation, proposal)


class MinimumGain(Wrapper):
    """Holds a switch that would raise the objective by less than ``gain``: what a switch costs, in its units."""

    def __init__(self, algorithm: Algorithm, gain: float) -> None:
        super().__init__(algorithm)
        self._gain = gain

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The wrapped algorithm's proposal, or the running plan where a switch gains too little."""
        proposal = self._algorithm.decide(rate, observation)
        running = _still_good(self._algorithm, proposal, rate, observation)
        if running is not None and proposal.objective - running.objective < self._gain:
            gained = proposal.objective - running.objective
            return _hold(running, proposal, f"gain {gained:.4g} is below {self._gain:.4g}")
        return proposal


def _still_good(algorithm: Algorithm, proposal: Proposal, rate: float, observation: Observation) -> Proposal | None:
    """The worth of the running plan where another one is proposed and the running one keeps every promise."""
    if not observation.plan or same_plan(proposal.plan, observation.plan):
        return None
    running = algorithm.evaluate(observation.plan, rate)
    return running if running is not None and running.status is Status.OPTIMAL else None


def _decided_for(follow: float, algorithm: Algorithm, rate: float, observation: Observation) -> Proposal:
    """The proposal for the rate to ``follow``, which is told where it is not that of the forecast."""
    proposal = algorithm.decide(follow, observation)
    return proposal if follow == rate else replace(proposal, why={"rate": follow, **proposal.why})


def _hold(running: Proposal, instead_of: Proposal, reason: str) -> Proposal:
    why = {**instead_of.why, "held_back": plan_to_json(instead_of.plan)}
    return replace(running, held=True, reason=reason, why=why)
