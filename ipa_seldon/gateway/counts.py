"""Exact counts at 1 Hz."""

from __future__ import annotations

from collections import Counter

KEPT = 7200
"""Seconds of history that are kept."""


class Counts:
    """Counts requests by wall-clock second; starts at ``now`` (seconds since the epoch)."""

    def __init__(self, now: float) -> None:
        self._start = int(now)
        self._counts: Counter[int] = Counter()

    def count(self, now: float) -> None:
        """One more at ``now``."""
        second = int(now)
        if second not in self._counts:
            self._forget(second - KEPT)
        self._counts[second] += 1

    def series(self, now: float, seconds: int) -> tuple[int, list[int]]:
        """``(end, counts)``: ``counts[-1]`` of [end - 1, end), the last complete second before ``now``.

        At most ``seconds`` counts, oldest first; fewer where counting started later than that.
        """
        end = int(now)
        first = max(end - min(seconds, KEPT), self._start)
        return end, [self._counts[second] for second in range(first, end)]

    def _forget(self, before: int) -> None:
        for second in [second for second in self._counts if second < before]:
            del self._counts[second]
