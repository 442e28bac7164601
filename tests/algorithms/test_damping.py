"""Damping holds still what noise would move, and never holds back a rescue."""

from __future__ import annotations

import numpy as np
import pytest

from ipa_seldon.algorithms import Algorithm, Settings
from ipa_seldon.algorithms.damping import Agreed, CoolDown, MinimumGain, Stabilised
from ipa_seldon.algorithms.ipa import Ipa
from ipa_seldon.bootstrap import build_solver
from ipa_seldon.controller import Controller
from ipa_seldon.forecasters import FORECASTERS, ForecastSettings
from ipa_seldon.forecasters.quantile import build_forecaster
from ipa_seldon.plan import Observation, Plan, Proposal
from ipa_seldon.queueing import Queueing
from tests.factories import random_pipeline
from tests.fakes import MemoryPlatform

PIPELINE = random_pipeline(11, stages=2, chain=True)
INTERVAL, WARM_UP = 10, 500


def algorithm(queueing: Queueing = Queueing.PUBLISHED) -> Ipa:
    return Ipa(PIPELINE, Settings(build_solver("auto"), queueing=queueing))


def switches(
    decider: Algorithm, forecaster: ForecastSettings, load: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> int:
    """Plans applied after the warm-up, when ``load`` arrives second by second."""
    platform = MemoryPlatform({}, [])
    loop = Controller(platform, build_forecaster(forecaster), decider)
    before = 0
    for now in range(INTERVAL, len(load), INTERVAL):
        platform.arrivals = tuple(load[max(0, now - 150) : now].tolist())
        loop.step(1.7e9 + now)
        before = len(platform.applied) if now <= WARM_UP else before
    return len(platform.applied) - before


@pytest.mark.parametrize("forecaster", FORECASTERS)
def test_no_switch_at_all_under_constant_load(forecaster: str) -> None:
    """The same count every second: whatever the forecaster, and without any damping, nothing ever changes.

    (Without its quantile, whose margin rightly shrinks as a load turns out to have no noise.)
    """
    point = ForecastSettings(name=forecaster, quantile=None)
    for rate in (3.0, 17.0, 60.0):
        assert switches(algorithm(), point, np.full(1000, rate)) == 0


@pytest.mark.parametrize(("queueing", "most"), [(Queueing.PUBLISHED, 1), (Queueing.CALIBRATED, 2)])
@pytest.mark.parametrize("rate", [5.0, 12.0, 25.0, 40.0, 60.0])
def test_damping_quiets_poisson_noise(rate: float, queueing: Queueing, most: int) -> None:
    """Arrivals at a constant rate are noisy all the same. With the damping the documentation shows, an hour of them
    brings at most one switch, for the highest peak so far (two where the queue's tail adds a step); undamped, the same
    hour brings dozens to the published queue.
    """
    load = np.random.default_rng(7).poisson(rate, 3600).astype(float)
    damped = CoolDown(MinimumGain(Stabilised(algorithm(queueing), 60.0, 0.35), 0.01), 60.0)
    gate = ForecastSettings(name="gate")
    assert switches(damped, gate, load) <= most
    if queueing is Queueing.PUBLISHED and rate > 10:
        assert switches(algorithm(queueing), gate, load) > 20


class Rates:
    """Remembers the rates it was asked to decide for."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    def decide(self, rate: float, observation: Observation) -> Proposal:
        self.asked.append(rate)
        return algorithm().decide(rate, observation)

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        return algorithm().evaluate(plan, rate)


def test_the_stabilised_rate_goes_up_at_once_and_down_late() -> None:
    """Up with the forecast; down only when every forecast of the window is below the tolerance, then to the highest."""
    inner = Rates()
    stabilised = Stabilised(inner, seconds=20.0, tolerance=0.25)
    forecasts = [10.0, 12.0, 11.0, 9.5, 8.0, 7.0, 6.0, 30.0, 29.0]
    for step, rate in enumerate(forecasts):
        stabilised.decide(rate, Observation(10.0 * step, (), {}))
    assert inner.asked == [10.0, 12.0, 12.0, 12.0, 12.0, 12.0, 8.0, 30.0, 30.0]


def test_a_lower_rate_needs_decisions_in_a_row_that_agree() -> None:
    """Up at once; down when three in a row are lower, to the highest of them; one that is not starts them again."""
    inner = Rates()
    agreed = Agreed(inner, decisions=3)
    for step, rate in enumerate([10.0, 4.0, 5.0, 4.0, 20.0, 3.0, 8.0, 3.0, 3.0, 3.0]):
        agreed.decide(rate, Observation(float(step), (), {}))
    assert inner.asked == [10.0, 10.0, 10.0, 5.0, 20.0, 20.0, 20.0, 8.0, 8.0, 3.0]


def test_a_switch_that_was_not_made_starts_no_cool_down() -> None:
    """What is refused or only recommended is proposed again at once; what was made holds the next one back, from when
    it was let through.
    """
    high, low = (algorithm(Queueing.CALIBRATED).decide(rate, Observation(0.0, (), {})).plan for rate in (60.0, 1.0))
    assert high != low
    cooling = CoolDown(algorithm(Queueing.CALIBRATED), 100.0)

    def held(rate: float, time: float, running: Plan) -> bool:
        return cooling.decide(rate, Observation(time, (), running)).held

    assert not held(1.0, 0.0, high)
    assert not held(1.0, 10.0, high)
    assert not held(60.0, 20.0, low)  # a rescue, after the switch of 10 s was made
    assert held(1.0, 60.0, high)
    assert held(1.0, 119.0, high)
    assert not held(1.0, 121.0, high)
