"""Requests walk the graph: latencies by hand, fan-out, deadlines, and agreement with a second simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_seldon.pipeline import Pipeline, Stage
from ipa_seldon.simulation.engine import NEVER
from ipa_seldon.simulation.physics import Drop, Physics
from ipa_seldon.simulation.pipeline import Answers, SimulatedPipeline
from tests.simulation.reference import Reference, ReferenceQueue
from tests.simulation.stages import one, pipeline, simulated, variant

SECONDS = {"a": 1.0, "b": 2.0, "c": 4.0, "d": 0.5}
"""What a batch takes at each stage; the accuracies are 0.9, 0.8, 0.7 and 0.6."""


def graph(edges: Sequence[str], slo: float = 1000.0, **rates: float) -> Pipeline:
    """The stages that ``edges`` such as "ab" name, each of one variant of its own name."""
    named = sorted(set("".join(edges)))
    accuracies = dict(zip(SECONDS, (0.9, 0.8, 0.7, 0.6), strict=True))
    stages = [Stage(n, (variant(n, SECONDS[n], accuracies[n]),), rate=rates.get(n, 1.0)) for n in named]
    return pipeline(stages, [(edge[0], edge[1]) for edge in edges], slo)


def answered(made: Pipeline, arrivals: Sequence[float], replicas: int = 20, physics: Physics | None = None) -> Answers:
    """What becomes of requests where every stage runs as many replicas."""
    serving = simulated(made, arrivals, physics)
    serving.apply({stage.name: one(stage.name, replicas) for stage in made.stages})
    serving.finish()
    assert serving.idle
    return serving.answers()


@pytest.mark.parametrize(
    ("edges", "latency", "accuracy"),
    [
        (["ab", "bc"], 1 + 2 + 4, 0.9 * 0.8 * 0.7),  # a chain
        (["ab", "ac"], 1 + 4, 0.9 * 0.8 * 0.7),  # a fork: the slower branch
        (
            ["ab", "ac", "bd", "cd"],
            1 + 4,
            0.9 * 0.8 * 0.7 * 0.6,
        ),  # a diamond: d runs on what b, its first parent, gives
        (["ab", "ac", "cd", "bd"], 1 + 4 + 0.5, 0.9 * 0.8 * 0.7 * 0.6),  # here c is the first
    ],
)
def test_latency_and_accuracy_of_a_graph(edges: list[str], latency: float, accuracy: float) -> None:
    """Requests that meet no queue take the longest path of stages that feed each other, once through every stage."""
    answers = answered(graph(edges), [0.0, 0.25, 3.0])
    assert answers.latencies.tolist() == [latency] * 3
    assert answers.accuracy == pytest.approx([accuracy] * 3)


def test_a_chain_with_queues_by_hand() -> None:
    """One replica each: a gives at 1, 2, 3; b takes 2 s for each and so answers at 3, 5, 7."""
    answers = answered(graph(["ab"]), [0.0, 0.0, 0.0], replicas=1)
    assert answers.finished.tolist() == [3.0, 5.0, 7.0]


def test_a_request_is_done_with_its_last_copy() -> None:
    """Rate 2 at b with one replica: the two copies of each go in turn, and c sees a request once, after both."""
    answers = answered(graph(["ab", "bc"], b=2.0), [0.0, 0.0], replicas=1)
    # b: 1-3, 3-5 for the first, 5-7, 7-9 for the second; c: 5-9 and 9-13.
    assert answers.finished.tolist() == [9.0, 13.0]
    assert answers.accuracy == pytest.approx([0.9 * 0.8 * 0.7] * 2)


def test_copies_that_share_a_batch() -> None:
    """Rate 2 and batches of two: both copies of a request go together, and it moves on once."""
    made = simulated(graph(["ab", "bc"], b=2.0), [0.0])
    made.apply({"a": one("a"), "b": one("b", batch=2), "c": one("c")})
    made.finish()
    assert made.answers().finished.tolist() == [7.0]


@pytest.mark.parametrize("rate", [0.5, 1.7])
def test_a_rate_is_kept_on_average(rate: float) -> None:
    """The last stage takes 4 s a copy on one replica, so the last of 4000 ends tells how many copies there were: rate
    times as many within four standard errors; each has the whole part of the rate, or one more.
    """
    count = 4000
    answers = answered(graph(["ac"], slo=1e9, c=rate), np.zeros(count).tolist(), replicas=1)
    copies = (np.nanmax(answers.finished) - 1) / 4
    assert abs(copies - rate * count) < 4 * math.sqrt(count * (rate % 1) * (1 - rate % 1))
    assert np.all(answers.answered)
    alone = answered(graph(["ac"], slo=1e9, c=rate), [1000.0 * k for k in range(200)], replicas=1)
    allowed = {1 + 4.0 * math.floor(rate), 1 + 4.0 * math.ceil(rate)}
    assert set(np.round(alone.latencies, 6)) == allowed
    # Who passes a stage by is not touched by its accuracy.
    assert set(alone.accuracy.round(6)) == ({0.9, 0.63} if rate < 1 else {0.63})


def test_a_stage_that_is_passed_by_feeds_the_next_at_once() -> None:
    """Rate 0.5 with a batching delay: half the requests skip b's 2 s, and reach c without waiting for a batch."""
    made = simulated(graph(["ab", "bc"], b=0.5), [100.0 * k for k in range(50)])
    made.apply({"a": one("a"), "b": one("b", batch=4), "c": one("c")})
    made.finish()
    # Whoever b serves waits (4 - 1) / (1 replica * 2 requests/s) = 1.5 s for others.
    assert set(np.round(made.answers().latencies, 6)) == {5.0, 8.5}


