"""One simulated run: its figures, that a seed decides them, and the loads at the edge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ipa_seldon.bootstrap import replay_decisions
from ipa_seldon.config import Config, read_config
from ipa_seldon.errors import ConfigError
from ipa_seldon.experiments.simulate import Scenario, SimulatedRun, figures, flat, mean_cost, repeated, simulate
from ipa_seldon.experiments.statistics import estimate
from ipa_seldon.plan import allocated_cores
from ipa_seldon.simulation.physics import Drop, Physics
from ipa_seldon.simulation.workload import pattern_rates
from tests.test_config import document, write

LATENCY = {"p50", "p95", "p99"}


def config(directory: Path, **spec: Any) -> Config:
    """The documented pipeline with the quickest forecaster, and keys of ``spec`` changed."""
    content = document()
    content["spec"] |= {"forecaster": {"name": "max"}, **spec}
    return read_config(write(directory, content))


def bursty(directory: Path, seed: int = 1, **changes: Any) -> Scenario:
    return Scenario(config(directory), pattern_rates("bursty", 120, 30.0, seed=9), seed, **changes)


def without_time(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "seconds"}


def test_a_seed_decides_every_figure(tmp_path: Path) -> None:
    """The same seed gives the same figures to the last bit, but for the seconds it took; another seed other ones."""
    once, again = (without_time(figures(simulate(bursty(tmp_path)))) for _ in range(2))
    assert once == again
    other = without_time(figures(simulate(bursty(tmp_path, seed=2))))
    assert other["latency"] != once["latency"]
    assert other["requests"] != once["requests"]


def test_repeats_are_runs_of_their_own_seeds(tmp_path: Path) -> None:
    """Three repeats from seed 1 are the runs of seeds 1, 2 and 3."""
    runs = repeated(bursty(tmp_path), 3)
    assert [without_time(run) for run in runs] == [
        without_time(figures(simulate(bursty(tmp_path, seed=seed)))) for seed in (1, 2, 3)
    ]


def test_the_figures_follow_from_the_run(tmp_path: Path) -> None:
    """Counts add up to all requests; latencies, cost and accuracy are those of answers and allocated cores."""
    run = simulate(bursty(tmp_path, physics=Physics(startup=1.0)))
    found = figures(run)
    assert found["requests"] == len(run.answers.arrivals) == found["completed"] + found["late"] + found["dropped"]
    assert found["violation_ratio"] == (found["late"] + found["dropped"]) / found["requests"]
    assert found["decisions"] == 12
    assert set(found["latency"]) == LATENCY
    assert found["latency"]["p99"] == np.percentile(run.answers.latencies, 99)
    assert 0.457 * 0.6975 <= found["accuracy"] <= 0.568 * 0.6975
    # The cost, integrated another way: a thousandth of a second at a time.
    moments, cores = run.allocated
    middles = (np.arange(120_000) + 0.5) / 1000
    at = cores[np.searchsorted(moments, middles, side="right") - 1]
    assert found["mean_cost"] == pytest.approx(at.mean(), rel=1e-3)


def test_cost_stops_with_the_load(tmp_path: Path) -> None:
    """Cores that change after the load's end do not count: 4 for 5 s and 2 for 5 s are 3 on average."""
    run = simulate(bursty(tmp_path))
    steps = (np.array([0.0, 5.0, 30.0]), np.array([4.0, 2.0, 90.0]))
    assert mean_cost(SimulatedRun(run.decisions, run.answers, steps, duration=10.0, seconds=0.0)) == 3.0


