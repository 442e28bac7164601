"""The clock of one stage: traces computed by hand, and agreement with a second simulation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_seldon.simulation.engine import NEVER, Batching, Serving, Station
from ipa_seldon.simulation.service import Service, exponential
from tests.simulation.reference import Reference, ReferenceQueue

MEANS = (0.0, 1.0, 1.5, 1.75, 2.0)
"""Seconds of batches of 1 to 4 requests."""


def serving(batch: int = 1, delay: float = 0.0, means: Sequence[float] = MEANS) -> Serving:
    return Serving(Service(means, ()), Batching(batch, delay), 1)


def station(deadlines: Sequence[float], replicas: int = 1, served: Serving | None = None) -> Station:
    made = Station(deadlines, np.random.default_rng(0))
    made.serve(served or serving(), [0.0] * replicas, 0.0)
    return made


def arriving(moments: Sequence[float]) -> list[tuple[float, list[int], int]]:
    """Requests 0, 1, ... at ``moments``."""
    return [(moment, [x], 0) for x, moment in enumerate(moments)]


def batches(made: Station, moments: Sequence[float]) -> list[tuple[float, list[int]]]:
    """When each batch ended, and its requests, sorted."""
    return [(ends, sorted(requests)) for ends, requests, _ in made.advance(NEVER, arriving(moments))]


def without_deadlines(moments: Sequence[float], replicas: int = 1, **served: Any) -> list[tuple[float, list[int]]]:
    return batches(station([NEVER] * len(moments), replicas, serving(**served)), moments)


def test_without_delay_a_free_replica_starts_at_once() -> None:
    """Delay 0: a request alone starts alone; what has gathered when a replica is free again goes together."""
    assert without_deadlines([0.0, 0.25, 0.5, 5.0], batch=4) == [(1.0, [0]), (2.5, [1, 2]), (6.0, [3])]


def test_a_full_batch_does_not_wait_for_its_delay() -> None:
    """The batch starts with the arrival that fills it; the rest waits its own delay, from its own arrival."""
    assert without_deadlines([1.0, 2.0, 3.0], batch=2, delay=9.0) == [(3.5, [0, 1]), (13.0, [2])]


def test_a_batch_starts_when_its_oldest_has_waited_the_delay() -> None:
    """Two of four came within the delay of the first; the third came after it and waits for itself."""
    assert without_deadlines([1.0, 1.5, 2.25], batch=4, delay=1.0) == [(3.5, [0, 1]), (4.5, [2])]


def test_an_arrival_at_the_moment_a_batch_starts_is_part_of_it() -> None:
    """Arrivals at one moment, and at the moment the delay expires or a replica is free, are taken along."""
    assert without_deadlines([0.0, 0.0, 0.0], batch=4) == [(1.75, [0, 1, 2])]
    assert without_deadlines([1.0, 2.0], batch=4, delay=1.0) == [(3.5, [0, 1])]
    assert without_deadlines([0.0, 1.0], batch=4) == [(1.0, [0]), (2.0, [1])]


def test_while_replicas_are_busy_the_delay_passes() -> None:
    """A batch whose delay is over starts when a replica is free, with what came meanwhile; a younger one waits on."""
    assert without_deadlines([0.0, 0.1, 1.0], batch=2, delay=0.5, means=(0, 4, 4)) == [(4.1, [0, 1]), (8.1, [2])]
    assert without_deadlines([0.0, 3.75, 3.9], batch=4, delay=0.0, means=(0, 4, 4)) == [(4.0, [0]), (8.0, [1, 2])]
    assert without_deadlines([0.0, 4.5, 5.0], batch=2, delay=1.0, means=(0, 4, 4)) == [(5.0, [0]), (9.0, [1, 2])]


def test_two_replicas_share_one_queue() -> None:
    """The next request goes to whichever replica is free first."""
    assert without_deadlines([0.0, 0.5, 0.6, 0.7], replicas=2) == [(1.0, [0]), (1.5, [1]), (2.0, [2]), (2.5, [3])]


def test_the_earliest_deadline_is_served_first() -> None:
    """Requests that arrive later with less time left overtake those that wait."""
    made = station([5.0, 6.0, 9.0])  # numbered by deadline
    done = made.advance(NEVER, [(0.0, [2], 0), (0.25, [1], 0), (0.5, [0], 0)])
    assert [(ends, requests) for ends, requests, _ in done] == [(1.0, [2]), (2.0, [0]), (3.0, [1])]


@pytest.mark.parametrize(
    ("reserve", "ends", "dropped"),
    [
        (-NEVER, [1.0, 2.0, 3.0], []),
        (0.0, [1.0, 2.0], [2]),
        (0.5, [1.0, 2.0], [2]),
        (1.0, [1.0], [1, 2]),
        (2.0, [], [0, 1, 2]),
    ],
)
def test_who_has_less_than_the_reserve_left_is_dropped(reserve: float, ends: list[float], dropped: list[int]) -> None:
    """Three requests at 0 with deadline 1.5 would start at 0, 1 and 2: who has less than the reserve left goes."""
    made = station([1.5, 1.5, 1.5])
    made.reserve = reserve
    assert [end for end, _ in batches(made, [0.0, 0.0, 0.0])] == ends
    assert made.dropped == dropped
    assert made.idle


def test_the_dropped_fill_no_batch_and_start_none() -> None:
    """Two expired requests and a good one are no full batch of three; the good one waits its own delay, 3 s."""
    made = station([4.0, 4.0, 20.0], served=serving(batch=3, delay=3.0))
    made.free = [5.0]
    assert batches(made, [0.5, 1.0, 4.5]) == [(8.5, [2])]
    assert made.dropped == [0, 1]


def test_before_a_replica_serves_requests_wait() -> None:
    """Without replicas nothing is served or lost; the first ones take what has gathered."""
    made = Station([NEVER] * 2, np.random.default_rng(0))
    assert made.advance(7.0, arriving([1.0, 2.0])) == []
    assert sorted(made.queue) == [0, 1]
    made.serve(serving(batch=2), [7.0], 7.0)
    assert made.advance(NEVER, []) == [(8.5, [0, 1], 1)]


def test_what_arrived_while_replicas_are_busy_is_queued() -> None:
    """The queue holds every request that has arrived and not started, at any moment one looks."""
    made = station([NEVER] * 3, served=serving(means=(0.0, 10.0)))
    made.advance(5.0, arriving([0.0, 1.0, 2.0]))
    assert sorted(made.queue) == [1, 2]


def test_what_is_served_changes_from_now_on() -> None:
    """A batch under way ends as it was to; the next takes the new size, delay and times, never before the change."""
    made = station([NEVER] * 4)
    assert made.advance(0.5, arriving([0.0, 0.1, 0.2, 0.3])) == []
    made.serve(serving(batch=4, means=(0.0, 7.0, 7.0, 7.0, 7.0)), [*made.free, 0.0], 0.5)
    assert [(ends, sorted(x)) for ends, x, _ in made.advance(NEVER, [])] == [(1.0, [0]), (7.5, [1, 2, 3])]


def test_random_service_times_have_the_mean_and_repeat_with_the_seed() -> None:
    """Ten thousand exponential services of 2 s, one after the other, end within 5 % of 20,000 s, alike for one seed."""

    def last(seed: int) -> float:
        made = Station([NEVER] * 10_000, np.random.default_rng(seed))
        made.serve(Serving(Service((0.0, 2.0), exponential()), Batching(1), 1), [0.0], 0.0)
        return made.advance(NEVER, arriving([0.0] * 10_000))[-1][0]

    assert last(1) == pytest.approx(20_000, rel=0.05)
    assert last(1) == last(1) != last(2)


# Coarse times, so that events coincide, and fine ones.
GAPS = st.sampled_from([0.0, 0.25, 0.5, 1.0, 4.0]) | st.floats(0, 3)
SECONDS = st.sampled_from([0.25, 0.5, 1.0, 2.0]) | st.floats(0.01, 3)
DELAYS = st.sampled_from([0.0, 0.25, 1.0]) | st.floats(0, 2)
BUDGETS = st.sampled_from([0.5, 1.0, 2.0, 5.0, NEVER])
RESERVES = st.sampled_from([-NEVER, 0.0, 0.5, 1.0])


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(GAPS, BUDGETS), min_size=1, max_size=40),
    st.lists(SECONDS, min_size=5, max_size=5),
    st.integers(1, 5),
    DELAYS,
    st.integers(1, 3),
    RESERVES,
    st.lists(st.floats(0, 60), max_size=5),
)
def test_it_agrees_with_a_second_simulation_however_it_is_sliced(
    requests: list[tuple[float, float]],
    seconds: list[float],
    size: int,
    delay: float,
    replicas: int,
    reserve: float,
    cuts: list[float],
) -> None:
    """Any arrivals, deadlines, batches, delays and replicas, advanced in any slices: the same ends, the same drops."""
    arrivals = np.cumsum([gap for gap, _ in requests])
    deadlines = arrivals + np.array([budget for _, budget in requests])
    order = np.argsort(deadlines, kind="stable").tolist()
    means = [0.0, *seconds]
    by_number = deadlines[order].tolist()

    queue = ReferenceQueue(means, size, delay, reserve, replicas)
    Reference([queue], by_number).run(arrivals.tolist(), queue, numbers=[order.index(k) for k in range(len(order))])

    made = station(by_number, replicas, serving(size, delay, means))
    made.reserve = reserve
    coming = [(float(arrivals[k]), [order.index(k)], 0) for k in range(len(order))]
    done = []
    for until in [*sorted(cuts), NEVER]:
        done += made.advance(until, [batch for batch in coming if batch[0] < until])
        coming = [batch for batch in coming if batch[0] >= until]
    assert {x: ends for ends, requests, _ in done for x in requests} == queue.finished
    assert set(made.dropped) == queue.dropped
    assert len(made.dropped) + len(queue.finished) == len(order)
    assert [ends for ends, _, _ in done] == sorted(ends for ends, _, _ in done)
    assert made.idle
