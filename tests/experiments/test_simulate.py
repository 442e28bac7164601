"""One simulated run: its figures, that a seed decides them, and the loads at the edge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ipa_seldon.bootstrap import replay_decisions
from ipa_seldon.config import Config, read_config
from ipa_seldon.errors import ConfigError
from ipa_seldon.experiments.simulate import (
    Scenario,
    SimulatedRun,
    figures,
    flat,
    mean_cost,
    quickest,
    repeated,
    simulate,
)
from ipa_seldon.experiments.statistics import estimate
from ipa_seldon.plan import allocated_cores
from ipa_seldon.simulation.network import Network, sizes_of
from ipa_seldon.simulation.physics import Drop, Physics
from ipa_seldon.simulation.workload import pattern_rates, poisson_arrivals
from tests.test_config import document, document_of_a_service, write

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


def over_a_network(directory: Path, drop: Drop = Drop.HOPELESS) -> Scenario:
    """Requests of half a second, and one in four of longer than the SLO, on a network of 100 KB/s."""
    network = Network(np.array([100e3]), sizes_of("50KB:3,700KB"))
    return Scenario(config(directory), np.full(60, 8.0), 5, physics=Physics(drop), network=network)


def test_a_network_takes_from_the_budgets(tmp_path: Path) -> None:
    """Requests come later, with what is left of 6.89 s to the deadlines they had when they were sent; their latency
    counts from when they come. The figures tell the seconds on the network, and who was lost on it.
    """
    scenario = over_a_network(tmp_path)
    run = simulate(scenario)
    answers = run.answers
    sent = poisson_arrivals(scenario.rates, 5)
    assert answers.deadlines == pytest.approx(sent + 6.89)
    assert set(np.round(answers.arrivals - sent, 6)) == {0.5, 7.0}
    found = figures(run)
    gone = int((np.round(answers.arrivals - sent, 6) == 7.0).sum())
    assert found["network"] == {
        "mean": pytest.approx((answers.arrivals - sent).mean()),
        "max": pytest.approx(7.0),
        "lost": gone,
    }
    assert 0.15 * len(sent) < gone < 0.35 * len(sent)
    assert answers.dropped[answers.arrivals > answers.deadlines].all()
    violations = found["late"] + found["dropped"] - gone
    assert found["avoidable_ratio"] == pytest.approx(violations / (len(sent) - gone))
    assert found["latency"]["p50"] == np.percentile((answers.finished - answers.arrivals)[answers.answered], 50)
    assert without_time(found) == without_time(figures(simulate(scenario)))


def test_who_is_lost_on_the_network_is_late_where_nothing_drops(tmp_path: Path) -> None:
    """A request that comes after its deadline is a violation whether it is served or not."""
    run = simulate(over_a_network(tmp_path, Drop.NONE))
    gone = run.answers.arrivals > run.answers.deadlines
    assert gone.any()
    assert run.answers.late[gone].all()
    assert not run.answers.dropped.any()


def test_who_comes_with_less_than_serving_takes_is_lost(tmp_path: Path) -> None:
    """The quickest crop takes 1 / 15.1 s, the quickest classification 1 / 17.7 s: with 0.1 s left nothing could be
    done, with 0.2 s it could.
    """
    at_best = 1 / 15.1 + 1 / 17.7
    assert quickest(config(tmp_path).pipeline) == pytest.approx(at_best)
    for left, lost in ((0.1, True), (0.2, False)):
        network = Network(np.array([100e3]), sizes_of(f"{100e3 * (6.89 - left):.0f}B"))
        scenario = Scenario(config(tmp_path), np.full(60, 1.0), 5, physics=Physics(Drop.EXPIRED), network=network)
        found = figures(simulate(scenario))
        assert found["network"]["lost"] == (found["requests"] if lost else 0)
        assert found["violation_ratio"] > 0
        assert found["avoidable_ratio"] == (0.0 if lost else found["violation_ratio"])


METHODS = ("sponge", "sponge-hv", "sponge-published", "fa2", "vpa", "static-8", "static-16")


def service(directory: Path, algorithm: str, rate: float, **simulation: Any) -> Scenario:
    """Sponge's service over a network that is good for 30 s and bad for 30 s, at a rate (requests/s)."""
    content = document_of_a_service()
    content["spec"] |= {"algorithm": algorithm, "interval": "1s", "forecaster": {"name": "max", "window": "15s"}}
    content["spec"]["forecaster"] |= {"aggregate": "5s", "horizon": "5s", "resolution": "5s", "quantile": "none"}
    content["spec"]["stages"]["yolo"]["variants"]["yolov5s"]["load_time"] = "6s"
    network = Network(np.repeat([4e6, 1e6], 30), sizes_of("200KB,500KB"))
    made = read_config(write(directory, content))
    return Scenario(made, np.full(120, rate), 1, physics=Physics(Drop.EXPIRED, **simulation), network=network)


