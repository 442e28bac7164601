"""The last rounds of a pipeline, kept in memory for whoever asks a running adapter. Bounded."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock

from ipa_seldon.config import Config
from ipa_seldon.plan import Decision, is_switch
from ipa_seldon.telemetry.audit import decision_to_json, describe

KEPT = 60
"""Decisions that are kept whole."""
SPAN = 600
"""Seconds of load that are kept, and of the forecasts for it."""
POINTS = 600
"""Forecasts that are kept at most."""


@dataclass(frozen=True)
class Forecast:
    """At ``time`` (seconds since the epoch) a ``rate`` was forecast, and a plan chosen that carries ``served``; both in
    requests/s, None where the round came to neither. ``switched``: whether another plan was put in place.
    """

    time: float
    rate: float | None
    served: float | None
    switched: bool


@dataclass(frozen=True)
class Past:
    """What a History holds at a moment. ``decisions`` are (tick, decision), oldest first; ``load`` is the requests of
    every second from ``start`` (seconds since the epoch) on, None where nobody counted.
    """

    decisions: tuple[tuple[int, Decision], ...]
    start: int
    load: tuple[float | None, ...]
    forecasts: tuple[Forecast, ...]

    @property
    def last(self) -> Decision | None:
        """The last decision."""
        return self.decisions[-1][1] if self.decisions else None


class History:
    """A listener of a loop that began at ``since`` (seconds since the epoch), in which ``algorithm`` (by default the
    config's) decides; may be read from any thread.
    """

    def __init__(self, config: Config, since: float, algorithm: str | None = None) -> None:
        self.config = config
        self.since = since
        self.algorithm = algorithm or config.spec.algorithm
        self._ticks = 0
        self._decisions: deque[tuple[int, Decision]] = deque(maxlen=KEPT)
        self._forecasts: deque[Forecast] = deque(maxlen=POINTS)
        self._load: dict[int, float] = {}
        self._lock = Lock()

    def __call__(self, decision: Decision) -> None:
        """Keep the decision, and forget what is too old."""
        proposal, time = decision.proposal, decision.observation.time
        served = None if proposal is None else proposal.served
        with self._lock:
            self._decisions.append((self._ticks, decision))
            self._ticks += 1
            self._forecasts.append(Forecast(time, decision.rate, served, is_switch(decision)))
            while self._forecasts[0].time < time - SPAN:
                self._forecasts.popleft()
            self._count(decision)

    def past(self) -> Past:
        """What is held now."""
        with self._lock:
            start, end = min(self._load, default=0), max(self._load, default=-1)
            load = tuple(self._load.get(second) for second in range(start, end + 1))
            return Past(tuple(self._decisions), start, load, tuple(self._forecasts))

    def audit_log(self) -> Iterator[str]:
        """The lines of an audit log of the decisions that are held; ticks count from the first one ever made."""
        decisions = self.past().decisions
        yield json.dumps(describe(self.config, self.algorithm), allow_nan=False)
        for tick, decision in decisions:
            yield json.dumps({"tick": tick, **decision_to_json(decision)}, allow_nan=False)

    def _count(self, decision: Decision) -> None:
        """What a later round knows of a second replaces what an earlier one did, unless it knows nothing of it."""
        arrivals, end = decision.observation.arrivals, math.floor(decision.observation.time)
        for second, count in enumerate(arrivals, start=end - len(arrivals)):
            if math.isfinite(count):
                self._load[second] = count
        for second in [second for second in self._load if not end - SPAN <= second < end]:
            del self._load[second]
