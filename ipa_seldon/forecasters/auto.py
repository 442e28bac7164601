"""Follow whichever forecaster has been best of late, with hysteresis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from ipa_seldon.forecasters import CountingForecaster, ForecastSettings
from ipa_seldon.forecasters.score import Score

FIRST = "gate"  # followed until scores say otherwise
# In blocks: what is remembered of every forecaster, as much as its quantile rests on, and for how long another one must
# have been better. With a shorter memory the luck of single bursts decides: docs/experiments.md.
MEMORY, PATIENCE = 1080, 90
MARGIN = 0.03  # share of the followed one's loss by which another must be better
LOOK_BACK = 60  # blocks, at most, that the first call forecasts which have come already


class Auto:
    """A Forecaster that runs ``members``, which all forecast the same, and answers with the one it follows.

    Judged is the mean pinball loss of the last MEMORY blocks. The best is followed once the one that is has been worse
    by more than MARGIN for PATIENCE blocks on end. ``fallbacks`` counts the answers for which the one followed made do.
    """

    def __init__(self, settings: ForecastSettings, members: Mapping[str, CountingForecaster]) -> None:
        self.fallbacks = 0
        self._members = members
        self._block = int(settings.aggregate)
        memory = MEMORY * settings.aggregate
        self._scores = {
            name: Score(settings.horizon, settings.judged_at, settings.resolution, memory) for name in members
        }
        self._following = FIRST
        self._beaten_since: float | None = None
        self._started = False

    @property
    def why(self) -> Mapping[str, Any]:
        """``following``: whose forecast it is; ``pinball``: each one's recent loss (requests/s), None where unknown."""
        return {"following": self._following, "pinball": {name: score.pinball for name, score in self._scores.items()}}

    def forecast(self, time: float, arrivals: Sequence[float]) -> float:
        """The rate to plan for, see Forecaster."""
        if not self._started:  # what is known already is forecast now, so as not to begin blind
            self._started = True
            self._look_back(time, arrivals)
        return self._step(time, arrivals)

    def _look_back(self, time: float, arrivals: Sequence[float]) -> None:
        measured = (second for second, count in enumerate(arrivals) if isfinite(count))
        blocks = (len(arrivals) - next(measured, len(arrivals))) // self._block
        for ago in range(min(blocks - 1, LOOK_BACK) * self._block, 0, -self._block):
            self._step(time - ago, arrivals[: len(arrivals) - ago])

    def _step(self, time: float, arrivals: Sequence[float]) -> float:
        judged = [score.observe(time, arrivals) for score in self._scores.values()]
        if any(judged):
            self._choose(time)
        made_do = self._members[self._following].fallbacks
        rates = {name: member.forecast(time, arrivals) for name, member in self._members.items()}
        self.fallbacks += self._members[self._following].fallbacks - made_do
        for name, rate in rates.items():
            self._scores[name].forecast(time, rate)
        return rates[self._following]

    def _choose(self, time: float) -> None:
        """Follow the best once the one that is followed has been beaten for long enough."""
        losses = {name: score.pinball for name, score in self._scores.items() if score.pinball is not None}
        best = min(losses, key=losses.__getitem__)
        if losses[best] >= (1 - MARGIN) * losses[self._following]:
            self._beaten_since = None
        elif self._beaten_since is None or time < self._beaten_since:
            self._beaten_since = time
        elif time - self._beaten_since >= PATIENCE * self._block:
            self._following, self._beaten_since = best, None
