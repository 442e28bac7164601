"""Following the best forecaster of late: when it switches and when not, what it looks back on, what it tells."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_seldon.errors import ConfigError
from ipa_seldon.forecasters import AUTO, FORECASTERS, ForecastSettings
from ipa_seldon.forecasters.auto import FIRST, LOOK_BACK, MARGIN, PATIENCE, Auto
from ipa_seldon.forecasters.evaluate import evaluate
from ipa_seldon.forecasters.quantile import build_forecaster

NAN = float("nan")
CHEAP = [name for name in FORECASTERS if name != "arima"]
BLOCK = 10
LEVEL = [10.0] * 60  # a history of a load that is always 10
LATENCY = 20 // BLOCK  # blocks until a forecast is judged


class Scripted:
    """Forecasts 10 and so much more that its pinball loss at .95 is ``loss(block)``; remembers its calls."""

    why: Mapping[str, Any] = {}

    def __init__(self, loss: Callable[[int], float]) -> None:
        self.fallbacks = 0
        self.calls: list[tuple[float, list[float]]] = []
        self._loss = loss

    def forecast(self, time: float, arrivals: Sequence[float]) -> float:
        """Made do with, always."""
        self.calls.append((time, list(arrivals)))
        self.fallbacks += 1
        return 10.0 + self._loss(round(time / BLOCK)) / (1 - 0.95)


def followed(gate: Callable[[int], float], other: Callable[[int], float], blocks: int) -> list[str]:
    """Whom it follows, block for block, where the two lose what the functions say."""
    auto = Auto(ForecastSettings(), {"gate": Scripted(gate), "other": Scripted(other)})
    names = []
    for block in range(blocks):
        auto.forecast(float(block * BLOCK), LEVEL[: block * BLOCK])
        names.append(auto.why["following"])
    return names


def cheap_auto(chosen: ForecastSettings) -> Auto:
    """Of all forecasters but the one that fits."""
    return Auto(chosen, {name: build_forecaster(replace(chosen, name=name)) for name in CHEAP})


def bursty(seed: int, hours: int = 3) -> list[float]:
    """Seeded single blocks of six times the load, a quarter of all, at random: what the gate is weak at."""
    rng = np.random.default_rng(seed)
    rates = np.repeat(rng.choice([5, 5, 5, 30], hours * 360), BLOCK)
    return [float(count) for count in rng.poisson(rates)]


def test_it_begins_with_the_gate_and_leaves_it_once_another_was_better_for_long_enough() -> None:
    """Not a block before PATIENCE blocks have passed since the first score that said so, and then at once."""
    names = followed(lambda _: 1.0, lambda _: 0.5, PATIENCE + 20)
    runs = [(name, len(list(run))) for name, run in groupby(names)]
    assert FIRST == "gate"
    assert runs[0] == ("gate", LATENCY + PATIENCE)
    assert [name for name, _ in runs] == ["gate", "other"]


def test_it_stays_where_another_is_better_by_less_than_the_margin() -> None:
    """Just inside the margin never, just outside once."""
    assert set(followed(lambda _: 1.0, lambda _: 1 - 0.9 * MARGIN, 5 * PATIENCE)) == {"gate"}
    assert set(followed(lambda _: 1.0, lambda _: 1 - 1.1 * MARGIN, 5 * PATIENCE)) == {"gate", "other"}


def test_a_spell_shorter_than_the_patience_changes_nothing() -> None:
    """The one that is followed loses badly, but is the better one again in time: two such spells do not add up."""

    def spells(block: int) -> float:
        return 2.0 if block % (2 * PATIENCE) < PATIENCE // 3 else 0.2

    assert set(followed(spells, lambda _: 1.0, 6 * PATIENCE)) == {"gate"}


def test_it_comes_back_when_the_load_does() -> None:
    """Each regime has its own best forecaster, and is followed into, with one switch a regime."""
    length = 10 * PATIENCE

    def of_regime(number: int) -> Callable[[int], float]:
        return lambda block: 0.1 if block // length % 2 == number else 1.0

    names = followed(of_regime(1), of_regime(0), 2 * length)
    assert [name for name, _ in groupby(names)] == ["gate", "other", "gate"]


def test_it_leaves_a_forecaster_that_the_load_is_too_much_for() -> None:
    """Under random bursts of single blocks it ends with another than the gate, and loses a fifth less than the gate."""
    load, chosen = bursty(seed=6), ForecastSettings(name="gate")
    auto = cheap_auto(chosen)
    followed_it = evaluate(auto, load, chosen, lambda: 0.0).pinball_loss
    alone = {
        name: evaluate(build_forecaster(replace(chosen, name=name)), load, chosen, lambda: 0.0).pinball_loss
        for name in CHEAP
    }
    assert auto.why["following"] != "gate"
    assert followed_it < 0.8 * alone["gate"]
    assert followed_it < 1.15 * min(alone.values())


def test_what_is_known_at_first_is_forecast_in_retrospect() -> None:
    """Begun on a history, it answers as one that was asked all along, and has scores at once."""
    load = bursty(seed=3, hours=1)[:300]
    early, late = cheap_auto(ForecastSettings()), cheap_auto(ForecastSettings())
    for now in range(BLOCK, 300, BLOCK):
        early.forecast(float(now), load[:now])
    assert late.forecast(300.0, [NAN] * 100 + load) == early.forecast(300.0, load)
    assert late.why == early.why
    assert all(loss > 0 for loss in late.why["pinball"].values())


@pytest.mark.parametrize(("history", "calls"), [(5000, LOOK_BACK + 1), (65, 6), (12, 1), (9, 1), (0, 1)], ids=str)
def test_it_looks_back_over_whole_blocks_and_not_for_ever(history: int, calls: int) -> None:
    """Never into the future, at most LOOK_BACK blocks, none where there is no history; and only once."""
    member = Scripted(lambda _: 1.0)
    auto = Auto(ForecastSettings(), {"gate": member})
    auto.forecast(6000.0, [float(second) for second in range(history)])
    assert len(member.calls) == calls
    for time, arrivals in member.calls:
        assert len(arrivals) == history - (6000 - time)
    auto.forecast(6010.0, LEVEL)
    assert len(member.calls) == calls + 1


def test_a_gap_neither_scores_nor_switches() -> None:
    """Where nobody measured nothing is judged, and the losses are unknown rather than zero."""
    auto = Auto(ForecastSettings(), {"gate": Scripted(lambda _: 1.0), "other": Scripted(lambda _: 0.5)})
    for block in range(3 * PATIENCE):
        auto.forecast(float(block * BLOCK), [NAN] * 60)
    assert auto.why == {"following": "gate", "pinball": {"gate": None, "other": None}}


def test_it_counts_where_the_one_followed_made_do() -> None:
    """Once a forecast, whatever the others do."""
    auto = Auto(ForecastSettings(), {"gate": Scripted(lambda _: 1.0), "other": Scripted(lambda _: 1.0)})
    for block in range(20):
        auto.forecast(float(block * BLOCK), [])
    assert auto.fallbacks == 20


@given(
    st.lists(
        st.tuples(st.floats(min_value=-50, max_value=500), st.lists(st.floats(width=64), max_size=150)), max_size=8
    )
)
@settings(max_examples=60, deadline=None)
def test_any_sequence_of_calls_is_survived_told_and_repeated(calls: list[tuple[float, list[float]]]) -> None:
    """Any histories at any times: finite rates, losses that JSON can hold, and the same for a second one."""
    answers = []
    for auto in (cheap_auto(ForecastSettings()), cheap_auto(ForecastSettings())):
        time, told = 1e9, []
        for step, history in calls:
            time += step
            rate = auto.forecast(time, history)
            assert math.isfinite(rate)
            assert rate >= 0
            told.append((rate, json.dumps(auto.why, allow_nan=False)))
        answers.append(told)
    assert answers[0] == answers[1]


def test_the_name_builds_it_of_the_whole_table() -> None:
    """Every forecaster that has a name takes part; a window too short for one of them is refused by its name."""
    assert list(build_forecaster(ForecastSettings(name=AUTO)).why["pinball"]) == list(FORECASTERS)
    with pytest.raises(ConfigError, match=r"forecaster\.window: 50\.0; accepted: .* arima needs"):
        build_forecaster(ForecastSettings(name=AUTO, window=50.0))
