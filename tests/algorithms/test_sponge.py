"""Sponge: the formulas by brute force, deadlines kept in a replay, overload, replicas that take time to start."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import re
from collections.abc import Sequence
from math import ceil, floor, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from ipa_seldon.algorithms import Settings, SpongeSettings
from ipa_seldon.algorithms.sponge import Sponge, sponge, sponge_hv, sponge_published
from ipa_seldon.bootstrap import build_solver
from ipa_seldon.errors import ConfigError
from ipa_seldon.latency_model import LatencyModel
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Allocation, Observation, Plan, Proposal, Status, plan_to_json
from tests.factories import random_pipeline

YOLO = LatencyModel(gamma=0.14044, epsilon=-0.05084, delta=0.02524, eta=0.02214)
"""The published fit of yolov5s."""
POINTS = {(c, b): YOLO(c, b) for c in (1, 2, 4, 8, 16) for b in (1, 2, 4, 8)}


def variant(name: str = "yolov5s") -> Variant:
    def throughput(cores: int, batch: int) -> float:
        return batch / YOLO(cores, batch)

    return Variant(name, 0.568, 1, (1, 2, 4, 8, 16), YOLO, throughput, load_time=6.2, points=POINTS)


SERVICE = Pipeline("service", (Stage("yolo", (variant(),), max_replicas=8),), (), slo=1.0, max_batch=16)


def seen(
    queue: Sequence[float] = (), budgets: Sequence[float] = (), plan: Plan | None = None, ready: int | None = None
) -> Observation:
    starting = {} if ready is None else {"yolo": ready}
    return Observation(0.0, (), plan or {}, tuple(queue), tuple(budgets), starting)


def runs(replicas: int, cores: int, batch: int) -> Plan:
    return {"yolo": (Allocation("yolov5s", replicas, cores, batch),)}


def size(proposal: Proposal) -> tuple[int, int, int]:
    """Replicas, cores and batch."""
    ((allocation,),) = proposal.plan.values()
    return allocation.replicas, allocation.cores, allocation.batch


def chosen(solver: str = "auto", **fields: float) -> Settings:
    return Settings(build_solver(solver), sponge=SpongeSettings(**fields))  # type: ignore[arg-type]  # fields by name


def by_the_formulas(rate: float, queue: Sequence[float], budgets: Sequence[float], weight: float) -> Plan | None:
    """The first of all sizes, by objective, cores, batch, that keeps every deadline; shares no code with Sponge."""
    least = min((b for b in budgets if b >= 2 * YOLO(16, 1)), default=max(budgets, default=1.0))
    least = min(least, 1.0)
    saved = sorted(remaining for remaining in queue if remaining >= YOLO(16, 1))
    sizes = itertools.product(range(1, 17), range(1, 17))
    for cores, batch in sorted(sizes, key=lambda pair: (round(pair[0] + weight * pair[1], 9), *pair)):
        seconds = YOLO(cores, batch)
        ends = [
            (floor((i + ceil(rate * max(0.0, remaining - least) - 1e-9)) / batch) + 1) * seconds
            for i, remaining in enumerate(saved)
        ]
        in_time = all(end <= remaining + 1e-9 for end, remaining in zip(ends, saved, strict=True))
        for come, due in ((0, least), (ceil(rate + 2 * sqrt(rate) - 1e-9), least + 1.0)):  # now, and a burst in 1 s
            before = sum(remaining <= due for remaining in saved) + come
            in_time = in_time and (1 + floor(before / batch) + 1) * seconds <= due + 1e-9
        if in_time and batch / seconds >= rate - 1e-9:
            return runs(1, cores, batch)
    return None


queues = st.lists(st.floats(-0.2, 1.0), max_size=25)
arrivals = st.lists(st.floats(-0.2, 1.2), max_size=10)


@examples(max_examples=250, deadline=None, derandomize=True)
@given(rate=st.floats(0, 35), queue=queues, budgets=arrivals, weight=st.sampled_from([0.0, 0.001, 0.5, 1.0]))
def test_the_plan_is_that_of_the_formulas(rate: float, queue: list[float], budgets: list[float], weight: float) -> None:
    """The least cores + weight * batch that keeps every deadline, of equals the fewest cores, then the least batch."""
    proposal = sponge(SERVICE, chosen(batch_weight=weight)).decide(rate, seen(queue, budgets))
    expected = by_the_formulas(rate, queue, budgets, weight)
    assert (proposal.status is Status.OPTIMAL) == (expected is not None)
    if expected is not None:
        _, cores, batch = size(proposal)
        assert proposal.plan == expected
        assert proposal.objective == pytest.approx(-(cores + weight * batch))


@pytest.mark.parametrize("solver", ["highs", "gurobi"])
def test_solvers_give_the_same_plans(solver: str) -> None:
    """Over queues and loads of every kind, one pod and several."""
    if solver == "gurobi":
        pytest.importorskip("gurobipy")
    for make in (sponge, sponge_hv, sponge_published):
        rng = np.random.default_rng(3)
        ours, theirs = make(SERVICE, chosen()), make(SERVICE, chosen(solver))
        for _ in range(15):
            queue, budgets = (rng.uniform(0.02, 1, int(rng.integers(0, 30))).tolist() for _ in range(2))
            observation = seen(queue, budgets, runs(2, 4, 4))
            rate = float(rng.uniform(0, 40))
            assert ours.decide(rate, observation).plan == theirs.decide(rate, observation).plan


def lateness(
    algorithm: Sponge, plan: Plan, rate: float, queue: Sequence[float], budgets: Sequence[float]
) -> tuple[float, float]:
    """The most that a queued request, and one that arrives, is late (seconds, at least 0) when the pod of ``plan``
    serves ``queue`` and four seconds of even arrivals with these ``budgets`` in turn: earliest deadline first, in
    batches as they come, each as long as the model says of a full one.
    """
    ((allocation,),) = plan.values()
    coming = [(0.0, remaining, 0) for remaining in queue]
    coming += [(j / rate, j / rate + budgets[j % len(budgets)], 1) for j in range(1, int(4 * rate))]
    waiting: list[tuple[float, int]] = []
    late, now, nth = [0.0, 0.0], 0.0, 0
    while nth < len(coming) or waiting:
        now = max(now, coming[nth][0]) if not waiting else now
        while nth < len(coming) and coming[nth][0] <= now + 1e-12:
            heapq.heappush(waiting, coming[nth][1:])
            nth += 1
        batch = [heapq.heappop(waiting) for _ in range(min(allocation.batch, len(waiting)))]
        now += algorithm.fit.model(allocation.cores, allocation.batch)
        for deadline, kind in batch:
            late[kind] = max(late[kind], now - deadline - 1e-6)
    return late[0], late[1]


@examples(max_examples=300, deadline=None, derandomize=True)
@given(
    rate=st.floats(1, 26),
    queue=st.lists(st.floats(0.05, 1.0), max_size=20),
    budgets=st.lists(st.floats(0.2, 1.0), min_size=1, max_size=10),
)
def test_an_optimal_plan_keeps_deadlines(rate: float, queue: list[float], budgets: list[float]) -> None:
    """In a replay in which requests go on arriving with the budgets that they had lately, no queued request that could
    be saved is late, however tight the plan, and none that arrives by as much as a batch takes.
    """
    algorithm = sponge(SERVICE, chosen())
    proposal = algorithm.decide(rate, seen(queue, budgets))
    if proposal.status is Status.OPTIMAL:
        savable = [remaining for remaining in queue if remaining >= algorithm.fit.model(16, 1)]
        queued, arriving = lateness(algorithm, proposal.plan, rate, savable, budgets)
        _, cores, batch = size(proposal)
        assert queued == 0
        assert arriving < algorithm.fit.model(cores, batch)


def test_few_arrivals_are_late_at_all() -> None:
    """Of 800 seeded queues and loads, fewer than one plan in a hundred lets an arrival be late."""
    algorithm, rng = sponge(SERVICE, chosen()), np.random.default_rng(7)
    late = []
    for _ in range(800):
        rate, queue = float(rng.uniform(1, 26)), rng.uniform(0.06, 1, int(rng.integers(0, 20))).tolist()
        budgets = rng.uniform(0.2, 1, 8).tolist()
        proposal = algorithm.decide(rate, seen(queue, budgets))
        if proposal.status is Status.OPTIMAL:
            late.append(lateness(algorithm, proposal.plan, rate, queue, budgets)[1] > 0)
    assert len(late) > 200
    assert sum(late) < 0.01 * len(late)


def most_saved(queue: Sequence[float], batch: int, seconds: float) -> int:
    """The most of a queue that any choice of requests saves, by trying them all."""
    ordered = sorted(queue)
    return max(
        len(kept)
        for count in range(len(ordered) + 1)
        for kept in itertools.combinations(ordered, count)
        if all((i // batch + 1) * seconds <= remaining + 1e-9 for i, remaining in enumerate(kept))
    )


@examples(max_examples=60, deadline=None, derandomize=True)
@given(queue=st.lists(st.floats(0.06, 0.6), min_size=1, max_size=9), rate=st.floats(0, 60))
def test_overload_takes_all_cores_and_says_what_is_saved(queue: list[float], rate: float) -> None:
    """As many of the queued requests as any choice of them can be at that batch; with nothing to come, no batch saves
    more.
    """
    crowd = [0.06] * 4 + queue
    proposal = sponge(SERVICE, chosen()).decide(rate, seen(crowd))
    assert proposal.status is Status.DEGRADED
    replicas, cores, batch = size(proposal)
    assert (replicas, cores) == (1, 16)
    savable = [remaining for remaining in crowd if remaining >= YOLO(16, 1)]
    count = most_saved(savable, batch, YOLO(16, batch))
    assert f"; {count} of {len(savable)} queued requests can be saved" in proposal.reason
    if rate == 0:
        assert count == max(most_saved(savable, b, YOLO(16, b)) for b in range(1, 17))


def test_overload_takes_the_batch_that_carries_most_in_time() -> None:
    """Nothing is queued, twice as much arrives as 16 cores carry: larger batches serve more, smaller ones leave more
    of it in time; the best of both, by the budgets of all arrivals.
    """
    for budgets in ([1.0], [0.4, 0.4, 1.0], [0.2]):
        _, _, batch = size(sponge(SERVICE, chosen()).decide(60.0, seen([], budgets)))

        def in_time(b: int, budgets: list[float] = budgets) -> float:
            seconds = YOLO(16, b)
            return b / seconds * sum(min(max(x / seconds - 1, 0), 1) for x in budgets)

        assert in_time(batch) == pytest.approx(max(map(in_time, range(1, 17))))


def test_hopeless_requests_are_shed_and_counted() -> None:
    """What not even all cores can save changes no plan; how many there are is in the explanation, and where there is
    overload in its reason.
    """
    algorithm = sponge(SERVICE, chosen())
    assert YOLO(16, 1) == pytest.approx(0.053, abs=1e-3)
    alone, crowded = (algorithm.decide(10.0, seen(queue)) for queue in ([0.4, 0.5], [0.4, 0.01, -3.0, 0.5, 0.05]))
    assert crowded.plan == alone.plan
    assert (crowded.status, crowded.reason) == (Status.OPTIMAL, "")
    assert (crowded.why["queued"], crowded.why["hopeless"]) == (5, 3)
    overload = algorithm.decide(10.0, seen([0.06, 0.06, 0.01]))
    assert overload.reason.endswith("1 of 2 queued requests can be saved; past saving: 1")


def test_a_queue_takes_more_cores_and_gives_them_back() -> None:
    """Carry-over is served by more cores in place; once it is gone they go as well."""
    algorithm = sponge(SERVICE, chosen())
    calm, crowd, after = (algorithm.decide(10.0, seen(queue)) for queue in ([], [0.35] * 8, []))
    assert size(crowd)[1] > size(calm)[1]
    assert after.plan == calm.plan


def test_a_burst_until_the_next_decision_has_room() -> None:
    """Requests with 0.4 s left take more cores than the load alone, the more the rarer the burst that is to be served
    until the next decision; where that is near, few can come, and it is the load that binds.
    """

    def decided(**fields: float) -> Proposal:
        return sponge(SERVICE, chosen("auto", **fields)).decide(16.0, seen([], [0.4]))

    plans = [decided(burst=burst) for burst in (0.0, 1.0, 2.0, 3.0)]
    assert [size(proposal)[1] for proposal in plans] == [5, 5, 9, 13]
    assert [proposal.why["binding"] for proposal in plans] == ["load", "burst", "burst", "burst"]
    assert decided(interval=0.1).plan == plans[0].plan
    overwhelmed = sponge(SERVICE, chosen()).evaluate(runs(1, 4, 6), 16.0)
    assert overwhelmed is not None
    assert re.fullmatch(r"a burst until the next decision takes [\d.]+ s of 2 s", overwhelmed.reason)


def test_late_networks_take_more_cores() -> None:
    """The least budget counts, however few have it, unless nothing could be promised to it; more than the SLO counts as
    the SLO.
    """
    algorithm = sponge(SERVICE, chosen())
    full, late, hopeless, generous = (
        algorithm.decide(10.0, seen([], budgets)) for budgets in ([], [0.9, 0.15, 0.9], [1.0, 0.08, -1.0], [5.0])
    )
    assert size(late)[1] > size(full)[1]
    assert late.latency <= 0.15
    assert hopeless.plan == generous.plan == full.plan
    lost = algorithm.decide(10.0, seen([], [0.08, -1.0]))
    assert lost.status is Status.DEGRADED
    assert lost.why["binding"] == "slo"


@pytest.mark.parametrize(
    ("rate", "queue", "binding"), [(0.0, [], "none"), (20.0, [], "load"), (10.0, [0.3] * 6, "queue")]
)
def test_why_names_what_binds(rate: float, queue: list[float], binding: str) -> None:
    """What the nearest better plan would break; the runner-up keeps every deadline for more."""
    proposal = sponge(SERVICE, chosen()).decide(rate, seen(queue))
    assert proposal.why["binding"] == binding
    (second,) = proposal.why["runner_up"]["yolo"]
    assert -(second["cores"] + 0.001 * second["batch"]) <= proposal.objective


def test_the_limits_hold() -> None:
    """Cores up to the budget or the settings', whichever is less; batches up to the limit."""
    for pipeline, settings in (
        (dataclasses.replace(SERVICE, cores=5, max_batch=3), chosen()),
        (dataclasses.replace(SERVICE, max_batch=3), chosen(cores=5)),
    ):
        assert size(sponge(pipeline, settings).decide(1000.0, seen()))[:2] == (1, 5)
        assert max(size(sponge(pipeline, settings).decide(rate, seen()))[2] for rate in range(40)) == 3


