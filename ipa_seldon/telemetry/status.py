"""What a running adapter says of its pipelines, as JSON types: docs/live-page.md lists every field."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ipa_seldon.plan import (
    Decision,
    Observation,
    Outcome,
    Plan,
    allocated_cores,
    allocated_gpus,
    plan_in_force,
    plan_to_json,
    same_plan,
)
from ipa_seldon.telemetry.history import History, Past
from ipa_seldon.words import action_words, binding_words, duration, plan_words

FORMAT = 1
SHOWN = 20
"""Decisions in the status of a pipeline."""
RECENT = 10
"""Seconds over which the present is taken."""
LATE_ROUNDS, LATE_SECONDS = 3.0, 15.0
"""A pipeline whose last round is longer ago than so many intervals, and than so many seconds, is stale."""
WORDS = 500
"""Characters of what is said in words; the decisions in whole have the rest."""
STANDBY = "standby"
QUIET = (Outcome.APPLIED, Outcome.UNCHANGED, Outcome.HELD)
IN_WORDS = {
    Outcome.FAILED: "the last round failed",
    Outcome.REFUSED: "the plan was not applied",
    Outcome.NO_DATA: "no load is known",
    Outcome.FALLBACK: "no load is known, and the fallback is in force",
    Outcome.RECOMMENDED: "another plan than what runs is recommended",
    Outcome.DEGRADED: "no plan carries the load within the SLO",
}
"""Of outcomes that are the state of a pipeline: all but the QUIET ones."""


@dataclass(frozen=True)
class Standing:
    """How a graph stands beside its decisions: why it is left alone (empty: it is not), and a reason for every stage
    that is not as planned yet.
    """

    refusal: str = ""
    waiting: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """A pipeline that is shown."""

    history: History
    standing: Callable[[], Standing] = Standing


class Subject(Protocol):
    """Who adapts pipelines, and may be asked from any thread."""

    @property
    def role(self) -> str:
        """``local``, ``leader`` or ``standby``."""
        ...

    @property
    def pipelines(self) -> Sequence[Shown]:
        """Those adapted now."""
        ...

    @property
    def invalid(self) -> Mapping[str, str]:
        """Pipeline files that cannot be used, and why."""
        ...


def overview(subject: Subject, now: float) -> dict[str, Any]:
    """Who answers, and every pipeline in short; ``now`` in seconds since the epoch."""
    rows = [_View(shown, subject.role, now).short() for shown in subject.pipelines]
    return {
        "format": FORMAT,
        "time": now,
        "role": subject.role,
        "pipelines": sorted(rows, key=lambda row: str(row["name"])),
        "invalid": dict(subject.invalid),
    }


def status(subject: Subject, name: str, now: float) -> dict[str, Any] | None:
    """All that is shown of one pipeline; None where there is none of that name."""
    shown = find(subject, name)
    return None if shown is None else _View(shown, subject.role, now).whole()


def find(subject: Subject, name: str) -> Shown | None:
    """The pipeline of that name."""
    return next((shown for shown in subject.pipelines if shown.history.config.name == name), None)


def stale(subject: Subject, now: float) -> list[str]:
    """The pipelines whose rounds have stopped coming."""
    views = [_View(shown, subject.role, now) for shown in subject.pipelines]
    return [view.name for view in views if view.stale]


class _View:
    """One pipeline at a moment."""

    def __init__(self, shown: Shown, role: str, now: float) -> None:
        history = shown.history
        self.name = history.config.name
        self._history = history
        self._standing = shown.standing()
        self._role = role
        self._now = now
        self._past: Past = history.past()
        self._last = self._past.last

    @property
    def age(self) -> float | None:
        """Seconds since the last round ended; None before the first."""
        last = self._last
        if last is None:
            return None
        return max(self._now - (last.observation.time + last.seconds + last.apply_seconds), 0.0)

    @property
    def stale(self) -> bool:
        """Whether a round is overdue."""
        return self._silence > max(LATE_ROUNDS * self._history.config.spec.interval, LATE_SECONDS)

    @property
    def _silence(self) -> float:
        return self._now - self._history.since if self.age is None else self.age

    def short(self) -> dict[str, Any]:
        """The row of an overview."""
        config, last = self._history.config, self._last
        proposal = None if last is None else last.proposal
        current, desired = self._plans()
        latency = None if proposal is None else finite(proposal.latency)
        slo = config.spec.slo
        state, why = self._state()
        return {
            "name": self.name,
            "algorithm": self._history.algorithm,
            "interval": config.spec.interval,
            "state": state,
            "why": why[:WORDS],
            "age": self.age,
            "stale": self.stale,
            "load": None if last is None else present_load(last.observation),
            "forecast": None if last is None else last.rate,
            "served": None if proposal is None else finite(proposal.served),
            "slo": {
                "latency": slo.latency,
                "percentile": slo.percentile,
                "expected": latency,
                "headroom": None if latency is None else 1 - latency / slo.latency,
            },
            "cores": {"current": allocated_cores(current), "desired": allocated_cores(desired)},
            "gpus": {"current": allocated_gpus(current), "desired": allocated_gpus(desired)},
            "hourly_cost": {
                "current": config.spec.hourly_cost(current),
                "desired": config.spec.hourly_cost(desired),
            },
            "accuracy": {
                "current": self._accuracy(current),
                "desired": None if proposal is None else finite(proposal.accuracy),
            },
            "plan": plan_words(current)[:WORDS],
        }

    def whole(self) -> dict[str, Any]:
        """The page of a pipeline."""
        current, desired = self._plans()
        now, then = plan_to_json(current), plan_to_json(desired)
        waiting = self._standing.waiting
        stages = [stage.name for stage in self._history.config.pipeline.stages]
        return {
            "format": FORMAT,
            "time": self._now,
            "role": self._role,
            **self.short(),
            "stages": [
                {"name": s, "current": now.get(s, []), "desired": then.get(s, []), "waiting": waiting.get(s, "")}
                for s in stages
            ],
            "series": {
                "start": self._past.start,
                "load": self._past.load,
                "forecasts": [
                    [f.time, f.rate, f.served and finite(f.served), f.switched] for f in self._past.forecasts
                ],
            },
            "decisions": [_decision(tick, one) for tick, one in self._past.decisions[: -SHOWN - 1 : -1]],
        }

    def _state(self) -> tuple[str, str]:
        """What matters most about it, in a word and in a sentence."""
        if self._role == STANDBY:
            return STANDBY, "another adapter leads"
        if self.stale:
            return "stale", f"no round for {duration(self._silence)}"
        return ("starting", "no round yet") if self._last is None else _state(self._last, self._standing)

    def _plans(self) -> tuple[Plan, Plan]:
        """What runs or was asked for, and what the last round wants; rounds that saw nothing do not tell."""
        seen = next((one for _, one in reversed(self._past.decisions) if plan_in_force(one)), None)
        current = {} if seen is None else plan_in_force(seen)
        proposal = None if self._last is None else self._last.proposal
        return current, current if proposal is None else proposal.plan

    def _accuracy(self, plan: Plan) -> float | None:
        """What the algorithm expected of ``plan`` when it last proposed it."""
        proposals = (one.proposal for _, one in reversed(self._past.decisions) if one.proposal is not None)
        return next((finite(proposal.accuracy) for proposal in proposals if same_plan(proposal.plan, plan)), None)


def _state(last: Decision, standing: Standing) -> tuple[str, str]:
    if standing.refusal:
        return "refused", standing.refusal
    if last.outcome not in QUIET:
        return str(last.outcome), "; ".join(filter(None, (IN_WORDS.get(last.outcome), binding_words(last))))
    if standing.waiting:
        return "waiting", "; ".join(f"{stage}: {why}" for stage, why in standing.waiting.items())
    return "ok", ""


def _decision(tick: int, decision: Decision) -> dict[str, Any]:
    proposal = decision.proposal
    return {
        "tick": tick,
        "time": decision.observation.time,
        "outcome": str(decision.outcome),
        "what": action_words(decision)[:WORDS],
        "why": binding_words(decision)[:WORDS],
        "load": present_load(decision.observation),
        "forecast": decision.rate,
        "cores": None if proposal is None else allocated_cores(proposal.plan),
        "gpus": None if proposal is None else allocated_gpus(proposal.plan),
        "accuracy": None if proposal is None else finite(proposal.accuracy),
        "latency": None if proposal is None else finite(proposal.latency),
        "seconds": decision.seconds,
        "apply_seconds": decision.apply_seconds,
    }


def present_load(observation: Observation) -> float | None:
    """The mean of what was counted in the last RECENT seconds (requests/s); None where nothing was."""
    counted = [count for count in observation.arrivals[-RECENT:] if math.isfinite(count)]
    return sum(counted) / len(counted) if counted else None


def finite(value: float) -> float | None:
    """The value, None where JSON has no word for it."""
    return value if math.isfinite(value) else None