def test_every_request_has_its_own_budget() -> None:
    """The later of two waiting requests has less time left and goes first; the answers are in order of deadlines."""
    made = simulated(graph(["ab"]), [0.0, 0.1, 0.2], budgets=[10.0, 50.0, 20.0])
    made.apply({"a": one("a"), "b": one("b")})
    made.finish()
    answers = made.answers()
    assert answers.arrivals.tolist() == [0.0, 0.2, 0.1]
    assert answers.deadlines == pytest.approx([10.0, 20.2, 50.1])
    assert answers.finished.tolist() == [3.0, 5.0, 7.0]


@pytest.mark.parametrize(
    ("drop", "finished", "dropped", "late"),
    [
        (Drop.NONE, [3.0, 5.0, 7.0], [0, 0, 0], [0, 0, 1]),
        (Drop.EXPIRED, [3.0, 5.0, 7.0], [0, 0, 0], [0, 0, 1]),
        (Drop.HOPELESS, [3.0, 5.0, math.nan], [0, 0, 1], [0, 0, 0]),
    ],
)
def test_late_and_dropped(drop: Drop, finished: list[float], dropped: list[int], late: list[int]) -> None:
    """SLO 6: b would start at 1, 3 and 5 and take 2 s. The third has a second left at 5: too late, but not expired; who
    has less than half the SLO left there is hopeless, as twice b's 2 s are more than that.
    """
    answers = answered(graph(["ab"], slo=6.0), [0.0, 0.0, 0.0], replicas=1, physics=Physics(drop))
    assert answers.finished.tolist() == pytest.approx(finished, nan_ok=True)
    assert answers.dropped.tolist() == [bool(x) for x in dropped]
    assert answers.late.tolist() == [bool(x) for x in late]
    assert answers.answered.tolist() == [not x for x in dropped]


def test_one_branch_that_drops_drops_the_request() -> None:
    """A fork into b and c: c, slow and with one replica, drops the second request, whatever b answered."""
    made = simulated(graph(["ab", "ac"], slo=6.0), [0.0, 0.0], Physics(Drop.EXPIRED), budgets=[6.0, 4.0])
    made.apply({"a": one("a", 2), "b": one("b", 2), "c": one("c")})
    made.finish()
    assert made.answers().dropped.tolist() == [False, False]
    made = simulated(graph(["ab", "ac"], slo=6.0), [0.0, 0.0], Physics(Drop.EXPIRED), budgets=[4.0, 4.5])
    made.apply({"a": one("a", 2), "b": one("b", 2), "c": one("c")})
    made.finish()
    assert made.answers().dropped.tolist() == [False, True]
    assert made.answers().latencies.tolist() == [5.0]


def test_answers_so_far() -> None:
    """In the middle of a run only what has really ended counts as answered, with every branch: b ends at 3, c at 5."""
    made = simulated(graph(["ab", "ac"]), [0.0])
    made.apply({name: one(name) for name in "abc"})
    for moment in (4.0, 5.0):  # what ends at 5 has not ended before 5
        made.advance(moment)
        assert np.isnan(made.answers().finished).all()
        assert not made.idle
    made.advance(5.1)
    assert made.answers().finished.tolist() == [5.0]
    assert made.idle


def test_remaining_budgets_of_all_who_wait() -> None:
    """Two of three wait at a, one that arrived while a was busy among them: 10 s of budget, 0.5 s of it gone."""
    made = simulated(graph(["ab"], slo=10.0), [0.0, 0.0, 0.25])
    made.apply({"a": one("a"), "b": one("b")})
    made.advance(0.5)
    assert made.remaining() == pytest.approx((9.5, 9.75))


