"""A run over time: every column, recomputed from the run another way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ipa_seldon.experiments.grid import expand, read_experiment
from ipa_seldon.experiments.series import COLUMNS, series, series_seed, write_series
from ipa_seldon.experiments.simulate import Scenario, SimulatedRun, mean_cost, simulate
from tests.experiments.conftest import Workspace


@pytest.fixture
def simulated(workspace: Workspace) -> tuple[Scenario, SimulatedRun]:
    """Two stages of heavy variants that a burst overwhelms: some requests are late or dropped."""
    workspace.change("methods.default", {"algorithm": "fa2-high", "limits": {"replicas": 2}})
    only = {"pipeline": ["two"], "load": ["wild"], "method": ["default"]}
    run = expand(read_experiment(workspace.file), only)[0]
    return run.scenario, simulate(run.scenario)


def test_a_series_adds_up_to_the_run(simulated: tuple[Scenario, SimulatedRun]) -> None:
    """Arrivals, violations and cores of all seconds are those of the run."""
    scenario, run = simulated
    column = dict(zip(COLUMNS, zip(*series(scenario, run), strict=True), strict=True))
    assert column["second"] == tuple(range(60))
    assert sum(column["rps"]) == len(run.answers.arrivals)
    assert sum(column["violations"]) == int(run.answers.late.sum() + run.answers.dropped.sum()) > 0
    assert np.mean(column["cores"]) == pytest.approx(mean_cost(run))


def test_every_second_says_what_held_in_it(simulated: tuple[Scenario, SimulatedRun]) -> None:
    """Forecast and accuracy follow the decisions, the tail the answers of that second."""
    scenario, run = simulated
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in series(scenario, run)]
    assert [row["forecast"] for row in rows[:10]] == [None] * 10
    assert [rows[second]["forecast"] for second in (10, 19, 20, 59)] == [run.decisions[k].rate for k in (0, 0, 1, 4)]
    assert [row["accuracy"] for row in rows] == [pytest.approx(0.9 * 0.9)] * 60
    assert [row["loss"] for row in rows] == [0.0] * 60  # nothing is more accurate
    ends, latencies = run.answers.finished[run.answers.answered], run.answers.latencies
    for second in (0, 17, 59):
        inside = latencies[(ends >= second) & (ends < second + 1)]
        assert rows[second]["p99"] == (pytest.approx(np.percentile(inside, 99)) if len(inside) else None)


def test_the_network_is_the_mean_of_who_came(workspace: Workspace) -> None:
    """Of every second in which a request came; without a network there is none."""
    load = {"pattern": "steady-low", "scale": 4, "duration": "60s", "network": {"pattern": "4g-bus"}, "size": "500KB"}
    workspace.change("loads.far", load)
    workspace.change("simulation", {"drop": "none"})
    for name in ("far", "calm"):
        run = expand(read_experiment(workspace.file), {"pipeline": ["one"], "load": [name], "method": ["fixed"]})[0]
        simulated = simulate(run.scenario)
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in series(run.scenario, simulated)]
        assert len(rows) == 60
        arrivals, spent = simulated.answers.arrivals, 2 - (simulated.answers.deadlines - simulated.answers.arrivals)
        for second, row in enumerate(rows):
            came = spent[arrivals.astype(int) == second]
            known = name == "far" and len(came) > 0
            assert row["network"] == (pytest.approx(came.mean()) if known else None)
        assert {row["rps"] == 0 for row in rows} == {True, False}


def test_the_loss_is_what_lacks_of_the_most_accurate(workspace: Workspace) -> None:
    """Light variants at both stages, where heavy ones are more accurate."""
    run = expand(read_experiment(workspace.file), {"pipeline": ["two"], "load": ["calm"], "method": ["fixed"]})[0]
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in series(run.scenario, simulate(run.scenario))]
    assert [row["loss"] for row in rows] == [pytest.approx(0.9**2 - 0.6**2)] * 60


def test_a_file_knows_its_seed(simulated: tuple[Scenario, SimulatedRun], tmp_path: Path) -> None:
    """What was written tells which run it was; anything else tells nothing."""
    scenario, run = simulated
    path = tmp_path / "deep" / "one.csv"
    assert series_seed(path) is None
    write_series(path, series(scenario, run))
    assert series_seed(path) == scenario.seed == 0
    path.write_text("second\n")
    assert series_seed(path) is None
