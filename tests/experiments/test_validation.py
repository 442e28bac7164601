"""The comparison of simulated and measured loads, on measurements made up by hand or by the simulator itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from ipa_seldon.errors import ConfigError, PlatformError
from ipa_seldon.experiments.validation import Round, compare, lightest_plan, overhead_of, quiet, services_of
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Allocation
from ipa_seldon.platforms.triton_trace import Execution
from ipa_seldon.queueing import queue_delay
from ipa_seldon.simulation.engine import NEVER, Batch, Batching, Serving, Station
from ipa_seldon.simulation.service import Service
from ipa_seldon.simulation.workload import poisson_arrivals

TIMES: Mapping[str, tuple[float, float]] = {"first": (0.010, 0.016), "second": (0.020, 0.030)}
"""Stage -> seconds of a batch of one and of two."""
OVERHEAD = 0.002
SLO = 5.0


def variant(name: str, seconds: float) -> Variant:
    return Variant(name, 0.5, 1, (1,), lambda _, batch: seconds * batch, lambda *_: 1 / seconds)


def chain() -> Pipeline:
    stages = tuple(Stage(name, (variant("heavy", 1.0), variant("light", 0.01))) for name in TIMES)
    return Pipeline("chain", stages, (tuple(TIMES),), SLO)  # type: ignore[arg-type]


def served(rate: float, seconds: int, others: float = 0.0) -> Round:
    """A load on the chain as simulated stations serve it, in the form of a measured one."""
    due = poisson_arrivals(np.full(seconds, rate), seed=1)
    plan, executions = lightest_plan(chain(), batch=2), []
    coming: list[Batch] = [(float(moment), [place], 0) for place, moment in enumerate(due)]
    for stage, times in TIMES.items():
        came = {place: moment for moment, places, _ in coming for place in places}
        station = Station((due + SLO).tolist(), np.random.default_rng(0))
        delay = queue_delay(chain().stage(stage).variant("light"), plan[stage][0])
        station.serve(Serving(Service([0.0, *times], ()), Batching(2, delay), 1, OVERHEAD), [0.0], 0.0)
        coming = station.advance(NEVER, coming)
        for moment, places, _ in coming:
            ended = moment - OVERHEAD
            queued = tuple(came[place] for place in places)
            executions.append(Execution(stage, tuple(map(str, places)), queued, ended - times[len(places) - 1], ended))
    finished = np.empty(len(due))
    for moment, places, _ in coming:
        finished[places] = moment
    return Round(due, finished - due, executions, others)


@pytest.mark.parametrize("rate", [5.0, 30.0, 50.0])
def test_what_the_simulator_served_it_predicts(rate: float) -> None:
    """Service times, batches, overheads and waits are all found again: without chance in them, exactly, at any load."""
    pipeline = chain()
    (found,) = compare(
        pipeline, lightest_plan(pipeline, batch=2), {rate: [(served(rate, 20), served(rate, 20))]}, seed=3
    )
    assert found.overhead == pytest.approx(2 * OVERHEAD)
    assert found.rate == rate
    assert found.utilisation == pytest.approx(rate * sum(TIMES["second"]) / 3, rel=0.25)
    for quantile in found.latency.values():
        assert quantile.error == pytest.approx(0.0, abs=1e-6)
        assert quantile.noise == 0.0


def test_the_comparison_can_fail() -> None:
    """Where replicas took half as long again as they told, queues are predicted too short; unanswered requests show."""
    pipeline, honest = chain(), served(55.0, 20)
    told = tuple(replace(e, ended=e.began + e.seconds / 1.5) for e in honest.executions)
    latencies = np.where(np.arange(len(honest.due)) % 10, honest.latencies, np.nan)
    slow = replace(honest, executions=told, latencies=latencies)
    (found,) = compare(pipeline, lightest_plan(pipeline, batch=2), {55.0: [(slow, slow)]}, seed=3)
    assert found.latency["p99"].error < -0.1
    assert found.unanswered == pytest.approx(0.1, abs=0.01)


def scaled(load: Round, factor: float, others: float) -> Round:
    return replace(load, latencies=load.latencies * factor, others=others)


def test_disturbed_rounds_do_not_count() -> None:
    """By what other processes took, whatever the latencies; figures are medians over rounds, the noise over pairs."""
    load, pipeline = served(30.0, 4), chain()
    pairs = [
        (scaled(load, 1.0, others=0.1), scaled(load, 3.0, others=0.4)),
        (scaled(load, 9.0, others=0.9), scaled(load, 1.5, others=0.3)),
        (scaled(load, 2.0, others=0.2), scaled(load, 2.0, others=0.8)),
    ]
    (found,) = compare(pipeline, lightest_plan(pipeline, batch=2), {30.0: pairs}, seed=3)
    assert (found.rounds, found.requests) == (3, 3 * len(load.due))
    assert found.others == pytest.approx(0.2)
    for percentile in (50, 99):
        quantile = found.latency[f"p{percentile}"]
        assert quantile.measured == pytest.approx(1.5 * np.percentile(load.latencies, percentile))
        assert quantile.noise == pytest.approx(1.0)  # of 1, 1.43 and 0


@pytest.mark.parametrize(
    ("others", "counted"),
    [
        ((0.0, 0.2, 0.1, 0.9), (0.0, 0.1, 0.2)),
        ((0.3, 0.9, 0.5, 0.0, 0.4), (0.0, 0.3, 0.4)),
        ((0.1, 0.2), (0.1, 0.2)),
    ],
)
def test_every_quiet_round_counts_or_the_quieter_half(others: tuple[float, ...], counted: tuple[float, ...]) -> None:
    """Below a quarter of a core all count; where most are above, half of them (rounded up) do."""
    rounds = [replace(held_back(), others=cores) for cores in others]
    assert tuple(one.others for one in quiet(rounds)) == counted


def held_back() -> Round:
    """Three requests to one stage without batches, then one alone. Each spends 0.25 s on its way there and back; the
    third enters Triton only when the first has left it, since the gateway lets in two.
    """
    times = [(0.25, 0.25, 1.25), (0.5, 1.25, 2.25), (1.75, 2.25, 3.25), (5.25, 5.25, 6.25)]
    executions = tuple(Execution("s", (str(k),), (q,), began, ended) for k, (q, began, ended) in enumerate(times))
    return Round(np.array([0.0, 0.25, 0.5, 5.0]), np.array([1.5, 2.25, 3.0, 1.5]), executions, 0.0)


def test_overhead_is_what_requests_spend_outside_of_stages() -> None:
    """By hand, for the even and the odd seconds: time in the gateway's queue is none of it."""
    plan = {"s": (Allocation("light", 1, 1, 1),)}
    assert [overhead_of(plan, held_back(), parity) for parity in (0, 1)] == [0.5, 0.5]


