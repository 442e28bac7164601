"""Loads that were recorded: put together from observations, with what nobody measured."""

from __future__ import annotations

from math import nan
from pathlib import Path

import numpy as np
import pytest

from ipa_seldon.advice.recording import Recording, of_decisions, trimmed
from ipa_seldon.errors import ConfigError
from ipa_seldon.plan import Decision, Observation, Outcome
from ipa_seldon.telemetry.audit import read_audit_log
from tests.advice.logs import START, light, toy_config, write_log


def seen(time: float, *arrivals: float) -> Decision:
    return Decision(Observation(time, arrivals, {}), Outcome.UNCHANGED)


def test_observations_overlap_to_one_load() -> None:
    """Each second once: what lies before the first decision is its past, a second that any observation has is measured,
    and what a later one says of it counts.
    """
    found = of_decisions([seen(103.4, 1, 2, nan), seen(105.0, 30, 4, nan), seen(107.9, nan, 6)], "a log")
    assert found.start == 103
    assert found.past.tolist() == [1, 2, 30]
    assert np.array_equal(found.rates, [4, nan, nan, 6], equal_nan=True)
    assert found.unmeasured == (2, 2)


def test_a_log_gives_back_its_load(tmp_path: Path) -> None:
    """To the second, however long observations are."""
    loads = [float(number % 7) for number in range(40)]
    write_log(tmp_path / "log", toy_config(tmp_path), loads, light(1))
    found = of_decisions(read_audit_log(tmp_path / "log")[2], "a log")
    assert (found.start, found.past.tolist(), found.rates.tolist()) == (START + 1, loads[:1], loads[1:])


@pytest.mark.parametrize("decisions", [[], [seen(5.0, 1)], [seen(5.0, 1), seen(5.5, 1)], [seen(5.0), seen(9.0)]])
def test_a_log_without_a_load_is_refused(decisions: list[Decision]) -> None:
    """In a line that names it."""
    with pytest.raises(ConfigError, match=r"a log: . observations; accepted: two or more"):
        of_decisions(decisions, "a log")


def test_a_log_of_nothing_but_gaps_is_refused() -> None:
    """What was measured before its first decision is no load to replay."""
    with pytest.raises(ConfigError, match="a log: no load was measured between its first and its last decision"):
        of_decisions([seen(103.0, 1, 2), seen(105.0, nan, nan)], "a log")


def test_what_nobody_measured_at_either_end_is_cut_off() -> None:
    """The load begins and ends with a second that was measured; its past stays. Nothing measured is no load."""
    found = trimmed(100, np.array([1, nan, nan, 5, nan, 6, nan]), past=2)
    assert found is not None
    assert (found.start, found.unmeasured) == (103, (1, 1))
    assert np.array_equal(found.past, [1, nan, nan], equal_nan=True)
    assert np.array_equal(found.rates, [5, nan, 6], equal_nan=True)
    assert trimmed(100, np.array([1, nan, nan]), past=1) is None
    assert trimmed(100, np.array([nan, nan]), past=0) is None


def test_counts_are_kept_and_means_are_random() -> None:
    """Whole numbers are requests that were counted; of means only the mean is known."""
    counted, means = Recording(0, np.array([7.0, nan, 9.0])), Recording(0, np.array([7.5, nan, 9.0]))
    assert counted.counted
    assert not means.counted
    assert [len(counted.arrivals(0, 3, seed)) for seed in range(3)] == [16] * 3
    assert len({len(means.arrivals(0, 3, seed)) for seed in range(5)}) > 1
    assert len(counted.arrivals(2, 3, 0)) == 9


def test_the_first_rate_is_of_the_first_seconds_that_were_measured() -> None:
    """The highest of them; none of a load of nothing."""
    assert Recording(0, np.array([nan, 3.0, 8.0, 50.0])).first_rate(2) == 8.0
    assert Recording(0, np.array([nan])).first_rate(2) == 0.0


def test_it_says_what_is_missing() -> None:
    """How long, since when, and the gaps; a trace has no date."""
    words = Recording(1_700_000_000, np.array([1.0, nan, nan, 2.0, nan, 3.0])).words()
    assert words == ("6 s of load from 2023-11-14T22:13:20Z; 3 s not measured (the longest 2 s): no requests then")
    assert Recording(0, np.ones(4)).words() == "4 s of load"
