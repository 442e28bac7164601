"""Forecasts judged on line: the measures' arithmetic, what is judged and when, and what is forgotten."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ipa_seldon.forecasters import ForecastSettings
from ipa_seldon.forecasters.evaluate import evaluate
from ipa_seldon.forecasters.quantile import build_forecaster
from ipa_seldon.forecasters.score import Score, forecast_error

NAN = float("nan")


def test_the_errors_of_one_forecast_are_what_they_say() -> None:
    """Too low, too high, just right, and nothing at all."""
    low, high = forecast_error(6.0, 4.0, 0.95), forecast_error(6.0, 9.0, 0.95)
    assert low == pytest.approx((2 / 5, True, 0.0, 0.95 * 2))
    assert high == pytest.approx((3 / 7.5, False, 0.5, 0.05 * 3))
    assert forecast_error(6.0, 6.0, 0.95) == (0.0, False, 0.0, 0.0)
    assert forecast_error(0.0, 0.0, 0.95) == (0.0, False, 0.0, 0.0)


def test_before_a_horizon_is_over_nothing_is_known() -> None:
    """None, not zero, until the first horizon has ended; then the forecast is judged once."""
    score = Score(horizon=20, quantile=0.95)
    score.forecast(100.0, 4.0)
    assert score.observe(119.0, [6.0] * 60) == 0
    assert (score.smape, score.coverage, score.pinball, score.judged) == (None, None, None, 0)
    assert score.observe(120.0, [6.0] * 60) == 1
    assert (score.smape, score.coverage, score.pinball) == pytest.approx((2 / 5, 0.0, 0.95 * 2))
    assert score.observe(130.0, [900.0] * 60) == 0
    assert score.judged == 1


def test_a_forecast_is_judged_by_its_own_horizon() -> None:
    """The 20 s after it count, neither those before nor those since, however late the arrivals come."""
    score = Score(horizon=20, quantile=0.5)
    score.forecast(100.0, 8.0)
    score.observe(135.0, [900.0] * 30 + [8.0] * 20 + [900.0] * 15)
    assert (score.smape, score.coverage, score.pinball) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize("arrivals", [[NAN] * 60, [900.0] * 10, [], [NAN] * 14 + [5.0] * 6 + [NAN] * 10])
def test_a_horizon_that_was_not_measured_is_not_judged(arrivals: list[float]) -> None:
    """A gap over most of it, or a history that no longer reaches back."""
    score = Score(horizon=20, quantile=0.95)
    score.forecast(100.0, 5.0)
    assert score.observe(130.0, arrivals) == 0
    assert score.judged == 0


def test_a_clock_set_back_forgets_what_its_future_held() -> None:
    """Neither forecasts nor errors of times yet to come are kept; those before the setback's target are."""
    score = Score(horizon=20, quantile=0.95)
    score.forecast(1000.0, 5.0)
    score.observe(1020.0, [5.0] * 60)
    score.forecast(1020.0, 7.0)
    assert score.observe(500.0, [5.0] * 60) == 0
    assert score.judged == 0
    assert score.observe(1040.0, [5.0] * 60) == 0


def test_old_errors_are_forgotten() -> None:
    """After ``memory`` seconds a bad forecast no longer counts, whether or not others came since."""
    score = Score(horizon=10, quantile=0.95, memory=60.0)
    for step in range(20):
        now = 10.0 * step
        score.observe(now, [10.0] * 60)
        score.forecast(now, 5.0 if step < 5 else 10.0)
    assert (score.coverage, score.pinball, score.judged) == (1.0, 0.0, 6)
    score.observe(1000.0, [10.0] * 60)
    assert score.pinball is None


def test_a_resolution_judges_by_means_over_that_many_seconds() -> None:
    """A load of 0 and 10 in turn never exceeds 5 in means over 2 s."""
    for resolution, pinball in ((1.0, 0.95 * 5), (2.0, 0.0)):
        score = Score(horizon=10, quantile=0.95, resolution=resolution)
        score.forecast(20.0, 5.0)
        score.observe(30.0, [0.0, 10.0] * 15)
        assert score.pinball == pytest.approx(pinball)


def test_it_agrees_with_an_evaluation() -> None:
    """The same forecasts of the same load, judged on line and over the whole trace: the same figures."""
    trace = [float(count) for count in np.random.default_rng(2).poisson(20, 1500)]
    for resolution in (1.0, 5.0):
        chosen = ForecastSettings(name="gate", quantile=0.8, resolution=resolution)
        score = Score(chosen.horizon, chosen.judged_at, resolution, memory=math.inf)
        forecaster = build_forecaster(chosen)
        for now in range(120, 1501, 10):
            arrivals = trace[max(0, now - 150) : now]
            score.observe(now, arrivals)
            score.forecast(now, forecaster.forecast(now, arrivals))
        whole = evaluate(build_forecaster(chosen), trace, chosen, lambda: 0.0)
        assert score.judged == whole.steps
        assert (score.smape, score.coverage, score.pinball) == pytest.approx(
            (whole.smape / 100, whole.coverage / 100, whole.pinball_loss)
        )


def test_absurd_loads_give_finite_figures() -> None:
    """Sums of the largest numbers do not overflow."""
    score = Score(horizon=10, quantile=0.95)
    for step in range(9):
        score.observe(10.0 * step, [1.7e308] * 60)
        score.forecast(10.0 * step, 0.0)
    assert (score.smape, score.coverage) == (2.0, 0.0)
    assert score.pinball is not None
    assert math.isfinite(score.pinball)
