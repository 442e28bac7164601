"""The loop: what each outcome means, and that nothing ends it."""

from __future__ import annotations

import itertools
import math

import pytest

from ipa_seldon.algorithms import Algorithm, Settings
from ipa_seldon.algorithms.damping import CoolDown, MinimumGain
from ipa_seldon.algorithms.ipa import Ipa
from ipa_seldon.bootstrap import build_solver
from ipa_seldon.controller import Controller
from ipa_seldon.errors import SolverError
from ipa_seldon.plan import Decision, Observation, Outcome, Plan, Proposal, Status, is_switch
from ipa_seldon.platforms.recommending import Recommending
from tests.factories import random_pipeline
from tests.fakes import LastForecaster, MemoryPlatform

PIPELINE = random_pipeline(11, stages=2, chain=True)
OBSERVED = Observation(0.0, (), {})


def algorithm() -> Ipa:
    return Ipa(PIPELINE, Settings(build_solver("auto")))


def plan_for(rate: float) -> Plan:
    return algorithm().decide(rate, OBSERVED).plan


def controller(platform: MemoryPlatform, decider: Algorithm | None = None) -> tuple[Controller, list[Decision]]:
    heard: list[Decision] = []
    return Controller(platform, LastForecaster(), decider or algorithm(), [heard.append]), heard


class BrokenAlgorithm:
    """An algorithm whose solver broke down."""

    def decide(self, rate: float, observation: Observation) -> Proposal:
        raise SolverError("numerical trouble")

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        return None


def test_a_new_plan_is_applied_and_then_left_alone() -> None:
    """Applied once, unchanged for as long as the load stays: no switch at all under constant load."""
    platform = MemoryPlatform({}, [5.0] * 10)
    loop, heard = controller(platform)
    outcomes = [loop.step(float(now)).outcome for now in range(0, 100, 10)]
    assert outcomes == [Outcome.APPLIED] + [Outcome.UNCHANGED] * 9
    assert len(platform.applied) == 1
    assert len(heard) == 10


def test_without_data_the_plan_stays() -> None:
    """A history of which nothing was measured is no_data, not a load of zero."""
    platform = MemoryPlatform(plan_for(5.0), [math.nan] * 10)
    loop, _ = controller(platform)
    decision = loop.step(0.0)
    assert (decision.outcome, decision.proposal, platform.applied) == (Outcome.NO_DATA, None, [])


def test_faults_are_recorded_and_the_loop_goes_on() -> None:
    """A platform that cannot be observed, does not follow, or a solver that breaks: failed, named, and survived."""
    platform = MemoryPlatform(plan_for(5.0), [200.0])
    loop, heard = controller(platform)
    platform.observe_fails = True
    assert "out of reach" in loop.step(0.0).error
    platform.observe_fails, platform.apply_fails = False, True
    assert "did not follow" in loop.step(10.0).error
    platform.apply_fails = False
    assert loop.step(20.0).outcome in (Outcome.APPLIED, Outcome.DEGRADED)
    assert [decision.outcome for decision in heard[:2]] == [Outcome.FAILED, Outcome.FAILED]
    broken, _ = controller(platform, BrokenAlgorithm())
    decision = broken.step(30.0)
    assert decision.outcome is Outcome.FAILED
    assert "numerical trouble" in decision.error


def test_a_load_beyond_every_plan_is_degraded_never_silent() -> None:
    """degraded, applied, with a reason."""
    platform = MemoryPlatform(plan_for(1.0), [1e6])
    loop, _ = controller(platform)
    decision = loop.step(0.0)
    assert decision.outcome is Outcome.DEGRADED
    assert decision.proposal is not None
    assert decision.proposal.reason
    assert platform.applied == [decision.proposal.plan]


