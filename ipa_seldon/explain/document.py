"""An explanation as JSON types."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import Any

from ipa_seldon.explain.account import Explanation
from ipa_seldon.explain.again import Answer
from ipa_seldon.explain.words import headroom, limits, title, told
from ipa_seldon.plan import Plan, Proposal, plan_to_json


def as_document(about: Explanation) -> dict[str, Any]:
    """What ``ipa-seldon explain -o json`` prints: seconds, requests/s, cores; null where nothing is known."""
    decision, proposal, spec = about.decision, about.proposal, about.config.spec
    document: dict[str, Any] = {
        "pipeline": about.config.name,
        "algorithm": spec.algorithm,
        "tick": about.tick,
        "time": decision.observation.time,
        "outcome": str(decision.outcome),
        "reason": proposal.reason if proposal else "",
        "error": decision.error,
        "title": title(about),
        "words": dict(told(about)),
        "load": asdict(about.load) | _forecaster(about),
        "limits": dict(limits(about)),
        "before": _state(about.running, about.before),
        "after": _decided(proposal, about.running),
        "slo": {"latency": spec.slo.latency, "percentile": spec.slo.percentile, "headroom": headroom(about)},
        "held_back": _decided(about.held_back, about.running),
        "runner_up": None,
        "decided_again": _decided(about.again, proposal.plan if proposal else {}),
        "changes": [_answer(answer, about.again) for answer in about.answers if about.again],
    }
    second, taken = about.runner_up, about.taken
    if second and taken:
        document["runner_up"] = {**(_decided(second.proposal, taken.plan) or {}), "lost": dict(second.lost)}
    return document


def _forecaster(about: Explanation) -> dict[str, Any]:
    spec = about.config.spec.forecaster.model_dump(mode="json")
    return {"forecaster": spec, "forecast_why": dict(about.decision.forecast_why)}


def changed(before: Plan, after: Plan) -> dict[str, Any]:
    """Stage -> what it runs ``before`` and ``after``, of the stages in which that differs."""
    one, other = plan_to_json(before), plan_to_json(after)
    pairs = {stage: {"before": one.get(stage, []), "after": other.get(stage, [])} for stage in {**other, **one}}
    return {stage: pair for stage, pair in pairs.items() if pair["before"] != pair["after"]}


def _decided(proposal: Proposal | None, than: Plan) -> dict[str, Any] | None:
    """A plan, what it changes of the one it is compared with, and its worth; None where there is none."""
    return None if proposal is None else {**_state(proposal.plan, proposal), "changed": changed(than, proposal.plan)}


def _state(plan: Plan, proposal: Proposal | None) -> dict[str, Any]:
    """A plan and what it is worth, null where that is not known."""
    worth = {
        key: value if isinstance(value := getattr(proposal, key, None), int | float) and isfinite(value) else None
        for key in ("accuracy", "cost", "latency", "objective", "served")
    }
    status = str(proposal.status) if proposal else None
    return {"plan": plan_to_json(plan), "status": status, "reason": proposal.reason if proposal else "", **worth}


def _answer(answer: Answer, again: Proposal) -> dict[str, Any]:
    change = answer.change
    return {
        "change": change.name,
        "load": change.load,
        "edits": {f"spec.{key}": _plain(value) for key, value in change.edits.items()},
        "effect": str(answer.effect),
        **(_decided(answer.proposal, again.plan) or {}),
        "reason": answer.reason,
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float) else value.model_dump(mode="json")
