"""The values that travel round the loop: Allocation, Plan, Observation, Decision. Seconds, requests/s, cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from ipa_seldon.errors import LoadReason, PlatformError
from ipa_seldon.pipeline import Pipeline

ROUNDING = 1e-6
"""By how much the shares of a stage may miss 1."""


@dataclass(frozen=True)
class Allocation:
    """``replicas`` copies of ``variant``, each on ``cores`` cores and ``gpus`` GPUs, serving batches of up to ``batch``
    requests.

    ``share`` is the fraction of the stage's load this variant gets (1 unless a stage runs a set of variants).
    """

    variant: str
    replicas: int
    cores: int
    batch: int
    share: float = 1.0
    gpus: int = 0


Plan = Mapping[str, tuple[Allocation, ...]]
"""Stage name -> what it runs. More than one allocation is a variant set that shares the load."""


def check_plan(pipeline: Pipeline, plan: Plan) -> None:
    """PlatformError for a plan that is not of this pipeline: other stages or variants, none or one of them twice, no
    replica, core or request, other GPUs than its variants hold, shares that are none. It may leave stages out.
    """
    stages = {stage.name: {variant.name: variant.gpus for variant in stage.variants} for stage in pipeline.stages}
    for stage, allocations in plan.items():
        if stage not in stages:
            raise PlatformError(f"plan: stage {stage!r} is unknown; stages are: {', '.join(stages)}")
        names = [allocation.variant for allocation in allocations]
        if not names or len(set(names)) < len(names):
            said = ", ".join(names) or "none"
            raise PlatformError(f"plan: stage {stage!r}: {said}: accepted: one or more variants, each once")
        for allocation in allocations:
            _check_allocation(stage, allocation, stages[stage])
        shared = sum(allocation.share for allocation in allocations)
        if abs(shared - 1) > ROUNDING:
            raise PlatformError(f"plan: stage {stage!r}: shares sum to {shared:g}; accepted: 1")


def _check_allocation(stage: str, allocation: Allocation, variants: Mapping[str, int]) -> None:
    """``variants``: the GPUs that a replica of each holds."""
    place = f"plan: stage {stage!r}: variant {allocation.variant!r}"
    if allocation.variant not in variants:
        raise PlatformError(f"{place} is unknown; variants are: {', '.join(variants)}")
    if allocation.replicas < 1 or allocation.cores < 1 or allocation.batch < 1:
        said = f"{allocation.replicas} replicas of {allocation.cores} cores, batch {allocation.batch}"
        raise PlatformError(f"{place}: {said}; accepted: from 1")
    if allocation.gpus != variants[allocation.variant]:
        raise PlatformError(f"{place}: {allocation.gpus} GPUs; accepted: {variants[allocation.variant]}")
    if not 0 <= allocation.share <= 1 + ROUNDING:
        raise PlatformError(f"{place}: share {allocation.share:g}; accepted: 0 to 1")


def allocated_cores(plan: Plan) -> int:
    """Cores allocated over all stages and replicas: IPA's cost of a plan, sum of n_s * R_s."""
    return sum(a.replicas * a.cores for allocations in plan.values() for a in allocations)


def allocated_gpus(plan: Plan) -> int:
    """GPUs allocated over all stages and replicas."""
    return sum(a.replicas * a.gpus for allocations in plan.values() for a in allocations)


def cost_of(pipeline: Pipeline, plan: Plan) -> float:
    """What a plan costs, in cores: its own, and for each GPU as many as one costs; whole without GPUs."""
    cores, gpus = allocated_cores(plan), allocated_gpus(plan)
    return cores + pipeline.gpu_cores * gpus if gpus else cores


def within_limits(pipeline: Pipeline, plan: Plan) -> bool:
    """Whether a plan keeps to the pipeline's budgets of cores and GPUs."""
    used = ((allocated_cores(plan), pipeline.cores), (allocated_gpus(plan), pipeline.gpus))
    return all(most is None or taken <= most for taken, most in used)


def transition(before: Plan, after: Plan) -> Plan:
    """All that is there while ``after`` replaces ``before``: what comes is there before what goes has gone, so both
    count, but what stays as it is (variant, replicas, cores and batch; a share moves freely) counts once.
    """
    return {
        stage: tuple({replace(a, share=1.0) for a in (*before.get(stage, ()), *after.get(stage, ()))})
        for stage in {**before, **after}
    }


def transition_cores(before: Plan, after: Plan) -> int:
    """Cores allocated while ``after`` replaces ``before``."""
    return allocated_cores(transition(before, after))


def same_plan(one: Plan, other: Plan) -> bool:
    """Whether two plans allocate the same to every stage, whatever kind of mapping holds them."""
    return dict(one) == dict(other)


def plan_words(plan: Plan) -> str:
    """A plan in one line of ASCII: ``detect v3 x2 (1 core, batch 4); ...``."""

    def words(allocation: Allocation) -> str:
        gpus = f", {counted(allocation.gpus, 'GPU')}" if allocation.gpus else ""
        part = "" if allocation.share == 1 else f", {allocation.share:.0%}"
        each = f"{counted(allocation.cores, 'core')}{gpus}, batch {allocation.batch}{part}"
        return f"{allocation.variant} x{allocation.replicas} ({each})"

    return "; ".join(f"{stage} {' + '.join(map(words, allocations))}" for stage, allocations in plan.items())


def counted(number: float, thing: str) -> str:
    """``1 core``, ``2 cores``, ``12.5 cores``."""
    return f"{number:g} {thing}{'' if number == 1 else 's'}"


