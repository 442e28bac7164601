"""Advice set against what ran: how often they agree, what each costs, and where they differ most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import prod
from typing import Any

from ipa_seldon.advice.replay import Schedule
from ipa_seldon.algorithms import Algorithm
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import (
    Allocation,
    Decision,
    Plan,
    Proposal,
    Status,
    cost_of,
    plan_to_json,
    plan_words,
    same_plan,
    took_effect,
)

ASPECTS = ("variant", "replicas", "cores", "batch", "share")
"""Of what a stage runs."""


@dataclass(frozen=True)
class Moment:
    """From ``time`` (seconds since the epoch) on, for ``seconds``: what ``ran``, the ``advice`` there was and the
    forecast ``rate`` (requests/s) it was for; ``why`` it was no other, in words. A plan is empty where it is not known.
    """

    time: float
    seconds: float
    ran: Plan
    advice: Plan
    rate: float = 0.0
    why: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the advice is what ran."""
        return same_plan(self.ran, self.advice)


def moments(decisions: Sequence[Decision], interval: float) -> list[Moment]:
    """A moment per decision, which lasts to the next, the last one for an ``interval`` (seconds)."""
    times = [decision.observation.time for decision in decisions]
    spans = [later - earlier for earlier, later in pairwise(times)] + [interval]
    return [_moment(decision, seconds) for decision, seconds in zip(decisions, spans, strict=True)]


def _moment(decision: Decision, seconds: float) -> Moment:
    observation, proposal = decision.observation, decision.proposal
    if proposal is None:
        return Moment(observation.time, seconds, observation.plan, {})
    binding = proposal.why.get("binding") or "none"
    why = "; ".join(filter(None, (proposal.reason, f"limited by {binding}" if binding != "none" else "")))
    ran = proposal.plan if took_effect(decision) else observation.plan
    return Moment(observation.time, seconds, ran, proposal.plan, decision.rate or 0.0, why)


def schedule(found: Iterable[Moment]) -> tuple[Plan, Schedule]:
    """What ran at first, and every later change of it."""
    known = [moment for moment in found if moment.ran]
    changes = [(later.time, later.ran) for earlier, later in pairwise(known) if not same_plan(earlier.ran, later.ran)]
    return (known[0].ran if known else {}), tuple(changes)


def agreement(found: Sequence[Moment], pipeline: Pipeline) -> dict[str, Any]:
    """How far advice and what ran agree, as JSON types.

    ``agreed_ratio`` of the ``moments``, ``agreed_time_ratio`` of the time; ``stages``: stage -> aspect -> the share of
    the time in which it is alike. ``ran`` and ``advice``: ``core_hours`` of the plans as they were (no replica that
    starts or drains), and their mean ``accuracy`` over time: the product over the stages. All of it over moments with
    advice on what is known to run; ``without_advice`` are the others.
    """
    both = [moment for moment in found if moment.ran and moment.advice]
    seconds = sum(moment.seconds for moment in both)
    agreed = [moment for moment in both if moment.agrees]
    return {
        "moments": len(both),
        "without_advice": len(found) - len(both),
        "hours": seconds / 3600,
        "agreed_ratio": len(agreed) / len(both) if both else None,
        "agreed_time_ratio": sum(moment.seconds for moment in agreed) / seconds if seconds else None,
        "stages": {
            stage.name: {aspect: _alike(both, stage.name, aspect) for aspect in ASPECTS} for stage in pipeline.stages
        },
        "ran": _bill(both, pipeline, lambda moment: moment.ran),
        "advice": _bill(both, pipeline, lambda moment: moment.advice),
    }


def _alike(found: Sequence[Moment], stage: str, aspect: str) -> float | None:
    """The share of the time in which an aspect of what a stage runs is as advised."""

    def of(plan: Plan) -> list[Any]:
        return [getattr(allocation, aspect) for allocation in _ordered(plan.get(stage, ()))]

    seconds = sum(moment.seconds for moment in found)
    alike = sum(moment.seconds for moment in found if of(moment.ran) == of(moment.advice))
    return alike / seconds if seconds else None


def _ordered(allocations: Iterable[Allocation]) -> list[Allocation]:
    return sorted(allocations, key=lambda allocation: allocation.variant)


