"""The simulator: how close to closed forms, how fast, and how a run's time grows. Figures are printed, not asserted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import process_time

import numpy as np
import pytest

from ipa_seldon.config import read_config
from ipa_seldon.experiments.simulate import Scenario, simulate
from ipa_seldon.pipeline import Stage, Variant
from ipa_seldon.plan import Allocation
from ipa_seldon.simulation.workload import pattern_rates
from ipa_seldon.traces import read_trace
from tests.simulation import closed_forms
from tests.simulation.stages import by_capacity, pipeline, simulated

ROOT = Path(__file__).parents[2]
PUBLISHED_LOAD = ROOT / "../shared/data/twitter/bursty.csv"
SPEED = 300_000
"""Requests per second of processor time."""
WINDOW = 2.0
"""Seconds of processor time for 20 minutes with 120 decisions."""
REPLICAS, UTILISATION = 4, 0.8


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line at once."""

    def line(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{text}")

    return line


def bench_closed_forms(tell: Callable[[str], None]) -> None:
    """Mean waits in units of the mean service time, against Erlang C and Pollaczek-Khinchine."""
    tell("queue   utilisation   closed form   simulated    error")
    for queue in closed_forms.QUEUES:
        wait = closed_forms.simulate(queue, seed=0).wait
        error = wait / queue.wait - 1
        tell(f"{queue.name}   {queue.utilisation:11.1f}   {queue.wait:11.4f}   {wait:9.4f}   {error:+6.1%}")


@pytest.mark.parametrize("rate", [20, 1000])
@pytest.mark.parametrize("batch", [1, 2, 4, 8])
def bench_speed(tell: Callable[[str], None], batch: int, rate: int) -> None:
    """Two stages of four replicas at 80 % of what they carry, with random service times."""
    speed = 300_000 / two_stages(300_000, batch, rate)
    tell(f"batch {batch}, {rate:4} requests/s: {speed:9,.0f} simulated/s (bar {SPEED:,})")


@pytest.mark.parametrize(("load", "words"), [(0.8, "80 %"), (1.5, "150 %")])
def bench_set(tell: Callable[[str], None], load: float, words: str) -> None:
    """Five variants that share the load, each by its part of what they carry together; above it, requests look for
    another variant, and are shed.
    """
    seconds = (0.04, 0.08, 0.1, 0.2, 0.26)
    cores = (4, 4, 4, 4, 4)
    rates = np.array(cores) / seconds
    variants = tuple(by_capacity(f"v{k}", taken) for k, taken in enumerate(seconds))
    plan = tuple(
        Allocation(f"v{k}", 1, n, 1, float(rate / rates.sum()))
        for k, (n, rate) in enumerate(zip(cores, rates, strict=True))
    )
    count = 200_000
    arrivals = np.cumsum(np.random.default_rng(0).exponential(1 / (load * rates.sum()), count)).tolist()
    begin = process_time()
    serving = simulated(pipeline([Stage("s", variants)], slo=0.75), arrivals)
    serving.apply({"s": plan})
    serving.finish()
    speed = count / (process_time() - begin)
    missed = 1 - serving.answers().answered.mean()
    tell(f"set of 5 at {words} of what they carry: {speed:9,.0f} simulated/s, {missed:.1%} shed")


def bench_growth(tell: Callable[[str], None]) -> None:
    """The time per request stays the same: a run's time grows with its requests."""
    for count in (100_000, 200_000, 400_000, 800_000):
        tell(f"{count:7,} requests: {1e6 * two_stages(count, batch=4, rate=20) / count:.2f} us each")


@pytest.mark.parametrize("name", ["video", "text"])
def bench_window(tell: Callable[[str], None], name: str) -> None:
    """Twenty minutes of the published bursty load where it is there, else of a like pattern, a decision every 10 s."""
    published = PUBLISHED_LOAD.exists()
    rates = np.array(read_trace(PUBLISHED_LOAD)) if published else pattern_rates("bursty", 1200, 24.0, seed=0)
    config = read_config(ROOT / "manifests/pipelines" / name / "pipeline.yaml")
    spec = config.spec.model_copy(update={"interval": 10.0})
    config = replace(config, document=config.document.model_copy(update={"spec": spec}))
    simulate(Scenario(config, rates[:300], seed=0))  # imports what is imported on use
    begin = process_time()
    run = simulate(Scenario(config, rates, seed=0))
    seconds = process_time() - begin
    deciding = sum(decision.seconds for decision in run.decisions) / run.seconds
    tell(
        f"{name}, {'published' if published else 'pattern'} load, {len(run.answers.arrivals):,} requests, "
        f"{len(run.decisions)} decisions: {seconds:.2f} s (bar {WINDOW:.0f} s), {deciding:.0%} of it deciding"
    )


def two_stages(count: int, batch: int, rate: float) -> float:
    """Seconds of processor time that ``count`` requests take."""
    one = rate / UTILISATION / REPLICAS / float(batch**0.4)  # requests/s of a replica with batches of one

    def throughput(_: int, size: int) -> float:
        return one * float(size**0.4)

    def latency(cores: int, size: int) -> float:
        return 1.3 * size / throughput(cores, size)

    stages = [Stage(name, (Variant("v", 0.5, 1, (1,), latency, throughput),)) for name in ("first", "second")]
    arrivals = np.cumsum(np.random.default_rng(0).exponential(1 / rate, count)).tolist()
    begin = process_time()
    serving = simulated(pipeline(stages, [("first", "second")], slo=100 / one), arrivals)
    serving.apply({stage.name: (Allocation("v", REPLICAS, 1, batch),) for stage in stages})
    serving.finish()
    assert len(serving.answers().latencies) == count
    return process_time() - begin