def test_what_is_only_recommended_leaves_what_runs_and_is_decided_from_it() -> None:
    """The outcome says so, without an error; nothing is applied, no round holds the next back, and once what runs is
    what was advised there is nothing to recommend.
    """
    low, high = rates_with_different_plans()
    platform = MemoryPlatform(plan_for(low), [high])
    heard: list[Decision] = []
    decider = CoolDown(MinimumGain(algorithm(), 1e-9), 1000.0)
    loop = Controller(Recommending(platform), LastForecaster(), decider, [heard.append])
    for now in range(0, 50, 10):
        loop.step(float(now))
    assert [(one.outcome, one.error) for one in heard] == [(Outcome.RECOMMENDED, "")] * 5
    assert all(one.proposal and one.proposal.plan == plan_for(high) for one in heard)
    assert all(one.observation.plan == plan_for(low) and not is_switch(one) for one in heard)
    assert platform.applied == []
    platform.plan = plan_for(high)
    assert loop.step(50.0).outcome is Outcome.UNCHANGED


def test_a_degraded_plan_that_is_only_recommended_says_both() -> None:
    """Recommended is how the round ended; that the plan breaks a promise is in the proposal."""
    loop = Controller(Recommending(MemoryPlatform(plan_for(1.0), [1e6])), LastForecaster(), algorithm())
    decision = loop.step(0.0)
    assert decision.outcome is Outcome.RECOMMENDED
    assert decision.proposal is not None
    assert decision.proposal.status is Status.DEGRADED


def rates_with_different_plans() -> tuple[float, float]:
    """A high rate and a lower one whose best plans differ."""
    high = 60.0
    for low in (20.0, 6.0, 1.0):
        if plan_for(low) != plan_for(high):
            return low, high
    raise AssertionError("the pipeline of this seed never changes its plan")


def test_the_cool_down_holds_a_switch_but_not_a_rescue() -> None:
    """Down within the cool-down is held; up, where the running plan no longer carries the load, is not."""
    low, high = rates_with_different_plans()
    platform = MemoryPlatform(plan_for(low), [high])
    loop, _ = controller(platform, CoolDown(algorithm(), 60.0))
    assert loop.step(0.0).outcome is Outcome.APPLIED
    platform.arrivals = (low,)
    held = loop.step(30.0)
    assert held.outcome is Outcome.HELD
    assert held.proposal is not None
    assert held.proposal.plan == plan_for(high)
    assert "cool-down" in held.proposal.reason
    assert loop.step(61.0).outcome is Outcome.APPLIED
    platform.arrivals = (high,)
    assert loop.step(62.0).outcome is Outcome.APPLIED


def test_the_minimum_gain_holds_what_gains_too_little() -> None:
    """A switch that is worth less than the gain asked for is held; the same switch passes a smaller threshold."""
    low, high = rates_with_different_plans()
    worth = algorithm().evaluate(plan_for(high), low)
    assert worth is not None
    gain = algorithm().decide(low, OBSERVED).objective - worth.objective
    assert gain > 0
    for threshold, outcome in ((gain * 1.01, Outcome.HELD), (gain * 0.99, Outcome.APPLIED)):
        platform = MemoryPlatform(plan_for(high), [low])
        loop, _ = controller(platform, MinimumGain(algorithm(), threshold))
        assert loop.step(0.0).outcome is outcome


def test_evaluate_agrees_with_decide_and_refuses_foreign_plans() -> None:
    """A plan is worth the same whoever asks; a plan that is not the pipeline's has no worth."""
    for rate in (0.0, 2.0, 9.0, 500.0):
        proposal = algorithm().decide(rate, OBSERVED)
        again = algorithm().evaluate(proposal.plan, rate)
        assert again is not None
        assert (again.objective, again.cost, again.latency) == pytest.approx(
            (proposal.objective, proposal.cost, proposal.latency)
        )
    assert algorithm().evaluate({}, 1.0) is None


def test_a_decision_says_what_took_how_long() -> None:
    """Whatever is left of the time for forecast and decision was the forecast's; applying comes on top."""
    ticks = itertools.count()
    platform = MemoryPlatform({}, [5.0] * 10)
    loop = Controller(platform, LastForecaster(), algorithm(), clock=lambda: float(next(ticks)))
    decision = loop.step(0.0)
    assert (decision.seconds, decision.solver_seconds, decision.apply_seconds) == (3.0, 1.0, 1.0)