@pytest.mark.parametrize("algorithm", METHODS)
def test_every_method_serves_requests_with_deadlines(tmp_path: Path, algorithm: str) -> None:
    """Every request leaves, decisions never fail and follow from what was observed, the seed decides all; cores change
    in place: nothing runs beside the one pod of those that have one.
    """
    scenario = service(tmp_path, algorithm, 15.0, resize=0.1)
    run = simulate(scenario)
    found = figures(run)
    assert found["completed"] + found["late"] + found["dropped"] == found["requests"]
    assert (found["failed"], found["decisions"]) == (0, 120)
    assert found["violation_ratio"] < 0.1
    assert without_time(found) == without_time(figures(simulate(scenario)))
    assert replay_decisions(scenario.config, algorithm, run.decisions) == []
    if algorithm != "fa2":
        assert run.allocated[1].max() <= 16
    if algorithm.startswith("static"):
        assert set(run.allocated[1]) == {float(algorithm.removeprefix("static-"))}


def test_sponge_grows_where_the_network_is_bad(tmp_path: Path) -> None:
    """On the bad network it holds more cores than on the good one; budgets are observed, and few requests are late that
    could have been in time.
    """
    run = simulate(service(tmp_path, "sponge", 15.0))
    moments, cores = run.allocated
    middles = np.arange(120) + 0.5
    held = cores[np.searchsorted(moments, middles, side="right") - 1]
    bad = (middles % 60 > 36) & (middles % 60 < 58)
    good = (middles % 60 > 6) & (middles % 60 < 28)
    assert held[bad].mean() > 1.3 * held[good].mean()
    least = [min(decision.observation.budgets) for decision in run.decisions[10:]]
    assert min(least) == pytest.approx(0.5, abs=0.05)
    assert max(least) == pytest.approx(0.875, abs=0.05)
    assert figures(run)["avoidable_ratio"] < 0.01


def test_more_than_one_pod_carries_takes_replicas(tmp_path: Path) -> None:
    """At 45 requests/s one pod of 16 cores serves fewer than most in time; sponge-hv adds one and serves nearly all."""
    one, several = (figures(simulate(service(tmp_path, name, 45.0))) for name in ("sponge", "sponge-hv"))
    assert one["violation_ratio"] > 0.5
    assert several["avoidable_ratio"] < 0.1
    assert several["mean_cost"] > 16


def test_a_named_algorithm_brings_its_deadlines(tmp_path: Path) -> None:
    """Sponge in place of the file's FA2 is the same as in the file: cores in place, budgets observed."""
    named = replace(service(tmp_path, "fa2", 15.0), algorithm="sponge")
    written = service(tmp_path, "sponge", 15.0)
    assert without_time(figures(simulate(named))) == without_time(figures(simulate(written)))


def test_a_network_without_requests_has_no_figures(tmp_path: Path) -> None:
    """Nothing was on it, nothing was lost."""
    network = Network(np.array([1e6]), sizes_of("200KB"))
    found = figures(simulate(Scenario(config(tmp_path), np.zeros(20), 0, network=network)))
    assert found["network"] == {"mean": None, "max": None, "lost": 0}


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
