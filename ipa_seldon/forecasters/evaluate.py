"""Roll a forecaster over a trace and say how well it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ipa_seldon.forecasters import CountingForecaster, ForecastSettings
from ipa_seldon.forecasters.peaks import moving_sums
from ipa_seldon.forecasters.score import ForecastError, forecast_error

HOUR = 3600
SHORTEST_HOLE = 10  # seconds
MISSED = 20.0  # requests: under Poisson arrivals, a silence this long has a chance of exp(-20)


@dataclass(frozen=True)
class Evaluation:
    """One forecaster on one trace; y is the horizon's true maximum (of means over the resolution), p the forecast.

    Means of ForecastError over the steps: ``smape``, ``steps_under``, ``mean_over`` in %, ``pinball_loss`` in
    requests/s. ``coverage``: the steps that are not under, %; ``worst_hour_under``: the steps under in the worst full
    hour (of the whole trace, if it is shorter), %. ``milliseconds_median``, ``milliseconds_max``: of one call.
    ``next_rate``: requests/s, the forecast at the end.
    """

    steps: int
    smape: float
    steps_under: float
    coverage: float
    worst_hour_under: float
    mean_over: float
    pinball_loss: float
    milliseconds_median: float
    milliseconds_max: float
    fallbacks: int
    next_rate: float


class Step(NamedTuple):
    """One forecast of an evaluation: ``rate`` was forecast ``time`` seconds into the trace; ``peak`` is what came."""

    time: int
    rate: float
    peak: float
    error: ForecastError


def evaluate(
    forecaster: CountingForecaster,
    trace: Sequence[float],
    settings: ForecastSettings,
    clock: Callable[[], float],
    took: Callable[[Step], None] = lambda _: None,
) -> Evaluation:
    """Forecast every ``settings.aggregate`` seconds from the first full window on, as a controller would.

    ``clock`` (seconds) times the calls; ``took`` receives every step as it is done.
    Raises ValueError when the trace is shorter than a window and a horizon.
    """
    window, stride, horizon = int(settings.window), int(settings.aggregate), int(settings.horizon)
    resolution = int(settings.resolution)
    rates = [count / resolution for count in moving_sums(trace, resolution)]
    times = range(window, len(trace) - horizon + 1, stride)
    if not times:
        raise ValueError(f"{len(trace)} s of trace; accepted: at least window and horizon, {window + horizon} s")
    # A horizon is scored at the first call after its end, and its start must still be seen then.
    remembered = max(window, horizon + stride) + resolution - 1
    errors: list[ForecastError] = []
    seconds: list[float] = []
    for now in times:
        arrivals = trace[max(0, now - remembered) : now]
        started = clock()
        rate = forecaster.forecast(float(now), arrivals)
        seconds.append(clock() - started)
        peak = max(rates[now : now + horizon])
        errors.append(forecast_error(peak, rate, settings.judged_at))
        took(Step(now, rate, peak, errors[-1]))
    fallbacks = forecaster.fallbacks
    following = forecaster.forecast(float(len(trace)), trace[max(0, len(trace) - remembered) :])
    return _measure(errors, HOUR // stride, (seconds, fallbacks, following))


def _measure(errors: Sequence[ForecastError], hour: int, call: tuple[Sequence[float], int, float]) -> Evaluation:
    relative, under, over, pinball = np.array(errors, dtype=float).T
    hours = [under[start : start + hour].mean() for start in range(0, len(under) - hour + 1, hour)] or [under.mean()]
    seconds, fallbacks, following = call
    return Evaluation(
        steps=len(errors),
        smape=100 * float(relative.mean()),
        steps_under=100 * float(under.mean()),
        coverage=100 * float(1 - under.mean()),
        worst_hour_under=100 * float(max(hours)),
        mean_over=100 * float(over.mean()),
        pinball_loss=float(pinball.mean()),
        milliseconds_median=1000 * float(np.median(seconds)),
        milliseconds_max=1000 * max(seconds),
        fallbacks=fallbacks,
        next_rate=following,
    )


def without_holes(trace: Sequence[float]) -> list[float]:
    """The trace without its holes: runs of zeros so long that the recording, not the load, must have stopped.

    A run counts as a hole when it lasts at least 10 s and the load of the minute before it would have sent at least
    20 requests meanwhile.
    """
    kept: list[float] = []
    start = 0
    while start < len(trace):
        end = start
        while end < len(trace) and trace[end] == 0:
            end += 1
        before = kept[-60:]
        missed = (end - start) * sum(before) / max(1, len(before))
        if end - start < SHORTEST_HOLE or missed < MISSED:
            kept.extend(trace[start:end])
        if end < len(trace):
            kept.append(trace[end])
        start = end + 1
    return kept
