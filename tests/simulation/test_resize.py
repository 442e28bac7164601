"""Cores that change where replicas are: when they serve, what they cost, and that no request is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Allocation
from ipa_seldon.simulation.physics import IN_PLACE, Drop, Physics
from ipa_seldon.simulation.pipeline import SimulatedPipeline
from tests.simulation.stages import by_capacity, one, pipeline, simulated
from tests.simulation.test_stage import apply_at, finished, steps

RESIZE, STARTUP = 0.5, 5.0
"""Seconds."""


def scaling(name: str = "light", work: float = 8.0) -> Variant:
    """Batches take ``work`` seconds on one core, half of it on two, whatever their size."""
    return Variant(name, 0.5, 1, (1,), lambda c, _: work / c, lambda c, b: b * c / work)


def stage() -> Pipeline:
    """``light`` takes 8 s on a core, ``heavy`` 16; of ``counted`` only a capacity is known."""
    return pipeline([Stage("s", (scaling(), scaling("heavy", 16.0), by_capacity("counted", 1.0)))])


def running(first: tuple[Allocation], *arrivals: float) -> SimulatedPipeline:
    """The stage running ``first`` from second 0 on, where cores change in place."""
    made = simulated(stage(), arrivals, Physics(startup=STARTUP, resize=RESIZE))
    made.apply({"s": first})
    return made


def test_more_cores_cost_at_once_and_serve_after_a_while() -> None:
    """Asked for at 1, there at 1.5: a batch that begins at 1.25 takes the 8 s of one core, one from 9.25 on 2 s."""
    made = running(one("light"), 1.25, 1.25)
    apply_at(made, 1.0, one("light", cores=4))
    assert finished(made) == [9.25, 11.25]
    assert steps(made) == [(0.0, 1.0), (1.0, 4.0)]


def test_a_batch_under_way_ends_as_it_was_to() -> None:
    """It began at 0 on two cores and ends at 4, whatever comes at 1; the one after it has four."""
    made = running(one("light", cores=2), 0.0, 0.0)
    apply_at(made, 1.0, one("light", cores=4))
    assert finished(made) == [4.0, 6.0]


def test_fewer_cores_serve_at_once_and_cost_until_they_are_given_back() -> None:
    """An idle replica gives its cores back after 0.5 s, but serves on one from 1 on; one that is busy until 2 when its
    batch has ended.
    """
    idle = running(one("light", cores=4), 1.25)
    apply_at(idle, 1.0, one("light"))
    assert finished(idle) == [9.25]
    assert steps(idle) == [(0.0, 4.0), (1.5, 1.0)]
    busy = running(one("light", cores=4), 0.0, 0.0)
    apply_at(busy, 1.0, one("light"))
    assert finished(busy) == [2.0, 10.0]
    assert steps(busy) == [(0.0, 4.0), (2.0, 1.0)]


def test_growth_that_is_taken_back_gives_its_cores_back() -> None:
    """At 1.25 the cores asked for at 1 are not there yet: they go at once, and nothing has changed."""
    made = running(one("light", cores=2), 2.0)
    apply_at(made, 1.0, one("light", cores=8))
    apply_at(made, 1.25, one("light", cores=2))
    assert finished(made) == [6.0]
    assert steps(made) == [(0.0, 2.0), (1.0, 8.0), (1.25, 2.0)]


def test_growth_that_goes_on_is_from_what_serves() -> None:
    """Four cores asked for at 1, eight at 1.25: eight from 1.75 on."""
    made = running(one("light"), 1.6, 1.75)
    apply_at(made, 1.0, one("light", cores=4))
    apply_at(made, 1.25, one("light", cores=8))
    assert finished(made) == [9.6, 10.6]
    assert steps(made) == [(0.0, 1.0), (1.0, 4.0), (1.25, 8.0)]


def test_replicas_join_on_the_new_cores() -> None:
    """One replica grows in place at 1.5 while another starts, on as many cores, which is ready at 6."""
    made = running(one("light"), 6.0, 6.0)
    apply_at(made, 1.0, one("light", 2, cores=4))
    assert finished(made) == [8.0, 8.0]
    assert steps(made) == [(0.0, 1.0), (1.0, 8.0)]


def test_replicas_that_start_change_with_the_plan() -> None:
    """Of two that are to be ready at 5 a plan at 2 wants four cores each: they are as soon as they were to be."""
    made = running(one("light"), 5.5, 5.5, 5.5)
    made.apply({"s": one("light", 3, cores=2)})
    apply_at(made, 2.0, one("light", 3, cores=4))
    assert finished(made) == [7.5] * 3
    assert steps(made) == [(0.0, 6.0), (2.0, 12.0)]


def test_a_replica_that_joins_while_others_grow_waits_with_them() -> None:
    """Ready at 5, where the cores that were asked for at 4.75 are there at 5.25: batches begun between take 8 s."""
    made = running(one("light"), 5.0, 5.0)
    made.apply({"s": one("light", 2)})
    apply_at(made, 4.75, one("light", 2, cores=4))
    assert finished(made) == [13.0, 13.0]
    assert steps(made) == [(0.0, 2.0), (4.75, 8.0)]


def test_replicas_go_with_the_cores_they_have() -> None:
    """Two of two cores become one of four: the idle one goes at once, the busy one grows."""
    made = running(one("light", 2, cores=2), 0.0, 2.0)
    apply_at(made, 1.0, one("light", cores=4))
    assert finished(made) == [4.0, 6.0]
    assert steps(made) == [(0.0, 4.0)]


@pytest.mark.parametrize(
    ("first", "second"),
    [(one("light"), one("heavy", cores=2)), (one("counted", cores=2), one("counted", cores=4))],
    ids=["another variant", "only a capacity"],
)
def test_what_cannot_change_in_place_is_replaced(first: tuple[Allocation], second: tuple[Allocation]) -> None:
    """Another variant, and a pod of which only a capacity is known, start anew; both sides cost meanwhile."""
    made = running(first)
    apply_at(made, 1.0, second)
    made.finish()
    before, after = (float(allocation.cores) for (allocation,) in (first, second))
    assert steps(made) == [(0.0, before), (1.0, before + after), (6.0, after)]


def test_with_deadlines_cores_change_in_place_by_default() -> None:
    """In a tenth of a second; without, another replica takes its place; what is stated holds for both."""
    for by_deadline, resize, due in ((True, None, 1 + IN_PLACE), (False, None, 1 + STARTUP), (True, 0.0, 1.0)):
        made = simulated(replace(stage(), by_deadline=by_deadline), [], Physics(startup=STARTUP, resize=resize))
        made.apply({"s": one("light")})
        apply_at(made, 1.0, one("light", cores=4))
        assert made.stages["s"].due == (due if resize is None else float("inf"))
        assert steps(made)[-1] == (1.0, 5.0 if not by_deadline else 4.0)


def test_with_deadlines_no_batch_waits_to_fill() -> None:
    """A lone request of a batch of four begins at once; without deadlines it waits until the others could have come."""
    for by_deadline, end in ((True, 4.0), (False, 7.0)):
        made = simulated(replace(stage(), by_deadline=by_deadline), [0.0])
        made.apply({"s": one("light", cores=2, batch=4)})
        assert finished(made) == [end]


@pytest.mark.parametrize(("by_deadline", "held_back", "served"), [(True, None, 2), (False, None, 1), (False, 1.0, 2)])
def test_requests_are_given_up_as_late_as_can_be(by_deadline: bool, held_back: float | None, served: int) -> None:
    """A batch takes 4 s. A second request waits 4 s for the first and has 6 s then: with deadlines, or where it is
    said, that is enough, elsewhere twice the time is kept in hand.
    """
    made = simulated(
        replace(stage(), by_deadline=by_deadline), [0.0, 0.1], Physics(held_back=held_back), budgets=[9.0, 9.9]
    )
    made.apply({"s": one("light", cores=2)})
    made.finish()
    assert made.answers().answered.sum() == served


def test_with_deadlines_the_earliest_is_first_through_a_change() -> None:
    """Four come at 0 behind a batch that ends at 4; they are served by deadline, not in turn, while cores grow."""
    made = simulated(stage(), [0.0] * 5, Physics(resize=RESIZE, drop=Drop.NONE), budgets=[1.0, 60.0, 30.0, 50.0, 40.0])
    made.apply({"s": one("light", cores=2)})
    apply_at(made, 1.0, one("light", cores=8))
    made.finish()
    answers = made.answers()
    assert answers.deadlines.tolist() == [1.0, 30.0, 40.0, 50.0, 60.0]
    assert answers.finished.tolist() == [4.0, 5.0, 6.0, 7.0, 8.0]


sizes = st.tuples(st.sampled_from(["light", "heavy"]), st.integers(1, 3), st.integers(1, 6), st.integers(1, 3))
changes = st.lists(st.tuples(st.floats(0.01, 3.0), sizes), max_size=12)


@examples(max_examples=200, deadline=None, derandomize=True)
@given(
    plans=changes,
    gaps=st.lists(st.floats(0.0, 2.0), max_size=30),
    resize=st.sampled_from([None, 0.0, 0.1, 0.5, 2.0]),
    startup=st.sampled_from([0.0, 0.3, 4.0]),
)
def test_whatever_changes_nothing_is_lost(
    plans: list[tuple[float, tuple[str, int, int, int]]], gaps: Sequence[float], resize: float | None, startup: float
) -> None:
    """Plans at random moments, sooner than they take effect: every request is answered, once, and the cores are never
    fewer than those of what serves, and in the end those of the last plan.
    """
    made = simulated(stage(), np.cumsum(gaps).tolist(), Physics(Drop.NONE, startup, resize=resize))
    last = one("light", 2, cores=2)
    made.apply({"s": last})
    now, served = 0.0, [(0.0, 4)]
    for gap, size in plans:
        now += gap
        made.advance(now)
        last = one(*size)
        made.apply({"s": last})
        (lane,) = made.stages["s"].lanes
        serves = lane.serves
        assert serves is not None
        served.append((now, serves.replicas * serves.cores))
    made.finish()
    assert made.answers().answered.all()
    (allocation,) = last
    moments, cores = made.allocated()
    assert cores[-1] == allocation.replicas * allocation.cores
    for moment, least in served:
        assert cores[np.searchsorted(moments, moment, side="right") - 1] >= least
