"""What forecasts are about: maxima of stretches of load, of which some seconds may not have been measured."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice, repeat
from math import isfinite, nan
from typing import Generic, TypeVar

import numpy as np

MEASURED = 0.75  # share of a stretch's seconds that must have been measured for its maximum to count

Promise = TypeVar("Promise")


class Pending(Generic[Promise]):
    """What was promised of horizons (whole seconds) that are not over yet."""

    def __init__(self, horizon: int) -> None:
        self._horizon = horizon
        self._promised: deque[tuple[float, Promise]] = deque()

    def add(self, time: float, promise: Promise) -> None:
        """``promise`` is about the horizon after ``time``."""
        self._promised.append((time, promise))

    def settle(self, time: float, counts: Sequence[float]) -> list[tuple[Promise, float]]:
        """Every promise whose horizon is over, and the maximum that came, where it was measured; each once.

        ``counts``: one a second, oldest first, ending at ``time``; what they no longer reach back to is not settled.
        When the clock was set back, promises from its future cannot be told apart, and are dropped.
        """
        if self._promised and time < self._promised[-1][0]:
            self._promised.clear()
        settled = []
        while self._promised and time - self._promised[0][0] >= self._horizon:
            since, promise = self._promised.popleft()
            start = len(counts) - round(time - since)
            found = peak(counts[start : start + self._horizon]) if start >= 0 else None
            if found is not None:
                settled.append((promise, found))
        return settled


def moving_sums(arrivals: Sequence[float], seconds: int) -> Sequence[float]:
    """Requests of the last ``seconds`` at the end of each second; NaN where too few of them were measured.

    The mean rate of those that were measured stands in for the others. A history of fewer seconds is all there is to go
    by: its end counts, however short it is.
    """
    if seconds == 1:
        return arrivals
    values = np.asarray(arrivals, dtype=float)
    measured = np.isfinite(values) & (values >= 0)
    known = np.where(measured, values, 0.0)
    if not len(values):
        return []
    if len(values) < seconds:
        rate = known.sum() / measured.sum() if measured.any() else nan
        return [*repeat(nan, len(values) - 1), float(rate) * seconds]
    sums = np.convolve(known, np.ones(seconds), "valid")
    counts = np.convolve(measured, np.ones(seconds), "valid")
    whole = np.where(counts >= MEASURED * seconds, sums * seconds / np.maximum(counts, 1), nan)
    return [*repeat(nan, seconds - 1), *whole.tolist()]


def measured_seconds(seconds: Sequence[float]) -> list[float]:
    """Those that somebody measured."""
    return [value for value in seconds if isfinite(value) and value >= 0]


def peak(seconds: Sequence[float]) -> float | None:
    """The maximum of a stretch; None when too little of it was measured to know."""
    measured = measured_seconds(seconds)
    return max(measured) if measured and len(measured) >= MEASURED * len(seconds) else None


def block_peaks(seconds: Sequence[float], size: int) -> list[float | None]:
    """The maximum of each whole block, counted back from the end, oldest first; None where it was not measured."""
    values = list(islice(seconds, len(seconds) % size, None))
    return [peak(values[start : start + size]) for start in range(0, len(values), size)]
