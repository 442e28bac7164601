"""The loop's one step: observe, forecast, decide, apply. It never dies of a fault and never hides one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ipa_seldon.algorithms import Algorithm
from ipa_seldon.errors import IpaSeldonError, RefusedError
from ipa_seldon.forecasters import Forecaster
from ipa_seldon.plan import Decision, Observation, Outcome, Proposal, Status, same_plan
from ipa_seldon.platforms import Platform

Listener = Callable[[Decision], None]
Clock = Callable[[], float]
"""Seconds, of which only differences count."""


def no_clock() -> float:
    """For whom spans do not matter."""
    return 0.0


@dataclass(frozen=True)
class Thought:
    """Steps 2 and 3 of the loop, which are pure: the forecast rate and the proposal made for it, in so many
    ``solver_seconds``.
    """

    rate: float
    proposal: Proposal
    solver_seconds: float


def think(
    forecaster: Forecaster, algorithm: Algorithm, observation: Observation, clock: Clock = no_clock
) -> Thought | None:
    """Forecast and decide from an observation; None where not one arrival was measured.

    The same sequence of observations gives the same thoughts: this is what an audit log replays.
    """
    rate = forecaster.forecast(observation.time, observation.arrivals)
    if not any(math.isfinite(count) for count in observation.arrivals):
        return None
    begin = clock()
    proposal = algorithm.decide(rate, observation)
    return Thought(rate, proposal, clock() - begin)


class Controller:
    """Owns no clock: ``step`` is told the time (seconds since the epoch), ``clock`` (seconds) only measures spans."""

    def __init__(
        self,
        platform: Platform,
        forecaster: Forecaster,
        algorithm: Algorithm,
        listeners: Sequence[Listener] = (),
        clock: Clock = no_clock,
    ) -> None:
        self._platform = platform
        self._forecaster = forecaster
        self._algorithm = algorithm
        self._listeners = tuple(listeners)
        self._clock = clock

    def step(self, now: float) -> Decision:
        """One round; the decision goes to every listener and is returned. Faults below it end as ``failed``."""
        decision = self._decide(now)
        for listener in self._listeners:
            listener(decision)
        return decision

    def _decide(self, now: float) -> Decision:
        try:
            observation = self._platform.observe(now)
        except IpaSeldonError as error:
            return Decision(Observation(now, (), {}), Outcome.FAILED, error=f"observe: {error}")
        begin = self._clock()
        try:
            thought = think(self._forecaster, self._algorithm, observation, self._clock)
        except IpaSeldonError as error:
            return Decision(observation, Outcome.FAILED, error=f"decide: {error}", seconds=self._clock() - begin)
        seconds = self._clock() - begin
        if thought is None:
            return Decision(observation, Outcome.NO_DATA, seconds=seconds)
        return self._apply(observation, thought, seconds)

    def _apply(self, observation: Observation, thought: Thought, seconds: float) -> Decision:
        proposal, rate = thought.proposal, thought.rate
        changed = not same_plan(proposal.plan, observation.plan)
        outcome, error, spent = _outcome(proposal, changed), "", 0.0
        if changed:
            begin = self._clock()
            try:
                self._platform.apply(proposal.plan)
            except IpaSeldonError as fault:
                outcome = Outcome.REFUSED if isinstance(fault, RefusedError) else Outcome.FAILED
                error = f"apply: {fault}"
            spent = self._clock() - begin
        return Decision(observation, outcome, rate, proposal, error, seconds, spent, thought.solver_seconds)


def _outcome(proposal: Proposal, changed: bool) -> Outcome:
    if proposal.status is Status.DEGRADED:
        return Outcome.DEGRADED
    if proposal.held:
        return Outcome.HELD
    return Outcome.APPLIED if changed else Outcome.UNCHANGED
