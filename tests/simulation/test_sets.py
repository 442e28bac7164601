"""A stage that runs a set of variants: the order in which a plan becomes what runs, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_seldon.pipeline import Pipeline, Stage
from ipa_seldon.plan import Allocation
from ipa_seldon.simulation.physics import Drop, Physics
from ipa_seldon.simulation.pipeline import SimulatedPipeline
from tests.simulation.stages import by_capacity, pipeline, simulated, variant

STARTUP = 2.0
LOAD_TIMES = {"light": 3.0, "medium": 4.0, "heavy": 6.0}
SECONDS = {"light": 1.0, "medium": 2.0, "heavy": 4.0}
"""What a request takes on a core of its own."""
ACCURACY = {"light": 0.4, "medium": 0.6, "heavy": 0.8}
Set = tuple[Allocation, ...]


def stage(slo: float = 1000.0, rate: float = 1.0) -> Pipeline:
    variants = [by_capacity(name, SECONDS[name], ACCURACY[name], LOAD_TIMES[name]) for name in SECONDS]
    return pipeline([Stage("s", tuple(variants), rate=rate)], slo=slo)


def pods(*given: tuple[str, int, float]) -> Set:
    """A pod of each variant, on so many cores, for a share of the load."""
    return tuple(Allocation(name, 1, cores, 1, share) for name, cores, share in given)


def running(first: Set, *arrivals: float, slo: float = 1000.0) -> SimulatedPipeline:
    """The stage running ``first`` from second 0 on."""
    made = simulated(stage(slo), arrivals, Physics(startup=STARTUP))
    made.apply({"s": first})
    return made


def apply_at(made: SimulatedPipeline, now: float, allocations: Set) -> None:
    made.advance(now)
    made.apply({"s": allocations})


def steps(made: SimulatedPipeline) -> list[tuple[float, float]]:
    """When the allocated cores change, and to what, once everybody has left."""
    made.finish()
    kept: list[tuple[float, float]] = []
    for moment, cores in zip(*(column.tolist() for column in made.allocated()), strict=True):
        if not kept or kept[-1][1] != cores:
            kept.append((moment, cores))
    return kept


def variants_of(made: SimulatedPipeline) -> str:
    """Who served each request, by first letters."""
    made.finish()
    names = {accuracy: name[0] for name, accuracy in ACCURACY.items()}
    return "".join(names[accuracy] for accuracy in made.answers().accuracy.tolist())


def test_a_pod_serves_as_many_requests_at_a_time_as_it_has_cores() -> None:
    """Three at once on two cores of ``medium``: two take 2 s from the start, the third 2 s from then on."""
    made = running(pods(("medium", 2, 1.0)), 0.0, 0.0, 0.0)
    made.finish()
    assert made.answers().finished.tolist() == [2.0, 2.0, 4.0]
    assert steps(made) == [(0.0, 2.0)]


def test_what_runs_first_is_shared_at_once() -> None:
    """Every third request to ``heavy``, the others to ``light``, from the first one on."""
    made = running(pods(("heavy", 4, 1 / 3), ("light", 2, 2 / 3)), *map(float, range(12)))
    assert variants_of(made) == "lhl" * 4
    assert steps(made) == [(0.0, 6.0)]


def test_variants_come_then_requests_move_then_variants_go() -> None:
    """At 10 light and medium become light and heavy: heavy is ready at 18, and all 2 + 2 + 4 cores are paid for until
    then. Requests go to it from 18 on; medium goes at 19.5, when it has finished what it has.
    """
    made = running(
        pods(("light", 2, 0.5), ("medium", 2, 0.5)), *[10.5 + k for k in range(8)], 18.0, *[18.5 + k for k in range(4)]
    )
    apply_at(made, 10.0, pods(("light", 2, 0.5), ("heavy", 4, 0.5)))
    assert variants_of(made) == "lm" * 4 + "lh" * 2 + "l"
    # Of medium's two cores one has a request until 19.5, and a pod goes as a whole.
    assert steps(made) == [(0.0, 4.0), (10.0, 8.0), (19.5, 6.0)]


def test_what_grows_is_there_before_what_shrinks_goes() -> None:
    """At 10 heavy grows from 2 to 6 cores, light is to shrink from 6 to 2: the larger heavy is created at once and is
    ready at 18, when the smaller goes, requests are shared anew, and the smaller light is created; it is ready at 23,
    when the larger light goes.
    """
    made = running(pods(("heavy", 2, 0.5), ("light", 6, 0.5)), *[17.0, 17.1, 18.1, 18.2, 18.3, 18.4])
    apply_at(made, 10.0, pods(("heavy", 6, 0.75), ("light", 2, 0.25)))
    assert variants_of(made) == "hl" + "hhlh"
    # At 18 heavy's two old cores stay with the request that came at 17 until 21.
    assert steps(made) == [(0.0, 8.0), (10.0, 14.0), (18.0, 16.0), (21.0, 14.0), (23.0, 8.0)]


def test_another_share_costs_nothing_and_holds_at_once() -> None:
    """The same pods with other shares: from the moment of the plan on, every fourth to heavy instead of every other."""
    made = running(pods(("heavy", 4, 0.5), ("light", 4, 0.5)), *map(float, range(12)))
    apply_at(made, 3.5, pods(("heavy", 4, 0.25), ("light", 4, 0.75)))
    assert variants_of(made) == "hlhl" + "lhll" * 2
    assert steps(made) == [(0.0, 8.0)]


def test_one_variant_becomes_a_set_and_one_again() -> None:
    """Light alone, heavy beside it from 18 on, heavy alone from 20 on: whoever queues stays with who it came to."""
    made = running(pods(("light", 1, 1.0)), 17.0, 17.5, 18.0, 18.1, 19.9, 20.0)
    apply_at(made, 10.0, pods(("light", 1, 0.5), ("heavy", 1, 0.5)))
    apply_at(made, 20.0, pods(("heavy", 1, 1.0)))
    assert variants_of(made) == "ll" + "lhl" + "h"
    # Light has one of 17, 17.5, 18 and 19.9 after the other until 21.
    assert steps(made) == [(0.0, 1.0), (10.0, 2.0), (21.0, 1.0)]


def test_a_plan_midway_keeps_what_it_wants_and_takes_back_the_rest() -> None:
    """At 10 medium (ready at 16) and heavy (18) are to come beside light; at 14 the plan is medium and light: heavy is
    deleted, having cost its cores for 4 s, and medium serves from 16 on.
    """
    made = running(pods(("light", 2, 1.0)), 15.9, 16.0, 16.1, 20.0)
    apply_at(made, 10.0, pods(("light", 2, 0.2), ("medium", 2, 0.3), ("heavy", 4, 0.5)))
    apply_at(made, 14.0, pods(("light", 2, 0.5), ("medium", 2, 0.5)))
    assert variants_of(made) == "l" + "lml"
    assert steps(made) == [(0.0, 2.0), (10.0, 8.0), (14.0, 4.0)]


def test_a_switch_on_its_way_becomes_part_of_a_set() -> None:
    """At 10 light is to become heavy, which is ready at 18; at 14 it is to be medium (ready at 20) and heavy: heavy
    goes on starting, light serves until both are ready, and goes.
    """
    made = running(pods(("light", 1, 1.0)), 19.0, 20.0, 20.1, 20.2)
    apply_at(made, 10.0, pods(("heavy", 2, 1.0)))
    apply_at(made, 14.0, pods(("heavy", 2, 0.5), ("medium", 2, 0.5)))
    assert variants_of(made) == "l" + "hmh"
    assert steps(made) == [(0.0, 1.0), (10.0, 3.0), (14.0, 5.0), (20.0, 4.0)]


def test_a_variant_that_grows_and_is_to_shrink_stays_as_it_is_until_then() -> None:
    """Light is to grow from 2 to 8 cores; midway it is to have 1 and heavy to come. The eight are taken back, the two
    serve until heavy is ready at 22, and then a pod of one core takes their place in 5 s.
    """
    made = running(pods(("light", 2, 1.0)))
    apply_at(made, 10.0, pods(("light", 8, 1.0)))
    apply_at(made, 14.0, pods(("light", 1, 0.5), ("heavy", 2, 0.5)))
    made.advance(100.0)
    assert steps(made) == [(0.0, 2.0), (10.0, 10.0), (14.0, 4.0), (22.0, 5.0), (27.0, 3.0)]


def test_a_shrinking_pod_is_not_started_again_by_the_next_plan() -> None:
    """Light shrinks from 4 to 2 from 10 to 15; at 12 only the shares change, and it is done at 15 all the same."""
    made = running(pods(("heavy", 4, 0.5), ("light", 4, 0.5)))
    apply_at(made, 10.0, pods(("heavy", 4, 0.5), ("light", 2, 0.5)))
    apply_at(made, 12.0, pods(("heavy", 4, 0.75), ("light", 2, 0.25)))
    made.advance(100.0)
    assert steps(made) == [(0.0, 8.0), (10.0, 10.0), (15.0, 6.0)]


def test_overload_of_one_is_carried_by_the_other() -> None:
    """Heavy gets half of two requests/s and carries a quarter of one; nobody is late, for light takes the rest, and
    heavy still serves all that it can.
    """
    made = running(pods(("heavy", 1, 0.5), ("light", 4, 0.5)), *np.arange(0, 100, 0.5), slo=10.0)
    made.finish()
    answers = made.answers()
    assert answers.answered.all()
    assert not answers.late.any()
    served = variants_of(made)
    assert 25 <= served.count("h") <= 27
    crowded = running(pods(("heavy", 1, 0.5), ("light", 1, 0.5)), *np.arange(0, 100, 0.5), slo=10.0)
    crowded.finish()
    assert not crowded.answers().late.any()
    # Light carries one request/s, heavy a quarter of one, for 100 s and the 6 to 9 s that the last ones can wait.
    assert 200 - 1.25 * 109 <= crowded.answers().dropped.sum() <= 200 - 1.25 * 104


def test_stages_of_a_profile_run_sets_too() -> None:
    """Replicas that serve batches, at the second of two stages; the accuracies of who served multiply."""
    first, fast, slow = variant("a", 1.0, 0.5), variant("fast", 1.0, 0.4), variant("slow", 2.0, 0.8)
    made = simulated(
        pipeline([Stage("a", (first,)), Stage("b", (fast, slow))], [("a", "b")]), [0.0, 0.0, 0.0, 0.0], Physics()
    )
    shared = (Allocation("fast", 1, 1, 2, 0.5), Allocation("slow", 2, 1, 1, 0.5))
    made.apply({"a": (Allocation("a", 4, 1, 1),), "b": shared})
    made.finish()
    # Fast waits up to 0.5 s for a second one, which comes at once.
    assert made.answers().finished.tolist() == [2.0, 3.0, 2.0, 3.0]
    assert made.answers().accuracy == pytest.approx([0.2, 0.4, 0.2, 0.4])


def test_remaining_budgets_of_all_who_wait_at_any_variant() -> None:
    """Two of four wait, one at each variant."""
    made = running(pods(("light", 1, 0.5), ("heavy", 1, 0.5)), 0.0, 0.0, 0.0, 0.0, slo=100.0)
    made.advance(0.5)
    assert sorted(made.remaining()) == [99.5, 99.5]


def shared(chosen: Mapping[str, tuple[int, int]]) -> Set:
    """Pods on so many cores, the shares in proportion to the weights."""
    total = sum(weight for _, weight in chosen.values())
    return pods(*((name, cores, weight / total) for name, (cores, weight) in chosen.items()))


SETS = st.dictionaries(
    st.sampled_from(sorted(ACCURACY)), st.tuples(st.integers(1, 6), st.integers(1, 4)), min_size=1
).map(shared)


def cost(allocations: Set) -> int:
    return sum(allocation.replicas * allocation.cores for allocation in allocations)


@settings(max_examples=200, deadline=None)
@given(
    SETS,
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 2.0, 8.0]) | st.floats(0, 12), SETS), max_size=10),
    st.lists(st.floats(0, 60), max_size=60).map(sorted),
    st.sampled_from(Drop),
    st.sampled_from([0.5, 1.0, 1.7]),
    st.lists(st.floats(0, 80), max_size=4),
)
def test_no_plan_loses_a_request_or_serves_it_twice(
    first: Set,
    plans: list[tuple[float, Set]],
    arrivals: list[float],
    drop: Drop,
    rate: float,
    cuts: list[float],
) -> None:
    """Whatever sets follow each other at whatever moments: every request is answered or dropped, never both, by one
    variant; cores are never negative and end at those of the last plan; where time is cut does not matter.
    """

    def run(looks: list[float]) -> SimulatedPipeline:
        made = simulated(stage(20.0, rate), arrivals, Physics(drop, STARTUP))
        made.apply({"s": first})
        now = 0.0
        for pause, allocations in plans:
            for look in sorted(look for look in looks if now < look < now + pause):
                made.advance(look)
            now += pause
            apply_at(made, now, allocations)
        made.finish()
        return made

    made, again = run([]), run(cuts)
    answers = made.answers()
    assert made.idle
    assert np.all(answers.answered ^ answers.dropped)
    assert drop is not Drop.NONE or not answers.dropped.any()
    assert np.all(answers.latencies >= 0)
    assert set(answers.accuracy[answers.answered]) <= set(ACCURACY.values()) | ({1.0} if rate == 0.5 else set())
    moments, cores = made.allocated()
    assert np.all(np.diff(moments) > 0)
    assert np.all(cores >= 0)
    assert cores[-1] == cost(plans[-1][1] if plans else first)
    assert np.array_equal(answers.finished, again.answers().finished, equal_nan=True)
    assert np.array_equal(answers.accuracy, again.answers().accuracy)
    assert all(np.array_equal(one, other) for one, other in zip(made.allocated(), again.allocated(), strict=True))


PROPORTIONAL = st.dictionaries(st.sampled_from(sorted(ACCURACY)), st.integers(1, 6), min_size=1)


@settings(max_examples=100, deadline=None)
@given(PROPORTIONAL, PROPORTIONAL)
def test_what_both_plans_carry_is_carried_in_between(one: dict[str, int], other: dict[str, int]) -> None:
    """Requests that come evenly, as many as 70 % of the lesser plan carries, shared in proportion: none waits for long,
    before, while and after the one becomes the other; cores are never below the lesser of both, nor above both.
    """
    carried = [{name: cores / SECONDS[name] for name, cores in chosen.items()} for chosen in (one, other)]
    capacity = [sum(of_each.values()) for of_each in carried]
    before, after = (
        pods(*((name, chosen[name], part / whole) for name, part in of_each.items()))
        for chosen, of_each, whole in zip((one, other), carried, capacity, strict=True)
    )
    made = running(before, *np.arange(0, 40, 1 / (0.7 * min(capacity))), slo=30.0)
    apply_at(made, 10.0, after)
    made.finish()
    answers = made.answers()
    assert answers.answered.all()
    assert np.all(answers.latencies <= 2 * max(SECONDS.values()) + 1e-9)
    _, cores = made.allocated()
    assert cores.min() >= min(cost(before), cost(after))
    assert cores.max() <= cost(before) + cost(after)
    assert cores[-1] == cost(after)