@examples(max_examples=100, deadline=None, derandomize=True)
@given(rate=st.floats(0, 40), budgets=arrivals)
def test_the_published_loop(rate: float, budgets: list[float]) -> None:
    """The first size, cheapest first, with ceil(lambda / b) * l(b, c) + cl_max <= 0.9 * SLO, whatever is queued."""
    network = 1 - min(budgets, default=1.0)
    sizes = sorted(itertools.product(range(1, 17), range(1, 17)), key=lambda pair: pair[0] + 0.001 * pair[1])
    expected = [(c, b) for c, b in sizes if ceil(rate / b - 1e-9) * YOLO(c, b) + network <= 0.9 + 1e-9]
    proposal = sponge_published(SERVICE, chosen()).decide(rate, seen([0.06] * 9, budgets))
    assert (proposal.status is Status.OPTIMAL) == bool(expected)
    if expected:
        assert size(proposal) == (1, *expected[0])


def test_load_within_reach_is_carried_in_place() -> None:
    """One pod grows to all its cores before another is added."""
    algorithm = sponge_hv(SERVICE, chosen())
    plan: Plan = {}
    for rate in (1.0, 10.0, 20.0, 27.0, 10.0, 1.0):
        proposal = algorithm.decide(rate, seen(plan=plan))
        assert proposal.status is Status.OPTIMAL
        assert size(proposal)[0] == 1
        assert proposal.plan == sponge(SERVICE, chosen()).decide(rate, seen()).plan
        plan = proposal.plan


