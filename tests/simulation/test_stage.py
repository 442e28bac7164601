"""Replicas that start, switch and drain, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_seldon.pipeline import Pipeline, Stage
from ipa_seldon.plan import Allocation
from ipa_seldon.simulation.physics import Drop, Physics
from ipa_seldon.simulation.pipeline import SimulatedPipeline
from tests.simulation.stages import one, pipeline, simulated, variant

LOAD_TIME, STARTUP = 3.0, 2.0
"""Seconds; together it takes 5 s until a new replica of ``light`` or ``heavy`` is ready."""


def stage() -> Pipeline:
    """One stage: ``light`` takes 1 s, ``heavy`` 4 s."""
    return pipeline([Stage("s", (variant("light", 1.0, 0.4, LOAD_TIME), variant("heavy", 4.0, 0.8, LOAD_TIME)))])


def running(first: tuple[Allocation], *arrivals: float) -> SimulatedPipeline:
    """The stage running ``first`` from second 0 on."""
    made = simulated(stage(), arrivals, Physics(startup=STARTUP))
    made.apply({"s": first})
    return made


def apply_at(made: SimulatedPipeline, now: float, allocation: tuple[Allocation]) -> None:
    made.advance(now)
    made.apply({"s": allocation})


def steps(made: SimulatedPipeline) -> list[tuple[float, float]]:
    """When the allocated cores change, and to what."""
    moments, cores = made.allocated()
    changes = zip(moments.tolist(), cores.tolist(), strict=True)
    kept: list[tuple[float, float]] = []
    for moment, allocated in changes:
        if not kept or kept[-1][1] != allocated:
            kept.append((moment, allocated))
    return kept


def finished(made: SimulatedPipeline) -> list[float]:
    made.finish()
    ends: list[float] = made.answers().finished.tolist()
    return ends


def test_what_runs_first_is_ready_at_once() -> None:
    """The pipeline is there when the load begins: no start-up, its cores are allocated from the first second."""
    made = running(one("light", 2, cores=3), 0.0, 0.0, 0.0)
    assert finished(made) == [1.0, 1.0, 2.0]
    assert steps(made) == [(0.0, 6.0)]


def test_a_switch_costs_both_sides_until_the_old_side_is_gone() -> None:
    """At 10 light (2 x 1) becomes heavy (1 x 4): 6 cores until all is ready at 15; of the old replicas the idle one
    goes then, the other at 15.5, when its batch ends.
    """
    made = running(one("light", 2), 14.5)
    apply_at(made, 10.0, one("heavy", 1, cores=4))
    assert finished(made) == [15.5]
    assert steps(made) == [(0.0, 2.0), (10.0, 6.0), (15.0, 5.0), (15.5, 4.0)]


def test_the_old_variant_serves_until_the_new_one_is_ready() -> None:
    """A start-up of 2 s and a load time of 3 s: light answers what starts before 15, heavy what starts from then on."""
    made = running(one("light"), 14.0, 14.9, 15.0)
    apply_at(made, 10.0, one("heavy"))
    assert finished(made) == [15.0, 19.0, 23.0]
    assert made.answers().accuracy.tolist() == [0.4, 0.8, 0.8]


def test_replicas_that_join_serve_as_soon_as_they_are_ready() -> None:
    """Two replicas more at 0 and two more at 2 serve from 5 and from 7 on; they cost from when they were created."""
    made = running(one("heavy"), *[0.0] * 5)
    made.apply({"s": one("heavy", 3)})
    apply_at(made, 2.0, one("heavy", 5))
    assert finished(made) == [4.0, 8.0, 9.0, 9.0, 11.0]
    assert steps(made) == [(0.0, 3.0), (2.0, 5.0)]


def test_a_switch_to_less_waits_for_all_of_its_replicas() -> None:
    """A switch at 10 that grows at 12 from one replica to two is made at 17: two heavy carry less than one light."""
    made = running(one("light"), 16.5, 16.9)
    apply_at(made, 10.0, one("heavy", 1))
    apply_at(made, 12.0, one("heavy", 2))
    assert finished(made) == [17.5, 21.0]
    assert steps(made) == [(0.0, 1.0), (10.0, 2.0), (12.0, 3.0), (17.5, 2.0)]


def test_a_switch_waits_for_no_more_than_carries_as_much() -> None:
    """One light carries as much as four heavy: created at 10, it takes over at 15, and the second, which a plan at 12
    added, joins at 17. The heavy ones that are busy go when they are done, the others at 15.
    """
    made = running(one("heavy", 4), 12.0, 14.0, *[15.5] * 4)
    apply_at(made, 10.0, one("light", 1))
    apply_at(made, 12.0, one("light", 2))
    assert finished(made) == [16.0, 18.0, 16.5, 17.5, 18.0, 18.5]
    assert steps(made) == [(0.0, 4.0), (10.0, 5.0), (12.0, 6.0), (15.0, 4.0), (16.0, 3.0), (18.0, 2.0)]


def test_a_plan_of_the_same_kind_keeps_what_starts() -> None:
    """Of three replicas that start, a plan for two at 12 keeps the first two: ready at 15 as they were to be."""
    made = running(one("light"), 15.0, 15.0)
    apply_at(made, 10.0, one("heavy", 3))
    apply_at(made, 12.0, one("heavy", 2, batch=2))
    assert finished(made) == [19.0, 19.0]
    assert steps(made) == [(0.0, 1.0), (10.0, 4.0), (12.0, 3.0), (15.0, 2.0)]


def test_a_plan_of_another_kind_cancels_what_starts() -> None:
    """A switch begun at 10 and taken back at 12 cost its 8 cores for 2 s, and light never stopped."""
    made = running(one("light"), 11.0, 16.0)
    apply_at(made, 10.0, one("heavy", 2, cores=4))
    apply_at(made, 12.0, one("light"))
    assert finished(made) == [12.0, 17.0]
    assert steps(made) == [(0.0, 1.0), (10.0, 9.0), (12.0, 1.0)]


def test_a_third_variant_starts_anew() -> None:
    """What starts is replaced by other cores of the same variant: cancelled at 12, ready 5 s after that."""
    made = running(one("light"), 16.5, 17.0)
    apply_at(made, 10.0, one("heavy", cores=2))
    apply_at(made, 12.0, one("heavy", cores=3))
    assert finished(made) == [17.5, 21.0]
    assert steps(made) == [(0.0, 1.0), (10.0, 3.0), (12.0, 4.0), (17.5, 3.0)]


def test_scaling_down_drains() -> None:
    """Three busy replicas of 2 cores, told at 2 to be one: two go when their batches end at 4 and at 4.5, the one that
    is busy the longest stays and serves alone.
    """
    made = running(one("heavy", 3, cores=2), 0.0, 0.5, 1.0, 1.5)
    apply_at(made, 2.0, one("heavy", 1, cores=2))
    assert finished(made) == [4.0, 4.5, 5.0, 9.0]
    assert steps(made) == [(0.0, 6.0), (4.0, 4.0), (4.5, 2.0)]


def test_scaling_down_takes_back_what_joins_first() -> None:
    """One runs and two are to join at 5; a plan for two at 1 lets one of them join, a plan for one at 2 none."""
    made = running(one("heavy"), *[0.0] * 3)
    made.apply({"s": one("heavy", 3)})
    apply_at(made, 1.0, one("heavy", 2))
    apply_at(made, 2.0, one("heavy", 1))
    assert finished(made) == [4.0, 8.0, 12.0]
    assert steps(made) == [(0.0, 3.0), (1.0, 2.0), (2.0, 1.0)]


def test_a_new_batch_size_holds_at_once_and_costs_nothing() -> None:
    """Nothing starts for it: four that wait at 1.5 go together, when the replica is free."""
    made = running(one("light"), *[0.0] * 6)
    apply_at(made, 1.5, one("light", batch=4))
    assert finished(made) == [1.0, 2.0, 3.0, 3.0, 3.0, 3.0]
    assert steps(made) == [(0.0, 1.0)]


def test_the_reserve_follows_what_serves() -> None:
    """Heavy serves from 5 on, and a queue then gives up whoever has less than twice its 4 s left; before it, only
    whoever has less than twice light's 1 s.
    """
    made = simulated(stage(), [4.5, 6.0, 6.0], Physics(startup=STARTUP), budgets=[3.0, 7.0, 9.0])
    made.apply({"s": one("light")})
    made.apply({"s": one("heavy")})
    assert finished(made) == [5.5, pytest.approx(np.nan, nan_ok=True), 10.0]
    assert made.answers().dropped.tolist() == [False, True, False]


ALLOCATIONS = st.builds(
    Allocation, st.sampled_from(["light", "heavy"]), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)
)
PLANS = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 2.0, 5.0]) | st.floats(0, 8), ALLOCATIONS), max_size=12)


@settings(max_examples=200, deadline=None)
@given(
    ALLOCATIONS,
    PLANS,
    st.lists(st.floats(0, 40), max_size=40).map(sorted),
    st.sampled_from(Drop),
    st.sampled_from([0.0, 0.5, STARTUP]),
    st.sampled_from([0.5, 1.0, 2.5]),
)
def test_no_plan_loses_a_request_or_serves_it_twice(
    first: Allocation,
    plans: list[tuple[float, Allocation]],
    arrivals: list[float],
    drop: Drop,
    startup: float,
    rate: float,
) -> None:
    """Whatever plans follow each other at whatever moments: every request is answered or dropped, never both, each
    copy once; cores are never negative and end at those of the last plan.
    """
    (only,) = stage().stages
    made = simulated(pipeline([Stage("s", only.variants, rate=rate)], slo=20.0), arrivals, Physics(drop, startup))
    made.apply({"s": (first,)})
    for pause, allocation in plans:
        apply_at(made, made.now + pause, (allocation,))
    made.finish()
    answers = made.answers()
    assert made.idle
    assert np.all(answers.answered ^ answers.dropped)
    assert drop is not Drop.NONE or not answers.dropped.any()
    assert np.all(np.isfinite(answers.finished) == answers.answered)
    assert np.all(answers.latencies >= 0)
    # One factor of accuracy for each answer: nobody was served by two variants, or counted twice.
    assert set(answers.accuracy[answers.answered]) <= {0.4, 0.8} | ({1.0} if rate == 0.5 else set())
    moments, cores = made.allocated()
    assert np.all(np.diff(moments) > 0)
    assert np.all(cores >= 0)
    last = plans[-1][1] if plans else first
    assert cores[-1] == last.replicas * last.cores