def test_without_a_plan_requests_wait() -> None:
    """Nothing runs before the first plan, nothing is lost, and nothing is allocated."""
    made = simulated(graph(["ab"]), [0.0, 1.0])
    made.advance(5.0)
    assert made.plan == {}
    assert made.allocated()[1].sum() == 0
    made.apply({"a": one("a", 2), "b": one("b", 2)})
    made.finish()
    assert made.answers().finished.tolist() == [8.0, 8.0]


@pytest.mark.parametrize("arrivals", [[], [3.0], [7.0] * 1000])
def test_few_requests_and_many_at_once(arrivals: list[float]) -> None:
    """No request, one, and a thousand at one moment."""
    answers = answered(graph(["ab"]), arrivals)
    assert len(answers.latencies) == len(arrivals)
    # Twenty at a time: a thousand need fifty turns of b, which takes longer than a.
    assert answers.finished.max(initial=0) == {0: 0.0, 1: 6.0, 1000: 7 + 1 + 50 * 2}[len(arrivals)]


def tree(draw: st.DrawFn) -> list[int]:
    """The parent of each stage but the first."""
    return [draw(st.integers(0, k)) for k in range(draw(st.integers(0, 3)))]


@settings(max_examples=200, deadline=None)
@given(
    st.composite(tree)(),
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4), st.sampled_from([0.25, 0.5, 1.0, 1.7])), min_size=4),
    st.lists(st.tuples(st.sampled_from([0.0, 0.25, 1.0]) | st.floats(0, 2), st.floats(0.5, 15)), max_size=40),
    st.sampled_from(Drop),
    st.lists(st.floats(0, 60), max_size=6).map(sorted),
)
def test_it_agrees_with_a_second_simulation(
    parents: list[int],
    shapes: list[tuple[int, int, float]],
    requests: list[tuple[float, float]],
    drop: Drop,
    cuts: list[float],
) -> None:
    """Any tree of stages, budgets, batches and replicas, advanced in any slices: the same ends, the same drops."""
    names = [str(k) for k in range(len(parents) + 1)]
    stages = [Stage(name, (variant(name, shape[2]),)) for name, shape in zip(names, shapes, strict=False)]
    made = pipeline(stages, [(str(parent), str(k + 1)) for k, parent in enumerate(parents)], slo=6.0)
    arrivals = np.cumsum([gap for gap, _ in requests])
    budgets = np.array([budget for _, budget in requests])
    serving = simulated(made, arrivals.tolist(), Physics(drop), budgets.tolist())
    serving.apply({name: one(name, shape[0], batch=shape[1]) for name, shape in zip(names, shapes, strict=False)})
    for until in cuts:
        serving.advance(until)
    serving.finish()

    queues = reference_queues(parents, shapes, drop, slo=6.0)
    order = np.argsort(arrivals + budgets, kind="stable").tolist()
    deadlines = (arrivals + budgets)[order].tolist()
    Reference(queues, deadlines).run(arrivals.tolist(), queues[0], [order.index(k) for k in range(len(order))])
    dropped = set().union(*(queue.dropped for queue in queues))
    leaves = [queue for queue in queues if not queue.followers]
    expected = [math.nan if x in dropped else max(leaf.finished[x] for leaf in leaves) for x in range(len(order))]
    assert_same(serving, expected, dropped)


def reference_queues(
    parents: Sequence[int], shapes: Sequence[tuple[int, int, float]], drop: Drop, slo: float
) -> list[ReferenceQueue]:
    """The second simulation's queues of a tree of stages of (replicas, batch, seconds)."""
    queues: dict[int, ReferenceQueue] = {}
    rests: dict[int, float] = {}
    for k in reversed(range(len(parents) + 1)):
        replicas, batch, seconds = shapes[k]
        children = [child + 1 for child, parent in enumerate(parents) if parent == k]
        rests[k] = min(min(2 * seconds, slo / 2) + max((rests[child] for child in children), default=0.0), slo / 2)
        reserve = {Drop.NONE: -NEVER, Drop.EXPIRED: 0.0, Drop.HOPELESS: rests[k]}[drop]
        delay = (batch - 1) / (replicas * (batch / seconds)) if batch > 1 else 0.0
        means = [0.0, *(size / (size / seconds) for size in range(1, batch + 1))]
        queues[k] = ReferenceQueue(means, batch, delay, reserve, replicas, tuple(queues[child] for child in children))
    return [queues[k] for k in sorted(queues)]


def assert_same(serving: SimulatedPipeline, finished: list[float], dropped: set[int]) -> None:
    answers = serving.answers()
    assert set(np.flatnonzero(answers.dropped)) == dropped
    assert np.array_equal(answers.finished, np.array(finished), equal_nan=True)
    assert serving.idle