def test_replicas_are_added_where_one_is_not_enough() -> None:
    """All cores at once, and the fewest replicas that will do; degraded until they are ready; then in place to the
    fewest cores for so many.
    """
    algorithm = sponge_hv(SERVICE, chosen())
    growing = algorithm.decide(50.0, seen(plan=runs(1, 8, 4)))
    replicas, cores, _ = size(growing)
    assert (growing.status, replicas, cores) == (Status.DEGRADED, 2, 16)
    assert growing.reason.endswith("; ready: 1 of 2 replicas")
    waiting = algorithm.decide(50.0, seen(plan=growing.plan, ready=1))
    assert (waiting.status, waiting.plan) == (Status.DEGRADED, growing.plan)
    ready = algorithm.decide(50.0, seen(plan=growing.plan, ready=2))
    assert ready.status is Status.OPTIMAL
    assert size(ready)[0] == 2
    assert 8 <= size(ready)[1] < 16


def test_starting_replicas_serve_nothing() -> None:
    """While one of two is ready, plans are those of one pod for queue and load, on both: nothing is taken back."""
    one, two = sponge(SERVICE, chosen()), sponge_hv(SERVICE, chosen())
    assert size(two.decide(40.0, seen(plan=runs(1, 16, 8))))[0] == 2
    for queue in ([], [0.4] * 5):
        alone = one.decide(15.0, seen(queue))
        beside = two.decide(15.0, seen(queue, plan=runs(2, 16, 8), ready=1))
        assert beside.status is Status.OPTIMAL
        assert size(beside) == (2, *size(alone)[1:])


