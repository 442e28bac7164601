"""The loop's one step: observe, forecast, decide, apply. It never dies of a fault and never hides one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ipa_seldon.algorithms import Algorithm
from ipa_seldon.errors import IpaSeldonError, RecommendedError, RefusedError
from ipa_seldon.fallback import Fallback
from ipa_seldon.forecasters import Forecaster
from ipa_seldon.plan import Decision, LoadHealth, Observation, Outcome, Proposal, Status, same_plan
from ipa_seldon.platforms import Platform

Listener = Callable[[Decision], None]
Clock = Callable[[], float]
"""Seconds, of which only differences count."""


def no_clock() -> float:
    """For whom spans do not matter."""
    return 0.0


@dataclass(frozen=True)
class Thought:
    """Steps 2 and 3 of the loop, which are pure: what was made of the load, the forecast rate, and the proposal made
    for it, in so many ``solver_seconds``. Without a load there is no rate, and a proposal only where the fallback has
    one. ``forecast_why`` as in Decision.
    """

    load: LoadHealth
    rate: float | None = None
    proposal: Proposal | None = None
    solver_seconds: float = 0.0
    forecast_why: Mapping[str, Any] = field(default_factory=dict)


def think(
    forecaster: Forecaster,
    algorithm: Algorithm,
    observation: Observation,
    fallback: Fallback,
    clock: Clock = no_clock,
) -> Thought:
    """Judge the load of an observation, forecast and decide; without a load nothing is decided but by the fallback.

    The same sequence of observations gives the same thoughts: this is what an audit log replays.
    """
    load = fallback.judge(observation)
    # A forecaster that hears nothing of a round without an answer learns of that time when there is one again.
    heard = bool(observation.arrivals) or observation.fault is None
    rate = forecaster.forecast(observation.time, observation.arrivals) if heard else None
    begin = clock()
    proposal: Proposal | None
    if rate is None or (load.reason is not None and load.reason.is_missing):
        rate, proposal = None, fallback.propose(observation) if load.fallback else None
    else:
        proposal = algorithm.decide(rate, observation)
    return Thought(load, rate, proposal, clock() - begin, {} if rate is None else forecaster.why)


class Controller:
    """Owns no clock: ``step`` is told the time (seconds since the epoch), ``clock`` (seconds) only measures spans."""

    def __init__(
        self,
        platform: Platform,
        forecaster: Forecaster,
        algorithm: Algorithm,
        listeners: Sequence[Listener] = (),
        clock: Clock = no_clock,
        fallback: Fallback | None = None,
    ) -> None:
        self._platform = platform
        self._forecaster = forecaster
        self._algorithm = algorithm
        self._listeners = tuple(listeners)
        self._clock = clock
        self._fallback = fallback or Fallback()

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
            return self._failed(Observation(now, (), {}), f"observe: {error}")
        begin = self._clock()
        try:
            thought = think(self._forecaster, self._algorithm, observation, self._fallback, self._clock)
        except IpaSeldonError as error:
            return self._failed(observation, f"decide: {error}", self._clock() - begin)
        seconds = self._clock() - begin
        proposal, load = thought.proposal, thought.load
        decision = Decision(
            observation,
            _outcome(thought, observation),
            thought.rate,
            proposal,
            seconds=seconds,
            solver_seconds=thought.solver_seconds,
            load=load,
            forecast_why=thought.forecast_why,
        )
        if proposal is None or same_plan(proposal.plan, observation.plan):
            return decision
        return self._apply(proposal, decision)

    def _failed(self, observation: Observation, error: str, seconds: float = 0.0) -> Decision:
        load = self._fallback.health
        return Decision(observation, Outcome.FAILED, error=error, seconds=seconds, load=load)

    def _apply(self, proposal: Proposal, decision: Decision) -> Decision:
        begin = self._clock()
        try:
            self._platform.apply(proposal.plan)
        except RecommendedError:
            return replace(decision, outcome=Outcome.RECOMMENDED, apply_seconds=self._clock() - begin)
        except IpaSeldonError as error:
            spent = self._clock() - begin
            outcome = Outcome.REFUSED if isinstance(error, RefusedError) else Outcome.FAILED
            return replace(decision, outcome=outcome, error=f"apply: {error}", apply_seconds=spent)
        return replace(decision, apply_seconds=self._clock() - begin)


def _outcome(thought: Thought, observation: Observation) -> Outcome:
    """How a round ends unless its plan cannot be applied."""
    proposal = thought.proposal
    if thought.load.fallback:
        return Outcome.FALLBACK
    if proposal is None:
        return Outcome.NO_DATA
    changed = not same_plan(proposal.plan, observation.plan)
    if proposal.status is Status.DEGRADED:
        return Outcome.DEGRADED
    if proposal.held:
        return Outcome.HELD
    return Outcome.APPLIED if changed else Outcome.UNCHANGED