def test_service_times_are_those_of_their_seconds() -> None:
    """The batches that began in the even seconds, or in the odd ones: what is predicted never predicts itself."""
    load = replace(
        held_back(),
        executions=tuple(Execution("s", ("0",), (0.0,), began, began + began / 10) for began in (1.0, 2.0, 3.0, 6.0)),
    )
    plan = {"s": (Allocation("light", 1, 1, 1),)}
    assert services_of(plan, load, 0)["s", "light"].means == pytest.approx([0.0, 0.4])
    assert services_of(plan, load, 1)["s", "light"].means == pytest.approx([0.0, 0.2])


def test_too_short_a_load_is_refused() -> None:
    """Without a batch, or without a request, in the seconds to learn from, the error says what helps."""
    one_second = replace(held_back(), due=np.zeros(4), executions=held_back().executions[:1])
    plan = {"s": (Allocation("light", 1, 1, 1),)}
    for learn in (services_of, overhead_of):
        with pytest.raises(PlatformError, match="accepted: a longer or a higher load"):
            learn(plan, one_second, 1)


def test_the_plan_is_the_lightest_of_a_chain() -> None:
    """One replica per stage, of the variant that is fastest; a pipeline with branches is refused by name."""
    only = (Allocation("light", 1, 1, 4),)
    assert lightest_plan(chain(), batch=4) == {"first": only, "second": only}
    branches = replace(
        chain(),
        stages=(*chain().stages, Stage("third", (variant("v", 1.0),))),
        edges=(("first", "second"), ("first", "third")),
    )
    with pytest.raises(ConfigError, match="'chain': has branches"):
        lightest_plan(branches, batch=1)