def test_the_first_plan_carries_the_peak_of_the_first_interval(tmp_path: Path) -> None:
    """An interval of 2.5 s reaches into the third second, so its burst is planned for; steps are at 2.5, 5, 7.5, 10."""
    rates = np.array([1.0, 1.0, 40.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    run = simulate(Scenario(config(tmp_path, interval=2.5), rates, 0))
    assert [decision.observation.time for decision in run.decisions] == [2.5, 5.0, 7.5, 10.0]
    assert [len(decision.observation.arrivals) for decision in run.decisions] == [2, 5, 7, 10]
    before = run.decisions[0].observation.plan
    calm = simulate(Scenario(config(tmp_path, interval=2.5), np.minimum(rates, 1.0), 0))
    assert allocated_cores(before) > allocated_cores(calm.decisions[0].observation.plan)


@pytest.mark.parametrize(
    ("rates", "decisions"),
    [
        (np.zeros(60), 6),  # no load at all
        (np.array([0.0, 0.0, 3.0]), 0),  # shorter than the interval
        (np.array([0.5]), 0),
        (np.concatenate((np.zeros(30), [2.0], np.zeros(29))), 6),  # hardly a request
    ],
    ids=["nothing", "short", "one second", "few"],
)
def test_loads_at_the_edge(tmp_path: Path, rates: NDArray[np.float64], decisions: int) -> None:
    """Whatever the load, the run ends, every request leaves, and figures that rest on no request are None."""
    found = figures(simulate(Scenario(config(tmp_path), rates, 3)))
    assert found["decisions"] == decisions
    assert found["completed"] + found["late"] + found["dropped"] == found["requests"]
    assert (found["accuracy"] is None) == (found["latency"]["p50"] is None) == (found["requests"] == 0)
    assert found["mean_cost"] >= 2


@pytest.mark.parametrize("drop", Drop)
def test_overload_is_degraded_and_violates(tmp_path: Path, drop: Drop) -> None:
    """Four times what two replicas a stage carry: decisions say degraded, requests are late or dropped; none is dropped
    where nothing drops.
    """
    limited = config(tmp_path, limits={"batch": 8, "replicas": 2, "cores": None})
    found = figures(simulate(Scenario(limited, np.full(60, 120.0), 0, physics=Physics(drop))))
    assert found["degraded"] == found["decisions"] == 6
    assert found["violation_ratio"] > 0.5
    assert (found["dropped"] == 0) == (drop is Drop.NONE)
    if drop is Drop.HOPELESS:
        assert found["late"] < 0.02 * found["requests"]  # who is served at all is in time


@pytest.mark.parametrize(
    ("algorithm", "variant", "accuracy"), [("fa2-low", "yolov5n", 0.457), ("fa2-high", "yolov5s", 0.568)]
)
def test_another_algorithm_is_used_where_one_is_named(
    tmp_path: Path, algorithm: str, variant: str, accuracy: float
) -> None:
    """A baseline keeps its variants from the first second on, whatever the file's algorithm would choose."""
    run = simulate(bursty(tmp_path, algorithm=algorithm))
    assert {d.proposal.plan["crop"][0].variant for d in run.decisions if d.proposal} == {variant}
    assert set(run.answers.accuracy[run.answers.answered].round(6)) == {round(accuracy * 0.6975, 6)}


def test_what_was_decided_follows_from_what_was_observed(tmp_path: Path) -> None:
    """The decisions of a run replay without a difference, damping included: nothing else went into them."""
    damped = config(
        tmp_path,
        damping={"stabilization": 30, "tolerance": 0.1},
        forecaster={"name": "last", "quantile": "none"},
    )
    # The first second is quieter than its rate, so that a plan sized for the rate would show.
    run = simulate(Scenario(damped, np.concatenate(([600.0], np.full(59, 5.0), np.full(60, 40.0))), seed=42))
    assert run.decisions[0].observation.arrivals[0] < 550
    assert figures(run)["switches"] > 1
    assert replay_decisions(damped, "ipa", run.decisions) == []


@pytest.mark.parametrize("rate", [np.inf, np.nan, 1e7])
def test_a_load_beyond_memory_is_refused(tmp_path: Path, rate: float) -> None:
    """More requests than a run holds, or no number of them, is a ConfigError before anything runs."""
    with pytest.raises(ConfigError, match="accepted: up to 10,000,000"):
        simulate(Scenario(config(tmp_path), np.full(60, rate), 0))


def test_figures_are_spread_out() -> None:
    """``latency`` becomes one column a percentile."""
    assert flat({"late": 3, "latency": {"p50": 0.5, "p99": None}}) == {
        "late": 3,
        "latency.p50": 0.5,
        "latency.p99": None,
    }


def test_an_estimate_has_students_interval() -> None:
    """Mean of 1, 2, 3, 4 and its 95 % interval, with the 0.975 quantile of t for 3 degrees of freedom from a table."""
    found = estimate([1.0, 2.0, 3.0, 4.0])
    half = 3.18245 * np.sqrt(5 / 3) / 2
    assert (found.mean, found.low, found.high) == pytest.approx((2.5, 2.5 - half, 2.5 + half), rel=1e-5)
    single = estimate([7.0])
    assert single.mean == 7.0
    assert np.isnan([single.low, single.high]).all()


def test_estimates_cover_the_mean_as_often_as_they_say() -> None:
    """Of 2000 intervals from six normal values each, 95 % hold the true mean, within three standard errors."""
    rng = np.random.default_rng(0)
    made = [estimate(rng.normal(10, 3, 6).tolist()) for _ in range(2000)]
    covered = np.mean([found.low <= 10 <= found.high for found in made])
    assert abs(covered - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 2000)
