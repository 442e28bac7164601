"""ARIMA: sound forecasts, and what happens when a fit fails."""

from __future__ import annotations

import numpy as np
import pytest

from ipa_seldon.forecasters import ForecastSettings
from ipa_seldon.forecasters.arima import OPTIMISER, Arima


def blocks(seed: int = 0, count: int = 300) -> list[float]:
    """Seeded maxima of Poisson blocks around a slow wave."""
    rates = 20 + 8 * np.sin(np.arange(count) / 20)
    return [float(count) for count in np.random.default_rng(seed).poisson(rates)]


@pytest.mark.parametrize("order", [(1, 0, 0), (0, 1, 1), (0, 0, 0), (2, 1, 1)])
def test_forecasts_stay_near_the_window(order: tuple[int, int, int]) -> None:
    """Refitting from fit to fit never runs away: every forecast is of the window's size, fallbacks are rare."""
    arima, series = Arima(ForecastSettings(order=order)), blocks()
    fallbacks = 0
    for end in range(20, 60):
        window = series[end - 20 : end]
        prediction = arima.predict(window, 1)
        assert 0.5 * min(window) <= prediction.peak <= 1.5 * max(window)
        fallbacks += prediction.fallback
    assert fallbacks <= 4


def test_it_is_better_than_the_mean_on_a_trend() -> None:
    """On an autoregressive series it beats the window's mean."""
    rng, level, series = np.random.default_rng(5), 0.0, []
    for _ in range(120):
        level = 0.9 * level + rng.normal()
        series.append(50 + 3 * level)
    arima = Arima(ForecastSettings(horizon=10.0))
    ends = range(30, 110)
    model = np.mean([abs(arima.predict(series[end - 30 : end], 1).peak - series[end]) for end in ends])
    mean = np.mean([abs(np.mean(series[end - 30 : end]) - series[end]) for end in ends])
    assert model < 0.8 * mean


def test_without_any_good_fit_the_maximum_stands_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optimiser that may not move does not converge: the window's maximum, marked as a fallback."""
    monkeypatch.setitem(OPTIMISER, "maxfun", 1)
    prediction = Arima(ForecastSettings()).predict(blocks()[:12], 12)
    assert prediction.fallback
    assert prediction.peak == max(blocks()[:12])


def test_after_a_failed_fit_the_last_good_coefficients_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fallback is near what a converged fit says, not the maximum; and the next fit converges again."""
    arima, series = Arima(ForecastSettings()), blocks()
    good = arima.predict(series[:12], 12)
    assert not good.fallback
    with monkeypatch.context() as patch:
        patch.setitem(OPTIMISER, "maxfun", 1)
        held = arima.predict(series[:12], 0)
    assert held.fallback
    assert held.peak == pytest.approx(good.peak, rel=1e-6)
    assert not arima.predict(series[1:13], 1).fallback


def test_scale_does_not_matter() -> None:
    """A load a thousand times as large is forecast a thousand times as large."""
    small, large = Arima(ForecastSettings()), Arima(ForecastSettings())
    series = blocks()
    for end in range(12, 20):
        window = series[end - 12 : end]
        expected = 1000 * small.predict(window, 1).peak
        assert large.predict([1000 * block for block in window], 1).peak == pytest.approx(expected, rel=1e-3)
