"""Why a round ended as it did, in words from short lists: labels of metrics must not grow with what is said."""

from __future__ import annotations

from collections.abc import Mapping

from ipa_seldon.errors import LoadReason
from ipa_seldon.plan import Decision, Outcome, allocated_cores

OTHER = "other"
CONSTRAINTS = (
    *("slo", "cores", "gpus", "cost", "replicas", "accuracy"),
    *("budget", "pods", "peak", "load", "queue", "burst", OTHER),
)
"""What keeps a better plan out (``why["binding"]`` of a proposal)."""
COMPONENTS = ("observe", "decide", "apply", "advance", "load", "loop")
"""Where faults of a pipeline's loop are counted: the first three end a round as failed; ``advance`` is the way to a
plan between rounds, ``load`` the share of missed requests, ``loop`` a fault of the adapter's own, after which the loop
is begun again.
"""
REFUSALS: Mapping[str, str] = {
    "Paused": "paused",
    "Edited": "edited",
    "Reverted": "reverted",
    "Rolling": "rolling",
    "NotDeployed": "not_deployed",
    "ScaledToZero": "scaled_to_zero",
    "ReplicasInSpec": "replicas_in_spec",
    "ForeignAutoscaler": "foreign_autoscaler",
}
"""By what a refusal begins with, before its colon."""
_HELD = {"cool-down": "cooldown", "gain": "gain"}
_TOLD = {
    Outcome.APPLIED: ("first_plan", "better_plan"),
    Outcome.HELD: (*_HELD.values(), OTHER),
    Outcome.DEGRADED: CONSTRAINTS,
    Outcome.REFUSED: (*REFUSALS.values(), OTHER),
    Outcome.FAILED: COMPONENTS[:3],
}
REASONS: Mapping[Outcome, tuple[str, ...]] = {outcome: _TOLD.get(outcome, (str(outcome),)) for outcome in Outcome}
"""Every reason that a round can have, by its outcome; an outcome that says it all is its own."""
LOAD_REASONS = tuple(map(str, LoadReason))
"""What may be the matter with a round's load."""
DIRECTIONS = ("up", "down", "level")
"""Of a switch: to more cores, fewer, or as many."""


def reason_of(decision: Decision) -> str:
    """One of REASONS."""
    match decision.outcome:
        case Outcome.APPLIED:
            return "better_plan" if decision.observation.plan else "first_plan"
        case Outcome.HELD:
            return _HELD.get(_first_word(decision.proposal.reason if decision.proposal else ""), OTHER)
        case Outcome.DEGRADED:
            return constraint_of(decision) or OTHER
        case Outcome.REFUSED:
            return refusal_reason(decision.error.removeprefix("apply: ").partition(":")[0])
        case Outcome.FAILED:
            return decision.error.partition(":")[0]
    return str(decision.outcome)


def refusal_reason(words: str) -> str:
    """A refusal's reason as a label's value."""
    return REFUSALS.get(words, OTHER)


def constraint_of(decision: Decision) -> str:
    """One of CONSTRAINTS, empty where none binds or nothing was decided."""
    binding = decision.proposal.why.get("binding") if decision.proposal else None
    if binding in (None, "", "none"):
        return ""
    return str(binding) if binding in CONSTRAINTS else OTHER


def direction_of(decision: Decision) -> str:
    """One of DIRECTIONS, of a decision that switches."""
    before = allocated_cores(decision.observation.plan)
    after = allocated_cores(decision.proposal.plan) if decision.proposal else before
    return "up" if after > before else "down" if after < before else "level"


def _first_word(words: str) -> str:
    return words.replace(":", " ").partition(" ")[0]
