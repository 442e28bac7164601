"""Requests spread over stations: by share where those can serve them in time, to others where not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_seldon.simulation.engine import NEVER, Batch, Batching, Serving, Station
from ipa_seldon.simulation.service import Service, exponential
from ipa_seldon.simulation.spread import Spread

RARELY = 1e-6
"""A share that gives no turn among a few requests."""


def stations(
    deadlines: Sequence[float], seconds: Sequence[float], batch: int = 1, spread: bool = False
) -> list[Station]:
    """A station of one replica for each of ``seconds``, which a batch takes there; it is named by its place."""
    first = Station(deadlines, np.random.default_rng(0))
    made = [first, *(first.beside() for _ in seconds[1:])]
    for index, (station, taken) in enumerate(zip(made, seconds, strict=True)):
        service = Service((0.0, *[taken] * batch), exponential() if spread else ())
        station.serve(Serving(service, Batching(batch, 0.1 * (batch - 1)), index), [0.0], 0.0)
    return made


def served(done: Sequence[Batch]) -> list[int]:
    """Which station served request 0, 1, ..."""
    return [index for _, index in sorted((x, index) for _, requests, index in done for x in requests)]


def coming(moments: Sequence[float]) -> list[Batch]:
    return [(moment, [x], 0) for x, moment in enumerate(moments)]


def test_shares_are_kept_where_all_can() -> None:
    """Three of four requests to the one, one to the other, evenly, in one go or second by second."""
    moments = [float(k) for k in range(40)]
    for cuts in ([NEVER], [*range(1, 41), NEVER]):
        made = Spread(stations([NEVER] * 40, [0.5, 0.5]), [0.75, 0.25], 0.0)
        done = [
            batch
            for before, until in zip([0.0, *cuts], cuts, strict=False)
            for batch in made.advance(until, [one for one in coming(moments) if before <= one[0] < until])
        ]
        assert served(done) == [0, 0, 1, 0] * 10


def test_who_would_be_late_goes_where_the_wait_is_shortest() -> None:
    """At 0 four come with 2.5 s each, all of them by turn to the first, which takes 1 s, and holds 2 s: the second has
    0.5 s to spare there and would wait 1 s, so it goes to the first of the idle ones, the third to the other. The last
    would wait 1, 2.25 or 0.75 s, and only the last of these is in time.
    """
    made = stations([2.5] * 4, [1.0, 2.25, 0.75])
    for station, reserve in zip(made, (2.0, 2.25, 0.75), strict=True):
        station.reserve = reserve
    done = Spread(made, [1.0, RARELY, RARELY], 0.0).advance(NEVER, [(0.0, [0, 1, 2, 3], 0)])
    assert done == [(0.75, [2], 2), (1.0, [0], 0), (1.5, [3], 2), (2.25, [1], 1)]


def test_who_is_too_late_for_one_is_not_for_another() -> None:
    """With 0.5 s left nobody is served in time by an idle replica that takes 1 s, but by one that takes 0.25 s."""
    made = stations([0.5], [1.0, 0.25])
    for station, reserve in zip(made, (1.0, 0.25), strict=True):
        station.reserve = reserve
    assert Spread(made, [1.0, RARELY], 0.0).advance(NEVER, [(0.0, [0], 0)]) == [(0.25, [0], 1)]


def test_who_has_no_share_gets_no_request() -> None:
    """Not even one that nobody else serves in time."""
    made = stations([0.5], [1.0, 0.25])
    made[0].reserve = 1.0
    assert Spread(made, [1.0, 0.0], 0.0).advance(NEVER, [(0.0, [0], 0)]) == []
    assert made[0].dropped == [0]


def test_who_cannot_be_served_anywhere_is_dropped_where_its_turn_was() -> None:
    """Five at once with 2.2 s each for two stations of 1 s: one each starts, one each waits 1 s; the fifth would wait
    2 s in either queue and 1.2 s are all it has, so it stays with the first, and is dropped there.
    """
    made = stations([2.2] * 5, [1.0, 1.0])
    for station in made:
        station.reserve = 1.0
    done = Spread(made, [0.5, 0.5], 0.0).advance(NEVER, [(0.0, [0, 1, 2, 3, 4], 0)])
    assert served(done) == [0, 1, 0, 1]
    assert made[0].dropped == made[1].dropped == [4]


def test_only_who_is_ahead_counts() -> None:
    """A request with an earlier deadline than those who wait does not wait for them: it stays with its turn."""
    made = stations([1.9, 9.0, 9.0, 9.0], [1.0, 1.0])
    spread = Spread(made, [1.0, RARELY], 0.0)
    done = spread.advance(NEVER, [(0.0, [1], 0), (0.1, [2], 0), (0.2, [3], 0), (0.3, [0], 0)])
    assert served(done) == [0] * 4
    assert [requests for _, requests, _ in done] == [[1], [0], [2], [3]]


REQUESTS = st.lists(st.tuples(st.sampled_from([0.0, 0.125]) | st.floats(0, 0.6), st.floats(0.5, 4)), max_size=40)


@settings(max_examples=200, deadline=None)
@given(
    REQUESTS,
    st.lists(st.sampled_from([0.25, 0.5, 1.0]), min_size=1, max_size=3),
    st.lists(st.integers(0, 3), min_size=3, max_size=3),
    st.integers(1, 3),
    st.booleans(),
    st.lists(st.floats(0, 20), max_size=6).map(sorted),
)
def test_every_request_leaves_once_and_slices_do_not_matter(
    requests: list[tuple[float, float]],
    seconds: list[float],
    weights: list[int],
    batch: int,
    random: bool,
    cuts: list[float],
) -> None:
    """Any stations, weights, batches and budgets: served or dropped exactly once, none earlier than it came; where time
    is cut, even at every arrival, changes nothing.
    """
    arrivals = np.cumsum([gap for gap, _ in requests])
    deadlines = arrivals + np.array([budget for _, budget in requests])
    order = np.argsort(deadlines, kind="stable")
    moments = [(float(arrivals[place]), x) for x, place in enumerate(order)]
    results = []
    for slices in (cuts, [], arrivals.tolist()):
        made = stations(deadlines[order].tolist(), seconds, batch, random)
        for station, taken in zip(made, seconds, strict=True):
            station.reserve = taken
        spread = Spread(made, weights[: len(seconds)], 0.0)
        done, before = [], 0.0
        for until in [*sorted(set(slices)), NEVER]:
            done += spread.advance(until, [(t, [x], 0) for t, x in sorted(moments) if before <= t < until])
            before = until
        left = [x for _, members, _ in done for x in members] + made[0].dropped
        assert sorted(left) == list(range(len(requests)))
        assert all(ends >= float(arrivals[order[x]]) for ends, members, _ in done for x in members)
        results.append((done, sorted(made[0].dropped)))
    assert results[0] == results[1] == results[2]
