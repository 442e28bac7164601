"""Load forecasts. A point forecaster predicts the peak of the horizon; ``quantile`` wraps it with a safety margin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any, Protocol

from ipa_seldon.errors import ConfigError

FORECASTERS: Mapping[str, str] = {
    "arima": "ipa_seldon.forecasters.arima:Arima",
    "last": "ipa_seldon.forecasters.naive:Last",
    "max": "ipa_seldon.forecasters.naive:Max",
    "average": "ipa_seldon.forecasters.naive:Average",
    "ewma": "ipa_seldon.forecasters.naive:Ewma",
    "gate": "ipa_seldon.forecasters.gate:Gate",
}
AUTO = "auto"  # runs all of these, and follows the best
BARE = 0.95  # the quantile by which a bare point is judged: what an autoscaler pays for load it cannot carry
SEED_PROBABILITIES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)


class Forecaster(Protocol):
    """What the controller calls once a tick."""

    def forecast(self, time: float, arrivals: Sequence[float]) -> float:
        """The rate (requests/s, finite, >= 0) to plan for over the horizon after ``time``.

        ``arrivals``: requests per second at 1 Hz, oldest first, ending at ``time``; NaN where nobody measured.
        Never raises for constant, zero, short, gappy or NaN histories. May keep what it has learnt from earlier calls,
        but must be a deterministic function of the sequence of calls, so that an audit log replays.
        """
        ...

    @property
    def why(self) -> Mapping[str, Any]:
        """What there is to say of the last forecast, as JSON types, for whoever reads the decision; may be empty."""
        ...


class CountingForecaster(Forecaster, Protocol):
    """A forecaster that counts how often it had to make do (see Prediction)."""

    fallbacks: int


@dataclass(frozen=True)
class ForecastSettings:
    """The ``forecaster`` section of a pipeline file. ``window``, ``aggregate`` and ``horizon`` are whole seconds: the
    point forecaster sees the maxima of blocks of ``aggregate`` seconds over the last ``window``, and predicts the
    maximum of the next ``horizon``. ``resolution``: the maxima are of means over so many seconds (1: of every second's
    count, as the published systems do; a queue that may last for seconds needs no replicas for the peak of one).
    ``quantile`` None means the bare point; ``margin`` adds a fixed fraction, as the published systems do instead.
    ``order`` is ARIMA's (p, d, q).

    Raises ConfigError naming the key.
    """

    name: str = "arima"
    window: float = 120.0
    aggregate: float = 10.0
    horizon: float = 20.0
    resolution: float = 1.0
    quantile: float | None = 0.95
    margin: float = 0.0
    order: tuple[int, int, int] = (1, 0, 0)

    def __post_init__(self) -> None:
        for key in ("aggregate", "window", "horizon", "resolution"):
            value = getattr(self, key)
            if not (isfinite(value) and value >= 1 and value == int(value)):
                raise ConfigError(f"forecaster.{key}: {value}; accepted: a whole number of seconds, 1 or more")
        if self.window < self.aggregate:
            raise ConfigError(f"forecaster.window: {self.window}; accepted: at least aggregate, {self.aggregate}")
        if self.resolution > self.aggregate:
            raise ConfigError(
                f"forecaster.resolution: {self.resolution}; accepted: at most aggregate, {self.aggregate}"
            )
        if self.quantile is not None and not 0 < self.quantile < 1:
            raise ConfigError(f"forecaster.quantile: {self.quantile}; accepted: between 0 and 1, or none")
        if not (isfinite(self.margin) and self.margin >= 0):
            raise ConfigError(f"forecaster.margin: {self.margin}; accepted: a number >= 0")
        if any(term < 0 for term in self.order):
            raise ConfigError(f"forecaster.order: {list(self.order)}; accepted: three whole numbers >= 0: p, d, q")

    @property
    def blocks(self) -> int:
        """Whole blocks in the window."""
        return int(self.window // self.aggregate)

    @property
    def judged_at(self) -> float:
        """The quantile whose pinball loss tells how good a forecast is."""
        return BARE if self.quantile is None else self.quantile

    @property
    def steps(self) -> int:
        """Blocks that cover the horizon."""
        return ceil(self.horizon / self.aggregate)


@dataclass(frozen=True)
class Prediction:
    """``peak``: requests/s expected as the horizon's maximum. ``scale``: the size of a typical error of it, in
    requests/s; None stands for sqrt(max(peak, 1)), as of a Poisson count. ``fallback``: the forecaster could not do
    what it is named for (a fit that did not converge) and made do.
    """

    peak: float
    scale: float | None = None
    fallback: bool = False


class PointForecaster(Protocol):
    """Built from the settings alone; one instance serves one pipeline and may learn from call to call."""

    minimum: int
    """Blocks the window must hold before ``predict`` is called."""
    seed_scores: Sequence[float]
    """Typical scores (y - peak) / scale at SEED_PROBABILITIES, in force until real ones have come in."""

    def predict(self, blocks: Sequence[float], fresh: int) -> Prediction:
        """Predict from ``blocks``: at least ``minimum`` finite maxima >= 0, oldest first, the last ending now.

        The last ``fresh`` of them have not been learnt yet; each stretch of time is fresh once. With ``fresh`` 0 the
        call comes in the middle of a block: the last one then overlaps the block learnt last, and is not to be learnt.
        """
        ...