def plan_to_json(plan: Plan) -> dict[str, list[dict[str, Any]]]:
    """The plan as JSON types; the inverse of ``plan_from_json``."""
    return {
        stage: [
            {
                "variant": a.variant,
                "cores": a.cores,
                "batch": a.batch,
                "replicas": a.replicas,
                "share": a.share,
                "gpus": a.gpus,
            }
            for a in allocations
        ]
        for stage, allocations in plan.items()
    }


def plan_from_json(document: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, tuple[Allocation, ...]]:
    """A plan from what ``plan_to_json`` wrote, or an older version did, which knew no GPUs."""
    return {stage: tuple(Allocation(**fields) for fields in allocations) for stage, allocations in document.items()}


BUDGET_SECONDS = 5.0
"""For how long an observation remembers with which budgets requests arrived."""


class Backlog(NamedTuple):
    """What is known of requests' deadlines, as in Observation."""

    remaining_slo: tuple[float, ...] = ()
    budgets: tuple[float, ...] = ()


class LoadFault(NamedTuple):
    """What the source of a load says is the matter with it, in one line of ``words``."""

    reason: LoadReason
    words: str


class Measured(NamedTuple):
    """``arrivals`` as in Observation, and what is the matter with them; None: nothing."""

    arrivals: Sequence[float]
    fault: LoadFault | None = None


@dataclass(frozen=True)
class Observation:
    """What the platform reports at ``time`` (seconds since the epoch).

    ``arrivals``: requests per second at 1 Hz, oldest first, the last element is the last complete second before
    ``time``; NaN marks a second nobody measured. ``plan`` is what really runs, empty before the first plan.
    Where the platform knows them: ``remaining_slo``, the remaining budget (seconds) of every request that waits for a
    batch; ``budgets``, what requests had left when they arrived, of those of the last BUDGET_SECONDS; ``ready``, stage
    -> replicas of its plan that serve already, of stages of which some are still starting. ``fault``: what the source
    of the load says is the matter with it.
    """

    time: float
    arrivals: tuple[float, ...]
    plan: Plan
    remaining_slo: tuple[float, ...] = ()
    budgets: tuple[float, ...] = ()
    ready: Mapping[str, int] = field(default_factory=dict)
    fault: LoadFault | None = None


@dataclass(frozen=True)
class LoadHealth:
    """What a round made of its load. ``reason`` None: nothing is the matter with it; ``failures``: for how many rounds
    in a row it has not been known; ``fallback``: whether they were so many that the fallback is in force.
    """

    reason: LoadReason | None = None
    words: str = ""
    failures: int = 0
    fallback: bool = False


class Outcome(StrEnum):
    """How a decision ended."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    HELD = "held"
    RECOMMENDED = "recommended"
    DEGRADED = "degraded"
    NO_DATA = "no_data"
    FALLBACK = "fallback"
    REFUSED = "refused"
    FAILED = "failed"


class Status(StrEnum):
    """Whether a proposed plan meets the SLO at the rate it was asked for."""

    OPTIMAL = "optimal"
    DEGRADED = "degraded"


@dataclass(frozen=True)
class Proposal:
    """An algorithm's answer: a plan and why.

    ``latency`` is the predicted end-to-end latency (seconds) of the slowest path, queueing included; ``cost`` in
    cores, see ``cost_of``; ``served`` the load (pipeline requests/s) its replicas carry. ``why`` has ``binding`` (the
    constraint that kept a better plan out) and ``runner_up`` (the best plan that was not taken); ``reason`` says in
    words why a plan is degraded or was held back by damping. ``objective``, more is better: the weighted sum, or with
    a constraint the accuracy that is maximised, or minus the cost that is minimised. ``gap``: how far it may be from
    the best one, relative to it, where the solver ran out of time.
    """

    plan: Plan
    status: Status
    objective: float
    accuracy: float
    cost: float
    latency: float
    served: float
    solver: str
    why: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    held: bool = False
    gap: float = 0.0


@dataclass(frozen=True)
class Decision:
    """One round of the loop. ``rate`` is the forecast (requests/s) the plan was made for; ``proposal`` is None where
    none could be made; ``seconds`` is what forecasting and solving took, ``solver_seconds`` the solving alone,
    ``apply_seconds`` what the platform took. A fallback has no ``rate``, and a ``proposal`` only where what runs is to
    be replaced. ``forecast_why`` is what the forecaster says of the rate (Forecaster.why).
    """

    observation: Observation
    outcome: Outcome
    rate: float | None = None
    proposal: Proposal | None = None
    error: str = ""
    seconds: float = 0.0
    apply_seconds: float = 0.0
    solver_seconds: float = 0.0
    load: LoadHealth = LoadHealth()
    forecast_why: Mapping[str, Any] = field(default_factory=dict)


def took_effect(decision: Decision) -> bool:
    """Whether the proposed plan was put in place."""
    return decision.outcome in (Outcome.APPLIED, Outcome.DEGRADED, Outcome.FALLBACK)


def plan_in_force(decision: Decision) -> Plan:
    """What runs, or was asked for, after a decision."""
    proposal = decision.proposal
    return proposal.plan if proposal is not None and took_effect(decision) else decision.observation.plan


def is_switch(decision: Decision) -> bool:
    """Whether a plan other than the one that ran was put in place; the first plan of a run is no switch."""
    if decision.proposal is None or not decision.observation.plan:
        return False
    return took_effect(decision) and not same_plan(decision.proposal.plan, decision.observation.plan)


def changed_stages(decision: Decision) -> list[str]:
    """Stages whose allocation the decision changed, in the order of the plan; empty when it was no switch."""
    if decision.proposal is None or not is_switch(decision):
        return []
    before = decision.observation.plan
    return [stage for stage, allocations in decision.proposal.plan.items() if allocations != before.get(stage)]
