"""The recommender of Kubernetes' Vertical Pod Autoscaler, for the cores of one container, with its default settings.

CPU usage, a mean per minute, goes into a histogram of exponential buckets in which a sample's weight halves every
24 hours. The recommendation is a percentile of it and a margin; further percentiles are the bounds within which a
request is let be, the wider the less history there is. Upstream weighs every sample of CPU alike (it means to weigh
them by the request, and never sets that). Left out is what plays no role for whole cores: the buckets' end at 1,000
cores, the least recommendation of 25 millicores, the rounding of usage to millicores.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite, log

MINUTE, DAY = 60, 86400.0
FIRST_BUCKET, GROWTH = 0.01, 0.05
"""Cores of the first bucket, and by how much each is wider than the last."""
HALF_LIFE = DAY
MARGIN = 0.15
LOWER, TARGET, UPPER = 0.5, 0.9, 0.95
"""The percentiles of bounds and target."""


@dataclass(frozen=True)
class Recommendation:
    """Cores: what a container should have, and the bounds outside of which it is resized."""

    lower: float
    target: float
    upper: float


class Histogram:
    """Usage in cores, of which newer samples weigh more: a sample's weight halves in ``HALF_LIFE`` seconds."""

    def __init__(self) -> None:
        self._weights: defaultdict[int, float] = defaultdict(float)
        self._latest = 0.0

    def add(self, time: float, usage: float) -> None:
        """A sample of ``usage`` cores at ``time`` (seconds), no earlier than the last one."""
        decay = 0.5 ** ((time - self._latest) / HALF_LIFE)
        for bucket in self._weights:
            self._weights[bucket] *= decay
        self._latest = time
        self._weights[int(log(usage * GROWTH / FIRST_BUCKET + 1, 1 + GROWTH))] += 1.0

    def percentile(self, fraction: float) -> float:
        """The end (cores) of the bucket in which that fraction of the weight is reached."""
        below, wanted = 0.0, fraction * sum(self._weights.values())
        for bucket in sorted(self._weights):
            below += self._weights[bucket]
            if below >= wanted:
                break
        return float(FIRST_BUCKET * ((1 + GROWTH) ** (bucket + 1) - 1) / GROWTH)


class Recommender:
    """What a container should have, by the usage it was seen to have."""

    def __init__(self) -> None:
        self._histogram = Histogram()
        self._count = 0
        self._first = self._last = 0.0

    def add(self, time: float, usage: float) -> None:
        """The mean usage (cores) of the minute that began at ``time`` (seconds), later than all before."""
        self._histogram.add(time, usage)
        self._first = self._first if self._count else time
        self._last = time
        self._count += 1

    def recommend(self) -> Recommendation | None:
        """By all samples; None before the first. With ``days`` of history the lower bound is divided by
        ``(1 + 0.001 / days) ** 2`` and the upper one multiplied by ``1 + 1 / days``.
        """
        if not self._count:
            return None
        days = min((self._last - self._first) / DAY, self._count * MINUTE / DAY)
        lower, target, upper = ((1 + MARGIN) * self._histogram.percentile(p) for p in (LOWER, TARGET, UPPER))
        if not days:
            return Recommendation(0.0, target, inf)
        return Recommendation(lower * (1 + 0.001 / days) ** -2, target, upper * (1 + 1 / days))


class Minutes:
    """Seconds that are observed again and again, as means per minute of the clock; every one counts once."""

    def __init__(self) -> None:
        self._seen = -inf
        self._minute = 0
        self._values: list[float] = []

    def take(self, end: int, values: Sequence[float]) -> Iterator[tuple[float, float]]:
        """The minutes (start in seconds, mean) that have ended by ``end``; ``values`` are of the seconds before it, the
        oldest first, NaN where nothing was measured. A minute without a value is left out.
        """
        for second, value in zip(range(end - len(values), end), values, strict=True):
            if second >= self._seen:
                yield from self._ended(second)
                if isfinite(value):
                    self._values.append(value)
        if end > self._seen:
            self._seen = end
            yield from self._ended(end)

    def _ended(self, now: int) -> Iterator[tuple[float, float]]:
        if now // MINUTE != self._minute:
            if self._values:
                yield float(self._minute * MINUTE), sum(self._values) / len(self._values)
            self._minute, self._values = now // MINUTE, []