def _bill(found: Sequence[Moment], pipeline: Pipeline, of: Callable[[Moment], Plan]) -> dict[str, float | None]:
    seconds = sum(moment.seconds for moment in found)
    accuracies = [(moment.seconds, _accuracy(pipeline, of(moment))) for moment in found]
    known = [(span, accuracy) for span, accuracy in accuracies if accuracy is not None]
    return {
        "core_hours": sum(moment.seconds * cost_of(pipeline, of(moment)) for moment in found) / 3600,
        "accuracy": sum(span * accuracy for span, accuracy in known) / seconds if known and seconds else None,
    }


def _accuracy(pipeline: Pipeline, plan: Plan) -> float | None:
    """The product over the stages; None where a plan runs what the pipeline file does not have."""
    accuracies = {(stage.name, one.name): one.accuracy for stage in pipeline.stages for one in stage.variants}
    if any((stage, a.variant) not in accuracies for stage, allocations in plan.items() for a in allocations):
        return None
    return prod(sum(accuracies[stage, a.variant] * a.share for a in allocations) for stage, allocations in plan.items())


@dataclass(frozen=True)
class Disagreement:
    """What ``ran`` for ``seconds`` in all while the same other plan was advised, from ``time`` on for the first time;
    ``lost``: the objective that what ran was worth less (None: it broke a promise, or is no plan that the algorithm
    could make).
    """

    time: float
    seconds: float
    ran: Plan
    advice: Plan
    lost: float | None
    why: str


def disagreements(found: Sequence[Moment], algorithm: Algorithm, most: int) -> list[Disagreement]:
    """The ``most`` largest: first those where what ran broke a promise that the advice keeps, by the time they lasted,
    then by what they lost over time.
    """
    differing = [moment for moment in found if moment.ran and moment.advice and not moment.agrees]

    def pair(moment: Moment) -> str:
        return f"{moment.ran} {moment.advice}"

    groups = groupby(sorted(differing, key=lambda moment: (pair(moment), moment.time)), pair)
    judged = [_judged(list(group), algorithm) for _, group in groups]
    return sorted(judged, key=_size, reverse=True)[:most]


def _size(one: Disagreement) -> tuple[bool, float]:
    return one.lost is None, one.seconds * (1.0 if one.lost is None else one.lost)


def _judged(alike: Sequence[Moment], algorithm: Algorithm) -> Disagreement:
    """Moments of the same two plans as one disagreement, told at the highest rate of them."""
    peak = max(alike, key=lambda moment: moment.rate)
    ran, advice = (algorithm.evaluate(plan, peak.rate) for plan in (peak.ran, peak.advice))
    known = ran is not None and advice is not None and (ran.status, advice.status) != BROKEN
    lost = advice.objective - ran.objective if known and ran and advice else None
    seconds = sum(moment.seconds for moment in alike)
    return Disagreement(alike[0].time, seconds, peak.ran, peak.advice, lost, _why(peak, ran, advice))


BROKEN = (Status.DEGRADED, Status.OPTIMAL)
"""What runs does not carry the load, what was advised does."""


def _why(moment: Moment, ran: Proposal | None, advice: Proposal | None) -> str:
    """What the advice is better at, in words."""
    load = f"at {moment.rate:.3g} requests/s"
    if ran is None or advice is None:
        which = "what ran" if ran is None else "the advice"
        return "; ".join(filter(None, (load, f"{which} is no plan that the algorithm could make", moment.why)))
    words = [load]
    if (ran.status, advice.status) == BROKEN:
        words.append(f"what ran carries {ran.served:.3g} within the SLO" if ran.served < moment.rate else ran.reason)
    cores, accuracy = advice.cost - ran.cost, advice.accuracy - ran.accuracy
    if cores:
        words.append(f"{abs(cores):g} cores {'more' if cores > 0 else 'fewer'}")
    if abs(accuracy) > 1e-9:
        words.append(f"accuracy {advice.accuracy:.4g} instead of {ran.accuracy:.4g}")
    return "; ".join(filter(None, (*words, moment.why)))


def as_json(one: Disagreement) -> dict[str, Any]:
    """A disagreement as JSON types."""
    plans = {"ran": plan_to_json(one.ran), "advice": plan_to_json(one.advice)}
    return {"time": one.time, "seconds": one.seconds, "lost": one.lost, **plans, "why": one.why}


def difference_words(one: Disagreement) -> str:
    """The stages that differ: what they ran, and should have."""
    stages = [stage for stage in one.advice if one.ran.get(stage) != one.advice[stage]]
    sides = (plan_words({stage: plan.get(stage, ()) for stage in stages}) for plan in (one.ran, one.advice))
    return " -> ".join(sides)
