"""How good forecasts are: the error of one, and the mean over the recent ones, kept on line."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from ipa_seldon.forecasters.peaks import Pending, moving_sums

MEMORY = 3600.0  # seconds
ROUNDING = 1e-9  # requests/s by which a forecast may be low without counting as low


class ForecastError(NamedTuple):
    """How far a forecast p was from the horizon's maximum y: ``relative``, |y - p| / ((y + p) / 2), 0 where both are 0,
    whose mean is the sMAPE; ``under``: p < y; ``over``: max(p - y, 0) / max(y, 1); ``pinball`` loss in requests/s.
    """

    relative: float
    under: bool
    over: float
    pinball: float


def forecast_error(truth: float, forecast: float, quantile: float) -> ForecastError:
    """The errors of one forecast, both rates in requests/s and >= 0; ``quantile`` is the pinball loss's."""
    low = truth - forecast
    middle = truth / 2 + forecast / 2
    return ForecastError(
        relative=abs(low) / middle if middle > 0 else 0.0,
        under=low > ROUNDING,
        over=max(-low, 0.0) / max(truth, 1.0),
        pinball=max(quantile * low, (quantile - 1) * low),
    )


class Score:
    """Judges forecasts once their horizon is over, and keeps what the last ``memory`` seconds have shown.

    ``horizon`` and ``resolution`` are whole seconds: forecast is the highest mean over ``resolution`` seconds within
    the horizon. Pure: its state is a function of the calls.
    """

    def __init__(self, horizon: float, quantile: float, resolution: float = 1.0, memory: float = MEMORY) -> None:
        self._quantile = quantile
        self._resolution = int(resolution)
        self._memory = memory
        self._pending: Pending[float] = Pending(int(horizon))
        self._errors: deque[tuple[float, ForecastError]] = deque()

    def forecast(self, time: float, rate: float) -> None:
        """``rate`` (requests/s) was forecast at ``time`` (seconds) for the horizon after it."""
        self._pending.add(time, rate)

    def observe(self, time: float, arrivals: Sequence[float]) -> int:
        """Judge what can be judged by now, and say how many forecasts that was.

        ``arrivals`` as for a forecaster: 1 Hz, oldest first, ending at ``time``, NaN where nobody measured. They should
        reach back over the horizon and the time between two calls; what they miss is not judged.
        """
        settled = self._pending.settle(time, moving_sums(arrivals, self._resolution))
        for rate, count in settled:
            self._errors.append((time, forecast_error(count / self._resolution, rate, self._quantile)))
        while self._errors and not 0 <= time - self._errors[0][0] < self._memory:
            self._errors.popleft()
        return len(settled)

    @property
    def judged(self) -> int:
        """Forecasts that the measures rest on."""
        return len(self._errors)

    @property
    def smape(self) -> float | None:
        """Mean of |y - p| / ((y + p) / 2), a ratio from 0 to 2; None before a forecast was judged."""
        return sum(error.relative for _, error in self._errors) / self.judged if self.judged else None

    @property
    def coverage(self) -> float | None:
        """Share of the forecasts that were not too low, which should be the quantile; None as above."""
        return sum(not error.under for _, error in self._errors) / self.judged if self.judged else None

    @property
    def pinball(self) -> float | None:
        """Mean pinball loss at the quantile, requests/s; None as above."""
        # Dividing first cannot overflow, however absurd the loads are.
        count = self.judged
        return sum(error.pinball / count for _, error in self._errors) if count else None
