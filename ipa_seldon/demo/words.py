"""Plans and decisions in words, the same in the live table and in the report."""

from __future__ import annotations

from collections.abc import Sequence

from ipa_seldon.demo.summary import changed_stages
from ipa_seldon.plan import Allocation, Decision, Outcome, Plan, is_switch
from ipa_seldon.reports.words import ABSENT, duration, share

# A binding constraint in words; "none" means that the plan is the best of all plans.
LIMITS = {
    "slo": "limited by the SLO",
    "cores": "limited by the cores",
    "replicas": "limited by the replicas",
    "none": "no limit in the way",
}


def allocation_words(allocation: Allocation) -> str:
    """``v6@256x96 ×2 b4``, with the cores of a replica and the share of the load where they are not one."""
    cores = "" if allocation.cores == 1 else f" {allocation.cores} cores"
    part = "" if allocation.share == 1 else f" ({share(allocation.share)})"
    return f"{allocation.variant} ×{allocation.replicas} b{allocation.batch}{cores}{part}"


def stage_words(allocations: Sequence[Allocation]) -> str:
    """What one stage runs; a dash when nothing."""
    return " + ".join(map(allocation_words, allocations)) or ABSENT


def plan_words(plan: Plan) -> str:
    """What every stage runs."""
    return "; ".join(f"{stage}: {stage_words(allocations)}" for stage, allocations in plan.items()) or ABSENT


def binding_words(decision: Decision) -> str:
    """What kept a better plan out, or why there is none."""
    if decision.error or decision.proposal is None:
        return decision.error
    binding = str(decision.proposal.why.get("binding") or "")
    limit = LIMITS.get(binding, f"limited by {binding}" if binding else "")
    return "; ".join(part for part in (decision.proposal.reason, limit) if part)


def decision_words(decision: Decision) -> str:
    """What a decision changed and why, in one line."""
    return " — ".join(part for part in (_action(decision), binding_words(decision)) if part)


def _action(decision: Decision) -> str:
    proposal, before = decision.proposal, decision.observation.plan
    if decision.outcome is Outcome.FAILED:
        return "failed, what ran keeps running"
    if decision.outcome is Outcome.NO_DATA:
        return "no load measured yet, nothing changed"
    if proposal is None or decision.outcome is Outcome.HELD:
        return "held, what ran keeps running"
    prefix = "degraded, " if decision.outcome is Outcome.DEGRADED else ""
    if not before:
        return f"{prefix}first plan: {plan_words(proposal.plan)}"
    if not is_switch(decision):
        return f"{prefix}unchanged"
    changes = (
        f"{stage}: {stage_words(before.get(stage, ()))} → {stage_words(proposal.plan[stage])}"
        for stage in changed_stages(decision)
    )
    return f"{prefix}{'; '.join(changes)} in {duration(decision.apply_seconds)}"
