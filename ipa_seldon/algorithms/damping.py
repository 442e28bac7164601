"""Wrappers that hold switches back. None of them is a flag inside an algorithm.

A held proposal carries the plan that runs, ``held`` and the reason; a plan that no longer keeps its promises is always
replaced at once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from ipa_seldon.algorithms import Algorithm
from ipa_seldon.plan import Observation, Plan, Proposal, Status, same_plan


class CoolDown:
    """Holds switches for ``seconds`` after the last one it let through."""

    def __init__(self, algorithm: Algorithm, seconds: float) -> None:
        self._algorithm = algorithm
        self._seconds = seconds
        self._last_switch: float | None = None

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The wrapped algorithm's proposal, or the running plan during the cool-down."""
        proposal = self._algorithm.decide(rate, observation)
        running = _still_good(self._algorithm, proposal, rate, observation)
        if running is not None and self._last_switch is not None:
            left = self._last_switch + self._seconds - observation.time
            if left > 0:
                return _hold(running, proposal, f"cool-down: {left:.0f} s left")
        if observation.plan and not same_plan(proposal.plan, observation.plan):
            self._last_switch = observation.time
        return proposal

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        """As the wrapped algorithm values it."""
        return self._algorithm.evaluate(plan, rate)


class Stabilised:
    """Decides for a rate that follows the forecast up at once, and down only when the load stays down: when every
    forecast of the last ``seconds`` was below it by more than the fraction ``tolerance``.

    Window and tolerance are those of Kubernetes' autoscaling/v2, on the forecast instead of the replicas, so that
    whatever a lower load would change (variants, batches, cores) waits together.
    """

    def __init__(self, algorithm: Algorithm, seconds: float, tolerance: float) -> None:
        self._algorithm = algorithm
        self._seconds = seconds
        self._tolerance = tolerance
        self._recent: deque[tuple[float, float]] = deque()
        self._rate = 0.0

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The wrapped algorithm's proposal for the stabilised rate."""
        self._recent.append((observation.time, rate))
        while self._recent[0][0] < observation.time - self._seconds:
            self._recent.popleft()
        highest = max(rate for _, rate in self._recent)
        if not self._rate * (1 - self._tolerance) <= highest <= self._rate:
            self._rate = highest
        return self._algorithm.decide(self._rate, observation)

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        """As the wrapped algorithm values it."""
        return self._algorithm.evaluate(plan, rate)


class Agreed:
    """Decides for the highest rate of the last ``decisions`` ones: up with the forecast at once, down only when so many
    in a row agree on a lower load.
    """

    def __init__(self, algorithm: Algorithm, decisions: int) -> None:
        self._algorithm = algorithm
        self._rates: deque[float] = deque(maxlen=decisions)

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The wrapped algorithm's proposal for the highest rate."""
        self._rates.append(rate)
        return self._algorithm.decide(max(self._rates), observation)

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        """As the wrapped algorithm values it."""
        return self._algorithm.evaluate(plan, rate)


class MinimumGain:
    """Holds a switch that would raise the objective by less than ``gain``: what a switch costs, in its units."""

    def __init__(self, algorithm: Algorithm, gain: float) -> None:
        self._algorithm = algorithm
        self._gain = gain

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The wrapped algorithm's proposal, or the running plan where a switch gains too little."""
        proposal = self._algorithm.decide(rate, observation)
        running = _still_good(self._algorithm, proposal, rate, observation)
        if running is not None and proposal.objective - running.objective < self._gain:
            gained = proposal.objective - running.objective
            return _hold(running, proposal, f"gain {gained:.4g} is below {self._gain:.4g}")
        return proposal

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        """As the wrapped algorithm values it."""
        return self._algorithm.evaluate(plan, rate)


def _still_good(algorithm: Algorithm, proposal: Proposal, rate: float, observation: Observation) -> Proposal | None:
    """The worth of the running plan where another one is proposed and the running one keeps every promise."""
    if not observation.plan or same_plan(proposal.plan, observation.plan):
        return None
    running = algorithm.evaluate(observation.plan, rate)
    return running if running is not None and running.status is Status.OPTIMAL else None


def _hold(running: Proposal, instead_of: Proposal, reason: str) -> Proposal:
    return replace(running, held=True, reason=reason, why=instead_of.why)
