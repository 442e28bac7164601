"""A recorded load in the simulator: under the plans that ran, or with an algorithm that is followed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np

from ipa_seldon.advice.recording import Recording
from ipa_seldon.bootstrap import build_algorithm, build_controller, history_seconds
from ipa_seldon.config import Config
from ipa_seldon.errors import ConfigError
from ipa_seldon.experiments.processes import Note
from ipa_seldon.experiments.simulate import core_seconds
from ipa_seldon.plan import Decision, Observation, Plan, is_switch
from ipa_seldon.platforms.simulator import SimulatedPlatform
from ipa_seldon.simulation.physics import Physics
from ipa_seldon.simulation.pipeline import Requests
from ipa_seldon.simulation.workload import Floats

PIECE = 500_000
"""Requests that are simulated together, so that weeks of them fit into the memory."""
Schedule = tuple[tuple[float, Plan], ...]
"""Moments (seconds since the epoch, ascending), and what ran from then on."""


@dataclass(frozen=True, eq=False)
class Case:
    """``config``'s algorithm is followed over ``recording``; or, with a ``schedule``, what ran runs again. At first it
    is ``running``: empty for a plan sized for the first load. ``seed`` decides what is random in load and serving.
    """

    name: str
    config: Config
    recording: Recording
    running: Plan = field(default_factory=dict)
    schedule: Schedule | None = None
    physics: Physics = field(default_factory=Physics)
    seed: int = 0


def replay(case: Case, note: Note = lambda _: None) -> dict[str, Any]:
    """The figures of a case, as JSON types; ``note`` hears how far it is.

    As those of ``experiments.simulate.figures``, with ``core_hours``. PlatformError for a schedule whose plans are not
    of the pipeline file. Deterministic, but for the ``seconds`` it takes.
    """
    begin = perf_counter()
    platform = RecordedPlatform(case)
    outcomes: Counter[str] = Counter()
    if case.schedule is None:
        _follow(case, platform, outcomes, note)
    else:
        for time, plan in case.schedule:
            platform.advance(time)
            platform.apply(plan)
            note((time - case.recording.start) / len(case.recording.rates))
        outcomes["switches"] = len(case.schedule)
    told = {key: outcomes[key] for key in ("decisions", "switches", "degraded", "failed")}
    return {**platform.finish(), **told, "seconds": perf_counter() - begin}


def _follow(case: Case, platform: RecordedPlatform, outcomes: Counter[str], note: Note) -> None:
    def hear(decision: Decision) -> None:
        outcomes.update(["decisions", str(decision.outcome), *(["switches"] if is_switch(decision) else [])])

    controller = build_controller(case.config, platform, build_algorithm(case.config), [hear])
    interval, seconds = case.config.spec.interval, len(case.recording.rates)
    # Multiples of the interval, rather than sums, so that no error adds up.
    for step in range(ceil(seconds / interval)):
        controller.step(case.recording.start + step * interval)
        note(step * interval / seconds)


class RecordedPlatform:
    """The simulator in the time of a recording, a piece of it after the other.

    Every piece begins with the plan that the one before ended with, and with empty queues. Seconds nobody measured have
    no requests, and are NaN in what is observed, as they were.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._pieces = _pieces(case.recording.rates)
        self._piece = 0
        self._history = history_seconds(case.config)
        self._past = len(case.recording.past)
        self._seen = np.concatenate((case.recording.past, np.full(len(case.recording.rates), np.nan)))
        self._totals = dict.fromkeys(("requests", "answered", "late", "dropped", "accuracy", "core_seconds"), 0.0)
        self._simulated = self._begun(case.running or self._first_plan())

    def advance(self, now: float) -> float:
        """Let everything happen before ``now`` (seconds since the epoch); the seconds into the piece under way."""
        # Seconds since the epoch have no more digits than these.
        at = round(now - self._case.recording.start, 6)
        while at >= self._pieces[self._piece][1] and self._piece + 1 < len(self._pieces):
            self._end()
            self._piece += 1
            self._simulated = self._begun(self._simulated.simulated.plan)
        inside = at - self._pieces[self._piece][0]
        self._simulated.simulated.advance(inside)
        return inside

    def observe(self, now: float) -> Observation:
        """As the simulator, with what was measured before."""
        inside = self.advance(now)
        observation = self._simulated.observe(inside)
        second = self._past + self._pieces[self._piece][0] + int(inside)
        arrivals = self._seen[max(0, second - self._history) : second]
        return replace(observation, time=now, arrivals=tuple(arrivals.tolist()))

    def apply(self, plan: Plan) -> None:
        """As the simulator."""
        self._simulated.apply(plan)

    def finish(self) -> dict[str, Any]:
        """What became of all requests, and the cores that took."""
        self._end()
        totals, seconds = self._totals, len(self._case.recording.rates)
        requests, answered = int(totals["requests"]), totals["answered"]
        return {
            "requests": requests,
            "late": int(totals["late"]),
            "dropped": int(totals["dropped"]),
            "violation_ratio": (totals["late"] + totals["dropped"]) / requests if requests else 0.0,
            "accuracy": totals["accuracy"] / answered if answered else None,
            "core_hours": totals["core_seconds"] / 3600,
            "mean_cost": totals["core_seconds"] / seconds,
        }

    def _first_plan(self) -> Plan:
        # Another algorithm than the loop's, which decides from what it observes alone.
        rate = self._case.recording.first_rate(ceil(self._case.config.spec.interval))
        return build_algorithm(self._case.config).decide(rate, Observation(0.0, (), {})).plan

    def _begun(self, plan: Plan) -> SimulatedPlatform:
        """The piece, which runs ``plan``."""
        case, (first, last) = self._case, self._pieces[self._piece]
        pipeline, seed = case.config.pipeline, case.seed + self._piece
        arrivals = case.recording.arrivals(first, last, seed)
        requests = Requests(arrivals, np.full(len(arrivals), pipeline.slo))
        platform = SimulatedPlatform(pipeline, requests, case.physics, seed, self._history)
        platform.apply(plan)
        counts = np.bincount(arrivals.astype(int), minlength=last - first)[: last - first]
        unmeasured = np.isnan(case.recording.rates[first:last])
        self._seen[self._past + first : self._past + last] = np.where(unmeasured, np.nan, counts)
        return platform

    def _end(self) -> None:
        """Serve the rest of the piece, and add up what it came to."""
        first, last = self._pieces[self._piece]
        made = self._simulated.simulated
        made.finish()
        answers = made.answers()
        sums = (
            len(answers.arrivals),
            answers.answered.sum(),
            answers.late.sum(),
            answers.dropped.sum(),
            answers.accuracy[answers.answered].sum(),
            core_seconds(made.allocated(), last - first),
        )
        for name, value in zip(self._totals, sums, strict=True):
            self._totals[name] += float(value)


def _pieces(rates: Floats) -> list[tuple[int, int]]:
    """The first second and the one after the last, of pieces of about PIECE requests; ConfigError for a second of more,
    which is taken for a mistake.
    """
    if not (most := float(np.nanmax(rates))) <= PIECE:
        raise ConfigError(f"load: {most:g} requests in one second; accepted: up to {PIECE:,}")
    sums = np.cumsum(np.nan_to_num(rates))
    ends = np.searchsorted(sums, np.arange(PIECE, float(sums[-1]), PIECE)) + 1
    edges = np.unique([0, *ends.tolist(), len(rates)]).tolist()
    return list(pairwise(edges))
