"""Without a load: what runs is held, then the fallback is in force, and nothing is ever taken away."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from ipa_seldon.algorithms import Settings
from ipa_seldon.algorithms.ipa import Ipa
from ipa_seldon.bootstrap import build_solver
from ipa_seldon.controller import Controller
from ipa_seldon.errors import LoadReason, SolverError
from ipa_seldon.fallback import Behavior, Fallback, FallbackSettings
from ipa_seldon.plan import Decision, LoadFault, LoadHealth, Observation, Outcome, Plan, Proposal, is_switch
from tests.factories import random_pipeline
from tests.fakes import LastForecaster, MemoryPlatform

PIPELINE = random_pipeline(11, stages=2, chain=True)
FLOOR = 20.0
TIMEOUT = LoadFault(LoadReason.TIMEOUT, "no answer within 5 s")
NAN = math.nan


def ipa() -> Ipa:
    return Ipa(PIPELINE, Settings(build_solver("auto")))


def plan_for(rate: float) -> Plan:
    return ipa().decide(rate, Observation(0.0, (), {})).plan


def served(plan: Plan) -> float:
    worth = ipa().evaluate(plan, 1.0)
    assert worth is not None
    return worth.served


def blind(plan: Plan, fault: LoadFault | None = TIMEOUT) -> MemoryPlatform:
    """A platform that knows what runs, and with a ``fault`` nothing of its load, which else is 60 requests/s."""
    platform = MemoryPlatform(plan, [60.0] * 10)
    platform.missing = fault
    return platform


class Loop:
    """The loop of one platform, ten seconds a round."""

    def __init__(
        self, platform: MemoryPlatform, behavior: Behavior = "currentReplicas", floor: Ipa | None = None
    ) -> None:
        self.platform = platform
        settings = FallbackSettings(behavior, 3, stale_after=30.0)
        planned = None if behavior == "currentReplicas" else floor or ipa()
        fallback = Fallback(settings, planned, FLOOR)
        self._controller = Controller(platform, LastForecaster(), ipa(), fallback=fallback)
        self._times: Iterator[int] = iter(range(0, 10_000, 10))

    def rounds(self, count: int) -> list[Decision]:
        return [self._controller.step(float(next(self._times))) for _ in range(count)]


def outcomes(decisions: Sequence[Decision]) -> list[Outcome]:
    return [decision.outcome for decision in decisions]


def test_what_runs_is_held_then_kept() -> None:
    """Below the threshold rounds are no_data, from it on the fallback is in force; with currentReplicas nothing changes
    in either, and every round says why and since when. One measured round ends it.
    """
    platform = blind(plan_for(60.0), None)
    loop = Loop(platform)
    loop.rounds(1)
    platform.missing = TIMEOUT
    missing = loop.rounds(5)
    assert outcomes(missing) == [Outcome.NO_DATA] * 2 + [Outcome.FALLBACK] * 3
    assert [d.load for d in missing] == [LoadHealth(*TIMEOUT, n, n >= 3) for n in range(1, 6)]
    assert [(d.rate, d.proposal) for d in missing] == [(None, None)] * 5
    platform.missing = None
    (seeing,) = loop.rounds(1)
    assert (seeing.outcome, seeing.load, seeing.rate) == (Outcome.UNCHANGED, LoadHealth(), 60.0)
    platform.missing = TIMEOUT
    assert outcomes(loop.rounds(3)) == [Outcome.NO_DATA] * 2 + [Outcome.FALLBACK]
    assert platform.applied == []


@pytest.mark.parametrize("behavior", ["currentReplicasIfHigher", "static"])
def test_a_plan_that_carries_less_than_the_floor_gives_way_to_it(behavior: Behavior) -> None:
    """When the threshold is reached, not before; once, since it is the plan that runs then; the decision says so."""
    platform = blind(plan_for(1.0))
    loop = Loop(platform, behavior)
    decisions = loop.rounds(6)
    assert outcomes(decisions) == [Outcome.NO_DATA] * 2 + [Outcome.FALLBACK] * 4
    assert platform.applied == [plan_for(FLOOR)]
    taken = decisions[2]
    assert taken.proposal is not None
    assert taken.proposal.reason == "no load for 3 rounds: the plan for 20 requests/s"
    assert taken.rate is None
    assert is_switch(taken)
    assert [d.proposal for d in decisions[3:]] == [None] * 3


@pytest.mark.parametrize("behavior", ["currentReplicas", "currentReplicasIfHigher", "static"])
@pytest.mark.parametrize("running", [0.0, 5.0, 20.0, 40.0, 150.0])
def test_without_a_load_nothing_is_scaled_down(behavior: Behavior, running: float) -> None:
    """Whatever runs, and whatever the behaviour: what runs afterwards carries no less."""
    platform = blind(plan_for(running))
    Loop(platform, behavior).rounds(8)
    assert served(platform.plan) >= served(plan_for(running))
    if behavior != "currentReplicas":
        assert served(platform.plan) >= FLOOR


def with_one_more_replica() -> Plan:
    """The floor, and a replica that its narrowest stage has no use for: it carries the rate in time, and no more than
    the floor does.
    """
    floor = plan_for(FLOOR)
    for stage, (allocation,) in floor.items():
        wider = {**floor, stage: (replace(allocation, replicas=allocation.replicas + 1),)}
        if served(wider) == served(floor):
            return wider
    raise AssertionError("both stages of this seed carry the same")


def test_static_goes_to_its_plan_where_the_other_stays() -> None:
    """A plan that carries the rate within the SLO is high enough for currentReplicasIfHigher; static wants its own."""
    expected: dict[Behavior, list[Plan]] = {"currentReplicasIfHigher": [], "static": [plan_for(FLOOR)]}
    for behavior, applied in expected.items():
        platform = blind(with_one_more_replica())
        Loop(platform, behavior).rounds(4)
        assert platform.applied == applied


def test_a_pipeline_of_which_nothing_runs_gets_the_floor() -> None:
    """There is nothing to compare it with."""
    platform = blind({})
    Loop(platform, "currentReplicasIfHigher").rounds(3)
    assert platform.applied == [plan_for(FLOOR)]


def test_a_floor_that_cannot_be_applied_is_tried_again() -> None:
    """The failure is told as any, the load's health with it; the next round succeeds."""
    platform = blind(plan_for(1.0))
    platform.apply_fails = True
    loop = Loop(platform, "static")
    refused = loop.rounds(3)[-1]
    assert (refused.outcome, refused.load.fallback) == (Outcome.FAILED, True)
    platform.apply_fails = False
    assert loop.rounds(1)[0].outcome is Outcome.FALLBACK
    assert platform.applied == [plan_for(FLOOR)]


