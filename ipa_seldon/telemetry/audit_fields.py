"""What the lines of an audit log hold: every field, its type and its meaning; docs/audit-log.md is made of these.

Fields are never renamed. Times are seconds since the epoch, durations seconds, loads requests/s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ipa_seldon.plan import Outcome


class Field(NamedTuple):
    """One field: its type, and what it says."""

    type: str
    meaning: str


HEAD: Mapping[str, Field] = {
    "format": Field("integer", "Of the log: 1."),
    "algorithm": Field("string", "What decided, as `algorithm` in a pipeline file."),
    "pipeline": Field("object", "The pipeline file, with all defaults."),
    "profile": Field("list", "What was decided by: `stage`, `variant`, `cores`, `batch`, `latency`, `throughput`."),
    "capacity": Field("list", "The same of capacities: `variant`, `slo`, `cores`, `capacity`, `load_time`."),
}
"""Of the first line."""

DECISION: Mapping[str, Field] = {
    "tick": Field("integer", "Number of the decision, from 0."),
    "time": Field("number", "When was looked."),
    "outcome": Field("string", "How the round ended: a word of the table below."),
    "arrivals": Field("list", "Requests in each second before, oldest first; null where nobody measured."),
    "remaining_slo": Field("list", "Seconds that each waiting request has left, where the platform knows."),
    "budgets": Field(
        "list", "Seconds that requests of the last 5 s had left when they came, where the platform knows."
    ),
    "ready": Field("object", "Stage: replicas that serve already, of stages that wait for some."),
    "load_fault": Field(
        "object or null", "What the source of the load said is the matter with it: `reason` and `words`."
    ),
    "load": Field("object", "What the round made of its load; below."),
    "plan_before": Field("object", "What ran: stage: list of allocations."),
    "cost_before": Field("integer", "Its cores."),
    "forecast_rate": Field(
        "number or null", "The load forecast, which was planned for; null where there was no forecast."
    ),
    "forecast_why": Field(
        "object",
        "What the forecaster says of it: `auto`, whose forecast it is, `following`, and what each forecaster lost of "
        "late, `pinball` (requests/s); others nothing.",
    ),
    "decision_seconds": Field("number", "Time that forecast and decision took."),
    "solver_seconds": Field("number", "The decision's part of it."),
    "apply_seconds": Field("number", "Time that the platform took."),
    "error": Field("string", "What went wrong, in words; empty when nothing did."),
    "proposal": Field("object", "What was decided; not there when nothing could be."),
}
"""Of every other line."""

LOAD: Mapping[str, Field] = {
    "reason": Field("string or null", "What is the matter: a value of `reason` in docs/metrics.md; null: nothing."),
    "words": Field("string", "The same in words."),
    "failures": Field("integer", "Rounds in a row for which the load has not been known."),
    "fallback": Field("boolean", "Whether they were so many that the fallback is in force."),
}
"""Of ``load``."""

PROPOSAL: Mapping[str, Field] = {
    "plan": Field("object", "Stage: list of allocations. Held back by damping: the plan that ran."),
    "status": Field("string", "`optimal`, or `degraded`: no plan keeps the SLO at that load."),
    "objective": Field("number", "What was maximised: the weighted sum, the accuracy, or minus the cost."),
    "accuracy": Field("number", "Of the plan, in the measure of the file."),
    "cost": Field("number", "Cores of the plan, and those that its GPUs cost as much as (`objective.gpu_cores`)."),
    "latency": Field("number", "Predicted for the slowest path at the SLO's percentile, queues included."),
    "served": Field("number", "Load that the plan carries."),
    "solver": Field("string", "What solved it."),
    "why": Field("object", "What it was bound by, and more; below."),
    "reason": Field("string", "Why the plan is degraded or was held back, in words."),
    "held": Field("boolean", "Whether damping held the plan back that was decided."),
    "gap": Field("number or null", "How far the plan may be from the best, relative to it; null: unknown."),
}
"""Of a proposal."""

WHY: Mapping[str, Field] = {
    "binding": Field("string", "The constraint that kept a better plan out; `none`: nothing did."),
    "runner_up": Field("object or null", "The best plan that was not taken."),
    "rate": Field("number", "Load that was decided for, where it is not the forecast."),
    "held_back": Field("object", "The plan that damping held back."),
    "peak": Field("integer", "Cores while the plan takes the place of the old one; of sets of variants."),
    "queued": Field("integer", "Requests that waited; of algorithms by deadlines."),
    "hopeless": Field("integer", "Those of them that nothing can save."),
    "needed": Field("integer", "Replicas that would do, where `sponge-hv` keeps more."),
}
"""Of ``why``; an algorithm says what it knows."""

ALLOCATION: Mapping[str, Field] = {
    "variant": Field("string", "What runs."),
    "cores": Field("integer", "Of one replica."),
    "batch": Field("integer", "Largest batch, in requests."),
    "replicas": Field("integer", "How many."),
    "share": Field("number", "Of the stage's requests; 1 unless several variants share them."),
    "gpus": Field("integer", "Of one replica."),
}
"""Of one variant in a plan."""

OUTCOMES: Mapping[Outcome, str] = {
    Outcome.APPLIED: "Another plan was put in place.",
    Outcome.UNCHANGED: "The best plan runs already.",
    Outcome.HELD: "Another plan would be better; damping keeps the one that runs.",
    Outcome.DEGRADED: "No plan keeps the SLO at that load; the one that loses least was put in place, or runs already.",
    Outcome.RECOMMENDED: "Another plan would be put in place, were it not only recommended.",
    Outcome.NO_DATA: "The load is not known; what runs was held.",
    Outcome.FALLBACK: "The load has not been known for too long: what the file's `fallback` says runs.",
    Outcome.REFUSED: "The platform is not to be changed now; `error` says why.",
    Outcome.FAILED: "Something went wrong, as `error` says; what ran goes on.",
}
"""What ``outcome`` says."""
