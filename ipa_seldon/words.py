"""Figures, plans and decisions in words, the same in tables, reports and pages. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ipa_seldon.plan import Allocation, Decision, Outcome, Plan, counted, is_switch

ABSENT = "–"

# A binding constraint in words; "none" means that the plan is the best of all plans.
LIMITS = {
    "slo": "limited by the SLO",
    "cores": "limited by the cores",
    "gpus": "limited by the GPUs",
    "replicas": "limited by the replicas",
    "none": "no limit in the way",
}
NOTHING_CHANGED = {
    Outcome.FAILED: "failed, what ran keeps running",
    Outcome.NO_DATA: "no load is known, what ran keeps running",
    Outcome.FALLBACK: "fallback, what ran keeps running",
    Outcome.REFUSED: "refused, what runs keeps running",
}
PLANNED = {
    Outcome.APPLIED: "",
    Outcome.UNCHANGED: "",
    Outcome.DEGRADED: "degraded, ",
    Outcome.FALLBACK: "fallback, ",
}
"""How what is said begins of a round whose plan is in force."""


def figure(value: float | None, digits: int = 3) -> str:
    """Three significant digits without an exponent: 0.0123, 1.24, 12.4, 1240; a dash for None."""
    if value is None:
        return ABSENT
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    return f"{float(text):.0f}" if "e+" in text else text


def duration(seconds: float | None) -> str:
    """Seconds as ``12.3 ms`` below one second, ``1.23 s`` above."""
    if seconds is None:
        return ABSENT
    return f"{figure(seconds * 1000)} ms" if abs(seconds) < 1 else f"{figure(seconds)} s"


def share(ratio: float | None, digits: int = 3) -> str:
    """A ratio as per cent."""
    return ABSENT if ratio is None else f"{figure(ratio * 100, digits)} %"


def allocation_words(allocation: Allocation) -> str:
    """``v6@256x96 ×2 b4``, with a replica's cores and the share of the load where they are not one, and its GPUs."""
    cores = "" if allocation.cores == 1 else f" {allocation.cores} cores"
    gpus = f" {counted(allocation.gpus, 'GPU')}" if allocation.gpus else ""
    part = "" if allocation.share == 1 else f" ({share(allocation.share)})"
    return f"{allocation.variant} ×{allocation.replicas} b{allocation.batch}{cores}{gpus}{part}"


def stage_words(allocations: Sequence[Allocation]) -> str:
    """What one stage runs; a dash when nothing."""
    return " + ".join(map(allocation_words, allocations)) or ABSENT


def plan_words(plan: Plan) -> str:
    """What every stage runs."""
    return "; ".join(f"{stage}: {stage_words(allocations)}" for stage, allocations in plan.items()) or ABSENT


def binding_words(decision: Decision) -> str:
    """What kept a better plan out, or why there is none."""
    if decision.error or decision.proposal is None:
        return decision.error or decision.load.words
    binding = str(decision.proposal.why.get("binding") or "")
    limit = LIMITS.get(binding, f"limited by {binding}" if binding else "")
    return "; ".join(part for part in (decision.proposal.reason, limit) if part)


def decision_words(decision: Decision) -> str:
    """What a decision changed and why, in one line."""
    return " — ".join(part for part in (action_words(decision), binding_words(decision)) if part)


def action_words(decision: Decision) -> str:
    """What a decision changed, or that what ran goes on."""
    proposal, before = decision.proposal, decision.observation.plan
    if proposal is not None and decision.outcome is Outcome.RECOMMENDED:
        return f"recommended, what ran keeps running: {_changes(before, proposal.plan)}"
    if proposal is None or decision.outcome not in PLANNED:
        return NOTHING_CHANGED.get(decision.outcome, "held, what ran keeps running")
    prefix = PLANNED[decision.outcome]
    if not before:
        return f"{prefix}first plan: {plan_words(proposal.plan)}"
    changed = f"{_changes(before, proposal.plan)} in {duration(decision.apply_seconds)}"
    return prefix + (changed if is_switch(decision) else "unchanged")


def _changes(before: Plan, after: Plan) -> str:
    """What every stage that changes ran, and runs then."""
    return "; ".join(
        f"{stage}: {stage_words(before.get(stage, ()))} → {stage_words(allocations)}"
        for stage, allocations in after.items()
        if allocations != before.get(stage)
    )