class BrokenFloor(Ipa):
    """Its solver breaks down."""

    def decide(self, rate: float, observation: Observation) -> Proposal:
        raise SolverError("numerical trouble")


def test_faults_neither_end_nor_hide_the_fallback() -> None:
    """A floor that cannot be planned, and a platform out of reach, are failed rounds of a loop without a load."""
    platform = blind(plan_for(1.0))
    loop = Loop(platform, "static", BrokenFloor(PIPELINE, Settings(build_solver("auto"))))
    broken = loop.rounds(3)[-1]
    assert (broken.outcome, broken.error) == (Outcome.FAILED, "decide: numerical trouble")
    platform.observe_fails = True
    lost = loop.rounds(1)[0]
    assert broken.load == lost.load == LoadHealth(*TIMEOUT, 3, True)
    platform.observe_fails = False
    assert loop.rounds(1)[0].load.failures == 4


@pytest.mark.parametrize(
    ("arrivals", "fault", "reason"),
    [
        ([NAN, NAN, 3.0, 4.0], None, None),
        ([1.0, NAN, 3.0, 4.0], None, LoadReason.GAP),
        ([1.0, 2.0, *[NAN] * 30], None, LoadReason.GAP),
        ([1.0, 2.0, *[NAN] * 31], None, LoadReason.STALE),
        ([NAN] * 5, None, LoadReason.EMPTY),
        ([], None, LoadReason.EMPTY),
        ([NAN] * 5, LoadReason.NAN, LoadReason.NAN),
        ([], LoadReason.SERVER_ERROR, LoadReason.SERVER_ERROR),
        ([1.0, 2.0], LoadReason.COUNTER_RESET, LoadReason.COUNTER_RESET),
        ([1.0, 2.0, *[NAN] * 31], LoadReason.COUNTER_RESET, LoadReason.STALE),
    ],
)
def test_what_is_the_matter_with_a_load(
    arrivals: list[float], fault: LoadReason | None, reason: LoadReason | None
) -> None:
    """A gap, also one up to now, is a load; one whose newest second is older than 30 s, or of which nothing was
    measured, is none. What the source says goes before, where the load is not known for another reason.
    """
    told = LoadFault(fault, "words") if fault else None
    health = Fallback(FallbackSettings(stale_after=30.0)).judge(Observation(0.0, tuple(arrivals), {}, fault=told))
    assert health.reason is reason
    assert bool(health.words) == (reason is not None)
    assert health.failures == (1 if reason is not None and reason.is_missing else 0)


def test_a_stale_load_is_not_decided_by() -> None:
    """The load has fallen to nothing as far as is known, but that was 31 s ago: what runs is held."""
    platform = MemoryPlatform(plan_for(60.0), [*[1.0] * 60, *[NAN] * 31])
    decisions = Loop(platform).rounds(4)
    assert outcomes(decisions) == [Outcome.NO_DATA] * 2 + [Outcome.FALLBACK] * 2
    assert decisions[0].load.words == "the newest second that was measured is 31 s old"
    assert platform.applied == []