def test_shrinking_is_in_place_first() -> None:
    """Cores go at once, a replica once so many decisions in a row had no use for it; a burst between starts the count
    again.
    """
    algorithm = sponge_hv(SERVICE, chosen(scale_down_after=3))
    plan: Plan = runs(2, 16, 8)
    counts, cores = [], []
    for rate in (45.0, 4.0, 4.0, 45.0, 4.0, 4.0, 4.0, 4.0):
        proposal = algorithm.decide(rate, seen(plan=plan))
        assert proposal.status is Status.OPTIMAL
        plan = proposal.plan
        counts.append(size(proposal)[0])
        cores.append(size(proposal)[1])
    assert counts == [2, 2, 2, 2, 2, 2, 1, 1]
    assert cores[1] < cores[0]


def test_shrinking_waits_until_decisions_agree() -> None:
    """With ``shrink_after`` a cheaper plan is held back until so many decisions in a row would have it, those of a log
    too; growing is at once, and what no longer keeps its promises is not held.
    """
    settings, large = chosen(shrink_after=3), runs(1, 16, 8)
    algorithm = sponge(SERVICE, settings)
    small = algorithm.decide(4.0, seen()).plan
    decided = [algorithm.decide(4.0, seen(plan=large)) for _ in range(3)]
    assert [proposal.plan for proposal in decided] == [large, large, small]
    assert [proposal.held for proposal in decided] == [True, True, False]
    assert decided[0].why["held_back"] == plan_to_json(small)
    assert decided[1].reason == "2 of 3 decisions in a row agree on less"
    again = sponge(SERVICE, settings)
    for proposal in decided[:2]:
        again.remember(4.0, seen(plan=large), proposal)
    assert again.decide(4.0, seen(plan=large)) == decided[2]
    assert algorithm.decide(4.0, seen(plan=large)).held
    assert not algorithm.decide(40.0, seen(plan=runs(1, 4, 4))).held
    counts_anew = [algorithm.decide(4.0, seen(plan=large)).held for _ in range(3)]
    assert counts_anew == [True, True, False]


