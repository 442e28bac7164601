"""What every forecaster of the table promises, wrapped and bare."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_seldon import plugins
from ipa_seldon.errors import ConfigError, PluginError
from ipa_seldon.forecasters import AUTO, FORECASTERS, SEED_PROBABILITIES, ForecastSettings, Prediction
from ipa_seldon.forecasters.peaks import moving_sums
from ipa_seldon.forecasters.quantile import RollingForecaster, ScoreQuantile, build_forecaster

NAN, INF = float("nan"), float("inf")
NAMES = (*FORECASTERS, AUTO)
CHEAP = [name for name in FORECASTERS if name != "arima"]


class Recorder:
    """A point forecaster that predicts a constant and remembers what it was given."""

    minimum = 1
    seed_scores: Sequence[float] = (0.0,) * 14

    def __init__(self, _settings: ForecastSettings) -> None:
        self.calls: list[tuple[list[float], int]] = []

    def predict(self, blocks: Sequence[float], fresh: int) -> Prediction:
        """The constant 4, whose default scale is 2."""
        self.calls.append((list(blocks), fresh))
        return Prediction(4.0)


class Broken(Recorder):
    """A point forecaster whose arithmetic went wrong."""

    def predict(self, blocks: Sequence[float], fresh: int) -> Prediction:
        """Not a number."""
        return Prediction(NAN, scale=NAN)


def rolling(quantile: float | None = None, window: float = 120.0) -> tuple[RollingForecaster, Recorder]:
    """A rolling forecaster around a Recorder."""
    chosen = ForecastSettings(quantile=quantile, window=window)
    recorder = Recorder(chosen)
    return RollingForecaster(chosen, recorder), recorder


def poisson(rate: float, seconds: int, seed: int = 1) -> list[float]:
    """Seeded Poisson counts at 1 Hz."""
    return [float(count) for count in np.random.default_rng(seed).poisson(rate, seconds)]


HISTORIES: dict[str, list[float]] = {
    "empty": [],
    "one second": [7.0],
    "short": [3.0] * 25,
    "constant": [8.0] * 120,
    "zero": [0.0] * 120,
    "nothing measured": [NAN] * 120,
    "half measured": [5.0, NAN] * 60,
    "gap in the middle": [4.0] * 40 + [NAN] * 40 + [6.0] * 40,
    "gap at the end": [4.0] * 80 + [NAN] * 40,
    "infinite": [INF, 3.0, -INF] * 40,
    "negative": [-5.0] * 120,
    "enormous": [1e308, 0.0, 1e307] * 40,
    "tiny": [1e-320, 0.0] * 60,
    "one spike": [0.0] * 60 + [1e6] + [0.0] * 59,
    "jump": [1.0] * 60 + [500.0] * 60,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("quantile", [None, 0.95, 0.01])
def test_no_history_raises_or_gives_an_impossible_rate(name: str, quantile: float | None) -> None:
    """Every history, one after the other on one forecaster, gives a finite rate >= 0."""
    forecaster = build_forecaster(ForecastSettings(name=name, quantile=quantile))
    for step, history in enumerate([*HISTORIES.values(), *reversed(HISTORIES.values())]):
        rate = forecaster.forecast(1000.0 + 10 * step, history)
        assert math.isfinite(rate), f"history {step}"
        assert rate >= 0, f"history {step}"


@given(
    st.sampled_from(CHEAP),
    st.lists(
        st.tuples(
            st.floats(min_value=-50, max_value=500),
            st.lists(st.floats(width=64), max_size=150),
        ),
        max_size=8,
    ),
)
@settings(max_examples=150, deadline=None)
def test_any_sequence_of_calls_is_survived_and_repeats(name: str, calls: list[tuple[float, list[float]]]) -> None:
    """Any histories at any times, backwards included: finite, >= 0, and the same again for a second forecaster."""
    chosen = ForecastSettings(name=name)
    answers = []
    for forecaster in (build_forecaster(chosen), build_forecaster(chosen)):
        time, rates = 1e9, []
        for step, history in calls:
            time += step
            rates.append(forecaster.forecast(time, history))
        answers.append(rates)
    assert all(math.isfinite(rate) and rate >= 0 for rate in answers[0])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("name", NAMES)
def test_until_the_window_holds_enough_it_is_the_maximum(name: str) -> None:
    """Fewer whole blocks than the forecaster needs: the largest second so far, without a margin."""
    forecaster = build_forecaster(ForecastSettings(name=name))
    assert forecaster.forecast(0.0, []) == 0.0
    assert forecaster.forecast(4.0, [1.0, 9.0, NAN, 2.0]) == 9.0


@pytest.mark.parametrize("name", NAMES)
def test_unmeasured_time_keeps_the_last_forecast(name: str) -> None:
    """When a whole window was not measured the last forecast stands."""
    forecaster = build_forecaster(ForecastSettings(name=name))
    before = forecaster.forecast(1000.0, poisson(9, 120))
    assert before > 0
    assert forecaster.forecast(2000.0, [NAN] * 120) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_load_is_forecast_as_itself(name: str) -> None:
    """The bare point of a constant is the constant."""
    forecaster = build_forecaster(ForecastSettings(name=name, quantile=None))
    for step in range(4):
        assert forecaster.forecast(10.0 * step, [12.0] * 120) == pytest.approx(12.0)


@pytest.mark.parametrize("name", NAMES)
def test_the_quantile_holds_on_poisson_loads(name: str) -> None:
    """On a stationary load about 5 % of the horizons exceed the .95 forecast; the bare point misses far more."""
    hours = 4 if name in CHEAP else 1
    trace = poisson(12, 3600 * hours, seed=4)
    missed = {}
    for quantile in (0.95, 0.5):
        forecaster = build_forecaster(ForecastSettings(name=name, quantile=quantile))
        steps = range(120, len(trace) - 20, 10)
        low = [max(trace[now : now + 20]) > forecaster.forecast(now, trace[now - 120 : now]) for now in steps]
        missed[quantile] = sum(low) / len(low)
    assert 0.015 <= missed[0.95] <= 0.075
    assert missed[0.5] > 0.25


def test_every_block_is_fresh_once_whatever_the_interval() -> None:
    """Calls every 10 s, every 5 s, jittering by a few hundredths or after a pause: no stretch of time is learnt twice,
    and all but a call's own jitter is learnt.
    """
    for interval in (10.0, 5.0, 2.0, 30.0):
        forecaster, recorder = rolling()
        for step in range(61):
            jitter = random.Random(step).uniform(-0.04, 0.04)
            forecaster.forecast(500.0 + step * interval + jitter, [1.0] * 120)
        assert recorder.calls[0][1] == 12
        learnt = sum(fresh for _, fresh in recorder.calls[1:])
        assert learnt == pytest.approx(60 * interval / 10, abs=1)
    pause, recorder = rolling()
    pause.forecast(0.0, [1.0] * 120)
    pause.forecast(45.0, [1.0] * 120)
    pause.forecast(4500.0, [1.0] * 120)
    assert [fresh for _, fresh in recorder.calls] == [12, 4, 12]


def test_blocks_end_with_the_newest_second() -> None:
    """Blocks are counted back from the call; an incomplete one at the far end and an unmeasured one are left out."""
    forecaster, recorder = rolling(window=40)
    forecaster.forecast(0.0, [99.0] * 3 + [1.0] * 10 + [NAN] * 10 + [2.0] * 9 + [NAN])
    assert recorder.calls == [([1.0, 2.0], 2)]


def test_a_prediction_is_scored_only_with_its_own_horizon() -> None:
    """Not before 20 s have passed, and with the 20 s after the prediction, not those before the scoring call."""
    forecaster, _ = rolling(quantile=0.999)
    assert forecaster.forecast(100.0, [4.0] * 120) == 4.0  # all seeds are 0
    assert forecaster.forecast(110.0, [4.0] * 110 + [50.0] * 10) == 4.0
    # The horizon from 100 to 120 peaked at 50: a score of (50 - 4) / 2 = 23, so that the largest forecast is 50.
    assert forecaster.forecast(125.0, [4.0] * 95 + [50.0] * 10 + [4.0] * 10 + [900.0] * 5) == 50.0


def test_a_horizon_that_nobody_measured_is_not_scored() -> None:
    """A gap, or a history that no longer reaches back, settles nothing."""
    for history in ([NAN] * 60 + [900.0] * 5, [900.0] * 10):
        forecaster, _ = rolling(quantile=0.999)
        forecaster.forecast(100.0, [4.0] * 120)
        assert forecaster.forecast(130.0, history) in {4.0, 900.0}
        assert forecaster.forecast(135.0, [4.0] * 120) == 4.0


def test_broken_arithmetic_falls_back_to_the_maximum_and_is_counted() -> None:
    """A point forecaster that answers NaN costs nothing but a count."""
    chosen = ForecastSettings(quantile=None)
    forecaster = RollingForecaster(chosen, Broken(chosen))
    assert forecaster.forecast(0.0, [1.0, 2.0, 3.0] * 40) == 3.0
    assert forecaster.fallbacks == 1


def test_score_quantile_is_the_conformal_rank_of_the_newest_scores() -> None:
    """The ceil((n + 1) q)-th smallest; old scores, seeds included, make room for new ones."""
    scores = ScoreQuantile(0.95, (0.0,) * 14)
    assert scores.value == 0.0
    for score in range(1080):
        scores.add(float(score))
    assert scores.value == 1026.0  # the 1027th smallest of 0..1079: ceil(1081 * .95)
    for _ in range(1080):
        scores.add(-1.0)
    assert scores.value == -1.0


def test_gate_follows_significant_jumps_at_once_and_smooths_noise() -> None:
    """A fivefold load is predicted after one block of it; a move within the noise moves the point by less than half."""
    forecaster = build_forecaster(ForecastSettings(name="gate", quantile=None))
    steady = poisson(9, 600)
    for now in range(120, 601, 10):
        calm = forecaster.forecast(now, steady[now - 120 : now])
    assert forecaster.forecast(610.0, [*steady[-110:], *[80.0] * 10]) > 70
    nudged = build_forecaster(ForecastSettings(name="gate", quantile=None))
    for now in range(120, 601, 10):
        nudged.forecast(now, steady[now - 120 : now])
    assert abs(nudged.forecast(610.0, [*steady[-110:], *[round(calm) + 2.0] * 10]) - calm) < 1.5


def test_gate_learns_over_blocks_that_left_the_window() -> None:
    """Two gates with the same window but different pasts differ."""
    window = poisson(20, 30, seed=3)
    rates = []
    for past in (1.0, 400.0):
        forecaster = build_forecaster(ForecastSettings(name="gate", quantile=None, window=30))
        for now in range(0, 100, 10):
            forecaster.forecast(now, [past, 2 * past, past] * 10)
        rates.append(forecaster.forecast(100.0, window))
    assert rates[0] != rates[1]


def test_gate_within_a_block_uses_the_newest_seconds_and_learns_nothing() -> None:
    """A call halfway through a block sees its jump; the calls after it answer as if it had not been made."""
    chosen = ForecastSettings(name="gate", quantile=None)
    asked, control = build_forecaster(chosen), build_forecaster(chosen)
    for now in range(0, 100, 10):
        for forecaster in (asked, control):
            forecaster.forecast(now, [9.0, 11.0] * 60)
    assert asked.forecast(95.0, [9.0, 11.0] * 57 + [90.0] * 6) > 60
    assert asked.forecast(100.0, [9.0, 11.0] * 60) == control.forecast(100.0, [9.0, 11.0] * 60)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"window": 5.0}, "window"),
        ({"window": NAN}, "window"),
        ({"aggregate": 0.25}, "aggregate"),
        ({"aggregate": 2.5}, "aggregate"),
        ({"horizon": 0.0}, "horizon"),
        ({"quantile": 0.0}, "quantile"),
        ({"quantile": 1.0}, "quantile"),
        ({"quantile": NAN}, "quantile"),
        ({"order": (1, -1, 0)}, "order"),
        ({"name": "arima", "order": (2, 1, 1), "window": 60.0}, "window"),
        ({"name": "gate", "window": 10.0}, "window"),
    ],
)
def test_settings_that_cannot_work_name_their_key(changes: dict[str, object], key: str) -> None:
    """One line with the key of the pipeline file and what is accepted."""
    with pytest.raises(ConfigError, match=rf"^forecaster\.{key}: .*accepted: [^\n]*$"):
        build_forecaster(ForecastSettings(**changes))  # type: ignore[arg-type]  # wrong on purpose


def test_an_unknown_name_lists_the_table() -> None:
    """The accepted names are said."""
    with pytest.raises(PluginError, match=r"'prophet'.*arima.*gate"):
        build_forecaster(ForecastSettings(name="prophet"))


def test_seed_scores_rise() -> None:
    """Every table of seed scores is a quantile function."""
    for name, target in FORECASTERS.items():
        scores = plugins.load("forecaster", name, FORECASTERS)(ForecastSettings(name=name)).seed_scores
        assert len(scores) == len(SEED_PROBABILITIES), target
        assert list(scores) == sorted(scores), target


def test_moving_sums_count_the_last_seconds() -> None:
    """The sum of each stretch, scaled up over seconds nobody measured, NaN where too few were."""
    assert moving_sums([1.0, 2.0, 3.0, 4.0], 1) == [1.0, 2.0, 3.0, 4.0]
    assert moving_sums([1.0, 2.0, 3.0, 4.0, 5.0], 4)[3:] == [10.0, 14.0]
    assert all(math.isnan(value) for value in moving_sums([1.0, 2.0, 3.0, 4.0, 5.0], 4)[:3])
    assert moving_sums([1.0, NAN, 3.0, 2.0], 4)[3] == pytest.approx(6.0 * 4 / 3)
    assert math.isnan(moving_sums([NAN, NAN, 3.0, 2.0], 4)[3])
    assert moving_sums([], 4) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_history_shorter_than_the_resolution_is_not_no_load(name: str) -> None:
    """Just started, or restarted: the few seconds there are give the rate, and a plan that carries it."""
    forecaster = build_forecaster(ForecastSettings(name=name, resolution=5.0))
    assert forecaster.forecast(2.0, [30.0, 20.0]) == pytest.approx(25.0)
    assert forecaster.forecast(4.0, [NAN, 30.0, NAN]) == pytest.approx(30.0)
    assert forecaster.forecast(5.0, [NAN, NAN]) == pytest.approx(30.0)


def test_a_resolution_forecasts_means_of_that_many_seconds() -> None:
    """What the point forecaster sees are block maxima of moving sums, and what comes out is a rate again."""
    chosen = ForecastSettings(window=20.0, aggregate=10.0, horizon=10.0, quantile=None, resolution=5.0)
    recorder = Recorder(chosen)
    arrivals = [0.0, 10.0] * 12
    assert RollingForecaster(chosen, recorder).forecast(24.0, arrivals) == pytest.approx(4.0 / 5)
    assert recorder.calls == [([30.0, 30.0], 2)]


@pytest.mark.parametrize("name", CHEAP)
def test_a_coarser_resolution_leaves_out_the_peaks_of_seconds(name: str) -> None:
    """On steady Poisson arrivals the forecast comes down towards the mean, and stays above it."""
    load = poisson(20.0, 1500)
    means = {}
    for resolution in (1.0, 5.0, 10.0):
        forecaster = build_forecaster(ForecastSettings(name=name, resolution=resolution))
        rates = [forecaster.forecast(float(now), load[now - 150 : now]) for now in range(150, 1500, 10)]
        means[resolution] = float(np.mean(rates[30:]))
    assert means[1.0] > means[5.0] > means[10.0] > 20.0


def test_a_resolution_is_at_most_a_block() -> None:
    """A coarser one would see nothing of a block but its end."""
    with pytest.raises(ConfigError, match=r"forecaster\.resolution: 11\.0; accepted: at most aggregate, 10\.0"):
        ForecastSettings(resolution=11.0)


def test_a_margin_is_added_to_what_is_forecast() -> None:
    """Ten per cent on top, quantile or not."""
    for quantile in (None, 0.9):
        plain, more = (
            build_forecaster(ForecastSettings(name="max", quantile=quantile, margin=margin)) for margin in (0.0, 0.1)
        )
        assert more.forecast(120.0, [8.0] * 120) == pytest.approx(1.1 * plain.forecast(120.0, [8.0] * 120))
    with pytest.raises(ConfigError, match="margin"):
        ForecastSettings(margin=-0.1)
