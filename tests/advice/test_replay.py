"""A recorded load in the simulator: what ran, what would have, and what nobody measured."""

from __future__ import annotations

from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np
import pytest

from ipa_seldon.advice import replay as module
from ipa_seldon.advice.recording import Recording
from ipa_seldon.advice.replay import Case, RecordedPlatform, replay
from ipa_seldon.errors import ConfigError, PlatformError
from ipa_seldon.plan import Allocation
from ipa_seldon.simulation.workload import Floats
from tests.advice.logs import START, light, toy_config


def case(directory: Path, rates: Floats, **changes: object) -> Case:
    """The toy pipeline over those rates."""
    return replace(Case("toy", toy_config(directory), Recording(START, rates)), **changes)  # type: ignore[arg-type]


def test_an_algorithm_is_followed(tmp_path: Path) -> None:
    """It decides every second, and carries a load that doubles; the figures add up, and a seed repeats them."""
    rates = np.repeat([70.0, 140.0], 30)
    found = replay(case(tmp_path, rates))
    assert found["requests"] == 6300
    assert found["violation_ratio"] < 0.01
    assert (found["decisions"], found["switches"], found["failed"]) == (60, 1, 0)
    assert found["accuracy"] == pytest.approx(0.25)
    assert found["core_hours"] == pytest.approx(found["mean_cost"] * 60 / 3600)
    assert 2 < found["mean_cost"] < 4
    assert {**replay(case(tmp_path, rates)), "seconds": 0} == {**found, "seconds": 0}


def test_what_ran_runs_again(tmp_path: Path) -> None:
    """One replica serves half of a load of two, two serve it all; a plan that comes late is late for those before it.
    Its cost is what it allocated, and changes are switches.
    """
    rates = np.full(40, 160.0)
    enough = light(2, 2)
    small, good, late = (
        replay(case(tmp_path, rates, running=first, schedule=schedule))
        for first, schedule in ((light(1, 1), ()), (enough, ()), (light(1, 1), ((START + 20.0, enough),)))
    )
    assert small["violation_ratio"] == pytest.approx(0.4, abs=0.05)
    assert good["violation_ratio"] < 0.01
    assert good["violation_ratio"] < late["violation_ratio"] < small["violation_ratio"]
    assert [one["mean_cost"] for one in (small, good, late)] == [2.0, 4.0, pytest.approx(3.0)]
    assert [one["switches"] for one in (small, good, late)] == [0, 0, 1]


def test_a_long_load_in_pieces_is_the_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request once, at nearly the figures of a load in one piece; plans go on from piece to piece, and what is
    observed reaches over their ends.
    """
    rates = np.repeat([60.0, 130.0, 60.0], 20)
    whole = replay(case(tmp_path, rates))
    monkeypatch.setattr(module, "PIECE", 700)
    pieces = replay(case(tmp_path, rates))
    assert pieces["requests"] == whole["requests"] == 5000
    assert (pieces["decisions"], pieces["switches"]) == (whole["decisions"], whole["switches"]) == (60, 2)
    assert pieces["mean_cost"] == pytest.approx(whole["mean_cost"], rel=0.02)
    assert pieces["violation_ratio"] == pytest.approx(whole["violation_ratio"], abs=0.01)
    platform = RecordedPlatform(case(tmp_path, rates, running=light(1)))
    observed = platform.observe(START + 30.0)
    assert (observed.time, dict(observed.plan)) == (START + 30.0, dict(light(1)))
    assert list(observed.arrivals) == rates[30 - len(observed.arrivals) : 30].tolist()


def test_the_past_is_seen_and_gaps_are(tmp_path: Path) -> None:
    """The first observation looks back on what was before; a second nobody measured is NaN, and has no requests."""
    made = case(tmp_path, np.array([20.0, nan, 30.0, 40.0]))
    made = replace(made, recording=replace(made.recording, past=np.array([5.0, nan, 6.0])))
    platform = RecordedPlatform(made)
    assert np.array_equal(platform.observe(START).arrivals, [5, nan, 6], equal_nan=True)
    assert np.array_equal(platform.observe(START + 3.5).arrivals, [5, nan, 6, 20, nan, 30], equal_nan=True)
    assert platform.finish()["requests"] == 90


def test_progress_is_told(tmp_path: Path) -> None:
    """From the beginning on, never back."""
    heard: list[float] = []
    replay(case(tmp_path, np.full(10, 5.0)), heard.append)
    assert heard == [step / 10 for step in range(10)]


def test_what_cannot_be_simulated_is_said(tmp_path: Path) -> None:
    """A plan that ran and is none of the file, and a second of more requests than anybody means."""
    foreign = {"double": (Allocation("huge", 1, 1, 1),), "increment": (Allocation("light", 1, 1, 1),)}
    with pytest.raises(PlatformError, match="variant 'huge' is unknown"):
        replay(case(tmp_path, np.full(10, 5.0), running=foreign, schedule=()))
    with pytest.raises(ConfigError, match=r"load: 1e\+09 requests in one second; accepted: up to 500,000"):
        replay(case(tmp_path, np.array([1e9])))