def test_replicas_stay_within_their_limits() -> None:
    """The stage's most replicas, and the budget over all of them; more load is degraded, not more pods."""
    limited = dataclasses.replace(SERVICE, cores=24)
    assert size(sponge_hv(SERVICE, chosen()).decide(1e4, seen()))[:2] == (8, 16)
    for rate in (40.0, 100.0, 1e4):
        replicas, cores, _ = size(sponge_hv(limited, chosen()).decide(rate, seen()))
        assert replicas * cores <= 24


def test_requests_without_a_chance_add_no_replicas() -> None:
    """Where arrivals have less time than a batch takes, more pods would not help."""
    proposal = sponge_hv(SERVICE, chosen()).decide(20.0, seen([], [0.03], runs(1, 8, 4)))
    assert proposal.status is Status.DEGRADED
    assert size(proposal)[:2] == (1, 16)


def test_keeping_a_plan_has_a_worth() -> None:
    """At an empty queue; degraded where it does not carry the load or a batch takes too long; other plans have none."""
    algorithm = sponge_hv(SERVICE, chosen())
    kept, overloaded, slow = (
        algorithm.evaluate(plan, rate)
        for plan, rate in ((runs(2, 4, 4), 20.0), (runs(1, 4, 4), 30.0), (runs(1, 1, 8), 1.0))
    )
    assert kept is not None
    assert (kept.status, kept.cost) == (Status.OPTIMAL, 8)
    assert kept.served == pytest.approx(2 * 4 / YOLO(4, 4), rel=1e-6)
    assert overloaded is not None
    assert re.fullmatch(r"[\d.]+ of 30 requests/s are carried", overloaded.reason)
    assert slow is not None
    assert re.fullmatch(r"arrivals take [\d.]+ s of 1 s", slow.reason)
    for other in ({}, runs(9, 1, 1), runs(1, 17, 1), {"yolo": (Allocation("other", 1, 1, 1),)}):
        assert algorithm.evaluate(other, 1.0) is None


