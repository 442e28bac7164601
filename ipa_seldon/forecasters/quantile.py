"""The rolling residual quantile: a safety margin from a point forecaster's own recent errors, conformal in spirit.

score = (y - peak) / scale for every horizon that has been observed; the forecast is peak + Q * scale, Q being the
wanted quantile of the last scores.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, isfinite, sqrt
from typing import Any

import numpy as np

from ipa_seldon import plugins
from ipa_seldon.errors import ConfigError
from ipa_seldon.forecasters import (
    AUTO,
    FORECASTERS,
    SEED_PROBABILITIES,
    CountingForecaster,
    ForecastSettings,
    PointForecaster,
    Prediction,
)
from ipa_seldon.forecasters.auto import Auto
from ipa_seldon.forecasters.peaks import Pending, block_peaks, measured_seconds, moving_sums

SCORES, SEEDS = 1080, 200  # scores kept, and pseudo-scores to start from
JITTER = 0.1  # blocks: how early a call may come and still be taken for the end of a block


def build_forecaster(settings: ForecastSettings) -> CountingForecaster:
    """The forecaster that ``settings`` describe.

    Raises PluginError when the name is unknown or its package missing, ConfigError when the window is too short.
    """
    if settings.name == AUTO:
        return Auto(settings, {name: build_forecaster(replace(settings, name=name)) for name in FORECASTERS})
    point: PointForecaster = plugins.load("forecaster", settings.name, FORECASTERS)(settings)
    if settings.blocks < point.minimum:
        needed = point.minimum * settings.aggregate
        raise ConfigError(
            f"forecaster.window: {settings.window}; accepted: at least {needed:g} s, the {point.minimum} blocks of "
            f"{settings.aggregate:g} s that {settings.name} needs"
        )
    return RollingForecaster(settings, point)


class ScoreQuantile:
    """The wanted quantile of the last scores, in O(log n) a score."""

    def __init__(self, quantile: float, seed_scores: Sequence[float]) -> None:
        places = (np.arange(SEEDS) + 0.5) / SEEDS
        self._ordered: list[float] = np.interp(places, SEED_PROBABILITIES, seed_scores).tolist()
        # The order they leave in: were they sorted, the low ones would go first and the quantile would drift upwards.
        shuffled = np.random.default_rng(0).permutation(self._ordered)
        self._arrived: deque[float] = deque(shuffled.tolist())
        self._quantile = quantile

    def add(self, score: float) -> None:
        """Take in one score, and forget the oldest of too many."""
        insort(self._ordered, score)
        self._arrived.append(score)
        if len(self._arrived) > SCORES:
            del self._ordered[bisect_left(self._ordered, self._arrived.popleft())]

    @property
    def value(self) -> float:
        """The ceil((n + 1) * quantile)-th smallest of the n scores: the split-conformal rank."""
        count = len(self._ordered)
        return self._ordered[min(count, ceil((count + 1) * self._quantile)) - 1]


@dataclass(frozen=True)
class _Promise:
    """A prediction that can be scored: both are set and finite, the scale > 0."""

    peak: float
    scale: float


class RollingForecaster:
    """A Forecaster made of a point forecaster and its score quantile. It may be called at any interval.

    Blocks are counted back from the call, so that the newest second always counts. A block is learnt, and a prediction
    scored, once per ``aggregate`` seconds: calls in between predict from it without learning.
    ``fallbacks`` counts the predictions for which the point forecaster made do (see Prediction).
    """

    why: Mapping[str, Any] = {}

    def __init__(self, settings: ForecastSettings, point: PointForecaster) -> None:
        self.fallbacks = 0
        self._settings = settings
        self._point = point
        self._margin = ScoreQuantile(settings.quantile, point.seed_scores) if settings.quantile else None
        self._pending: Pending[_Promise] = Pending(int(settings.horizon))
        self._learnt_until: float | None = None
        self._unlearnt = 0
        self._standing = 0.0

    def forecast(self, time: float, arrivals: Sequence[float]) -> float:
        """The rate to plan for, see Forecaster. When the window holds too few blocks it is the largest rate measured in
        it; when it holds nothing, the last forecast stands.
        """
        resolution = int(self._settings.resolution)
        # Within, a rate is the count of ``resolution`` seconds: noise then is that of a count, at any resolution.
        rate = self._forecast(time, moving_sums(arrivals, resolution)) / resolution
        return min(rate * (1 + self._settings.margin), sys.float_info.max)

    def _forecast(self, time: float, counts: Sequence[float]) -> float:
        fresh = self._fresh_blocks(time)
        self._settle(time, counts)
        window = counts[max(0, len(counts) - int(self._settings.window)) :]
        slots = block_peaks(window, int(self._settings.aggregate))
        blocks = [peak for peak in slots if peak is not None]
        self._unlearnt += sum(peak is not None for peak in slots[max(0, len(slots) - fresh) :])
        if len(blocks) < self._point.minimum:
            self._standing = max(measured_seconds(window), default=self._standing)
        else:
            self._standing = self._predict(time, blocks)
        return self._standing

    def _predict(self, time: float, blocks: list[float]) -> float:
        fresh = min(self._unlearnt, len(blocks))
        self._unlearnt = 0
        prediction = self._point.predict(blocks, fresh)
        promise = _bounded(prediction, max(blocks))
        self.fallbacks += prediction.fallback or promise.peak != prediction.peak
        if self._margin is None:
            return promise.peak
        if fresh:
            self._pending.add(time, promise)
        return min(max(0.0, promise.peak + self._margin.value * promise.scale), sys.float_info.max)

    def _fresh_blocks(self, time: float) -> int:
        """How many blocks have ended since the last one learnt: all of the window at first, none within a block."""
        if self._learnt_until is None:
            self._learnt_until = time
            return self._settings.blocks
        ended = int((time - self._learnt_until) / self._settings.aggregate + JITTER)
        if ended or time < self._learnt_until:  # before it: the clock was set back
            self._learnt_until = time
        return max(0, ended)

    def _settle(self, time: float, counts: Sequence[float]) -> None:
        """Score every prediction whose horizon is over, if it was measured."""
        for promise, peak in self._pending.settle(time, counts):
            if self._margin:
                self._margin.add((peak - promise.peak) / promise.scale)


def _bounded(prediction: Prediction, largest: float) -> _Promise:
    """The prediction with what arithmetic on absurd loads may have broken set right."""
    peak = max(0.0, prediction.peak) if isfinite(prediction.peak) else largest
    scale = prediction.scale
    if scale is None or not (isfinite(scale) and scale > 0):
        scale = sqrt(max(peak, 1.0))
    return _Promise(peak, scale)
