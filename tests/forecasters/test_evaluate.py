"""The evaluation's arithmetic, holes, and the bar on a recorded load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ipa_seldon.forecasters import ForecastSettings
from ipa_seldon.forecasters.evaluate import evaluate, without_holes
from ipa_seldon.forecasters.quantile import build_forecaster
from ipa_seldon.traces import read_trace

RECORDED = Path(__file__).parents[3] / "shared/data/twitter/rps-days-01-14.txt.xz"


class Constant:
    """Always the same forecast."""

    why: Mapping[str, Any] = {}

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.fallbacks = 0

    def forecast(self, time: float, arrivals: Sequence[float]) -> float:
        """The rate, after checking that nothing of the future shows."""
        assert 0.0 < len(arrivals) <= 120
        assert arrivals[-1] == float(int(time - 1) % 7)
        return self.rate


def test_the_measures_are_what_they_say() -> None:
    """A ramp repeated every 7 s has the maximum 6 in every horizon, so that every measure is known."""
    trace = [float(second % 7) for second in range(1000)]
    ticks = count()
    chosen = ForecastSettings()
    low = evaluate(Constant(4.0), trace, chosen, lambda: next(ticks) * 1.0)
    assert low.steps == 87
    assert (low.steps_under, low.worst_hour_under, low.mean_over) == (100.0, 100.0, 0.0)
    assert low.smape == pytest.approx(100 * 2 / 5)
    assert low.pinball_loss == pytest.approx(0.95 * 2)
    assert (low.milliseconds_median, low.milliseconds_max, low.next_rate) == (1000.0, 1000.0, 4.0)
    high = evaluate(Constant(9.0), trace, chosen, lambda: 0.0)
    assert (high.steps_under, high.mean_over) == (0.0, 50.0)
    assert high.pinball_loss == pytest.approx(0.05 * 3)


def test_the_worst_hour_is_one_hour() -> None:
    """Misses that fill one hour of three are the worst hour, and a third of all steps."""
    trace = [10.0 if 3720 <= second < 7320 else 1.0 for second in range(3 * 3600 + 120 + 20)]

    class Five:
        fallbacks = 0
        why: Mapping[str, Any] = {}

        def forecast(self, time: float, arrivals: Sequence[float]) -> float:
            return 5.0

    result = evaluate(Five(), trace, ForecastSettings(), lambda: 0.0)
    assert result.worst_hour_under == 100.0
    assert result.steps_under == pytest.approx(100 / 3, abs=0.5)


def test_a_trace_too_short_is_refused() -> None:
    """Less than a window and a horizon cannot be scored."""
    with pytest.raises(ValueError, match="140 s"):
        evaluate(Constant(1.0), [1.0] * 139, ForecastSettings(), lambda: 0.0)


def test_holes_of_a_busy_trace_go_and_silence_of_a_quiet_one_stays() -> None:
    """Long runs of zeros in a busy trace are cut out; short ones, a quiet trace's, and leading ones are load."""
    busy = [20.0] * 100
    assert without_holes([*busy, *[0.0] * 40, *busy]) == busy + busy
    assert without_holes([*busy, *[0.0] * 1740]) == busy
    for kept in ([*busy, *[0.0] * 9, *busy], [0.1] * 100 + [0.0] * 60 + [0.1], [0.0] * 500 + busy, [0.0] * 50, []):
        assert without_holes(kept) == kept


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded load is not in ../shared/data")
def test_gate_meets_its_bar_on_a_recorded_day() -> None:
    """A day of the recorded load, damped by 8: the loss, the steps that are low and the excess are within bounds."""
    day = without_holes(read_trace(RECORDED)[7 * 86_400 : 8 * 86_400])
    chosen = ForecastSettings(name="gate")
    result = evaluate(build_forecaster(chosen), [float(round(rate / 8)) for rate in day], chosen, lambda: 0.0)
    assert result.pinball_loss <= 0.165
    assert 4.5 <= result.steps_under <= 5.5
    assert result.worst_hour_under <= 10
    assert result.mean_over <= 21