def test_what_cannot_be_served_is_refused() -> None:
    """Several stages, several variants without a name, a name that is none, a profile that does not fit: one line."""
    with pytest.raises(ConfigError, match=r"spec\.graph: s0, s1: accepted: one stage"):
        sponge(random_pipeline(1, stages=2), chosen())
    two = dataclasses.replace(SERVICE, stages=(Stage("yolo", (variant("one"), variant("two"))),))
    with pytest.raises(ConfigError, match=r"spec\.sponge\.variant: None: accepted: one, two"):
        sponge(two, chosen())
    with pytest.raises(ConfigError, match=r"spec\.sponge\.variant: three: accepted: one, two"):
        sponge(two, Settings(build_solver("auto"), sponge=SpongeSettings(variant="three")))
    named = sponge(two, Settings(build_solver("auto"), sponge=SpongeSettings(variant="two")))
    assert named.decide(1.0, seen()).plan["yolo"][0].variant == "two"
    for points, problem in (
        ({(1, 1): 0.1}, "too few points"),
        ({at: 0.1 + 0.5 * (sum(at) % 2) for at in POINTS}, r"fits what was measured with R2"),
    ):
        stage = Stage("yolo", (dataclasses.replace(variant(), points=points),))
        with pytest.raises(ConfigError, match=rf"spec\.profile: variant yolov5s: .*{problem}"):
            sponge(dataclasses.replace(SERVICE, stages=(stage,)), chosen())
