"""Algorithms turn a forecast rate and an observation into a proposed plan. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ipa_seldon.algorithms.goals import AccuracyAtLeast, CostAtMost
from ipa_seldon.errors import ConfigError
from ipa_seldon.options import Weights
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Observation, Plan, Proposal
from ipa_seldon.programs import AccuracyMeasure
from ipa_seldon.queueing import Queueing
from ipa_seldon.solvers import Solver

ALGORITHMS: Mapping[str, str] = {
    "ipa": "ipa_seldon.algorithms.ipa:Ipa",
    "fa2-low": "ipa_seldon.algorithms.baselines:fa2_low",
    "fa2-high": "ipa_seldon.algorithms.baselines:fa2_high",
    "rim": "ipa_seldon.algorithms.baselines:rim",
    "static": "ipa_seldon.algorithms.baselines:static",
    "hpa": "ipa_seldon.algorithms.hpa:hpa",
    "infadapter": "ipa_seldon.algorithms.infadapter:infadapter",
    "vpa": "ipa_seldon.algorithms.singles:vpa",
    "vpa+": "ipa_seldon.algorithms.singles:vpa_plus",
    "model-switching": "ipa_seldon.algorithms.singles:model_switching",
    "ipa-sets": "ipa_seldon.algorithms.ipa_sets:ipa_sets",
    "sponge": "ipa_seldon.algorithms.sponge:sponge",
    "sponge-hv": "ipa_seldon.algorithms.sponge:sponge_hv",
    "sponge-published": "ipa_seldon.algorithms.sponge:sponge_published",
    "fa2": "ipa_seldon.algorithms.baselines:fa2",
    "static-8": "ipa_seldon.algorithms.baselines:static_8",
    "static-16": "ipa_seldon.algorithms.baselines:static_16",
}

UNDAMPED = frozenset({"static", "static-8", "static-16", "hpa", "vpa", "sponge", "sponge-hv", "sponge-published"})
"""Algorithms that are never damped: static ones never switch, autoscalers hold still by rules of their own, and
Sponge answers what is queued, of which a wrapper that keeps a plan knows nothing.
"""

BY_CAPACITY = frozenset({"infadapter", "vpa", "vpa+", "model-switching"})
"""Algorithms that decide by the capacities of variants, and need no profile of batches."""

BY_DEADLINE = frozenset({"sponge", "sponge-hv", "sponge-published"})
"""Algorithms that decide by what queued requests have left, and change cores in place."""

Peak = Literal["ignored", "within-budget"]
"""Whether the pods of both sides of a transition must fit the budget of a set together."""

WITH_SETS = frozenset({"infadapter", "ipa-sets"})
"""Algorithms whose stages may run several variants at once."""


@dataclass(frozen=True)
class Baselines:
    """What the baselines keep fixed. ``rate`` (requests/s) is the load they are sized for, None: the first one above 0
    that they decide for. ``variants`` of ``hpa``, ``vpa`` and ``vpa+``: ``lightest``, ``heaviest``, or stage ->
    variant, the lightest where a stage is not named. ``replicas`` of ``rim``, stage -> replicas: what ``fa2-high`` runs
    at ``rate`` where a stage is not named. ``utilization``: the share of its replicas' throughput at which ``hpa``
    wants a stage. ``cores``: those of the one pod that ``static`` runs, with the batch of Sponge's model; None: it runs
    IPA's plan.
    """

    rate: float | None = None
    variants: str | Mapping[str, str] = "lightest"
    replicas: Mapping[str, int] = field(default_factory=dict)
    utilization: float = 0.8
    cores: int | None = None


@dataclass(frozen=True)
class SetSettings:
    """InfAdapter's objective ``alpha * accuracy - beta * cores / budget - gamma * loading / longest load time``, on
    pods of at least ``min_cores`` that use at most ``budget`` cores. A lower load counts once as many decisions in a
    row as ``scale_down_after`` agree on it. Shares of the load are multiples of ``quantum`` (1 divided by a whole
    number; 0: any). By default as published, but for the quantum, which is Seldon Core's, and was 0.
    """

    budget: int = 20
    min_cores: int = 2
    alpha: float = 1.0
    beta: float = 0.05
    gamma: float = 0.001
    scale_down_after: int = 4
    quantum: float = 0.01
    peak: Peak = "ignored"


@dataclass(frozen=True)
class SpongeSettings:
    """Sponge's objective ``cores + batch_weight * batch``, for one ``variant`` of the stage (None: the only one), on
    pods of up to ``cores``. Before the next decision, in ``interval`` seconds, as many requests more than forecast may
    arrive as ``burst`` standard deviations of a Poisson count. A replica goes once ``scale_down_after`` decisions in a
    row had no use for it; a plan of as many replicas gives way to a cheaper one once ``shrink_after`` would have that.
    """

    variant: str | None = None
    cores: int = 16
    batch_weight: float = 0.001
    burst: float = 2.0
    scale_down_after: int = 30
    shrink_after: int = 1
    interval: float = 1.0


@dataclass(frozen=True)
class Settings:
    """What an algorithm is built with, beside the pipeline. A ``constraint`` takes the place of alpha, beta.
    ``quantum``: shares of ``ipa-sets`` are multiples of it; 1 / quantum is whole.
    """

    solver: Solver
    measure: AccuracyMeasure = AccuracyMeasure.PRODUCT
    weights: Weights = field(default_factory=Weights)
    variable_cores: bool = False
    queueing: Queueing = Queueing.CALIBRATED
    baselines: Baselines = field(default_factory=Baselines)
    constraint: CostAtMost | AccuracyAtLeast | None = None
    sets: SetSettings = field(default_factory=SetSettings)
    quantum: float = 0.05
    sponge: SpongeSettings = field(default_factory=SpongeSettings)


class Algorithm(Protocol):
    """Built once per pipeline as ``factory(pipeline, settings)``: what does not depend on the rate is prepared then;
    raises ConfigError for a budget of cores that no plan fits.
    """

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The plan for a pipeline that receives ``rate`` requests/s. An infeasible load is a degraded proposal, never
        an exception; raises SolverError when the solver itself breaks down.
        """
        ...

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        """What keeping ``plan`` at ``rate`` would be worth; None when it is not a plan of this pipeline."""
        ...


class Remembering(Protocol):
    """An algorithm whose decisions depend on those before, such as one that holds switches back."""

    def remember(self, rate: float, observation: Observation, proposal: Proposal) -> None:
        """Take in a decision that was made without making it again: what follows is decided as if it had been."""
        ...


class Weighing(Protocol):
    """An algorithm that can say what the worth of a plan is made of."""

    def terms(self, plan: Plan, running: Plan) -> Mapping[str, float] | None:
        """Term -> what it adds to the worth of ``plan`` (more is better) where ``running`` runs, what counts first
        coming first; None when it is not a plan of this pipeline.
        """
        ...


def remember(algorithm: Algorithm, rate: float, observation: Observation, proposal: Proposal) -> None:
    """Have an algorithm take in a decision, where it is a Remembering one."""
    # A protocol that is checked at run time takes longer than most algorithms take to remember.
    take_in: Callable[[float, Observation, Proposal], None] | None = getattr(algorithm, "remember", None)
    if take_in is not None:
        take_in(rate, observation, proposal)


def terms(algorithm: Algorithm, plan: Plan, running: Plan) -> Mapping[str, float] | None:
    """What the worth of ``plan`` is made of, see Weighing; None where the algorithm is none."""
    tell: Callable[[Plan, Plan], Mapping[str, float] | None] | None = getattr(algorithm, "terms", None)
    return None if tell is None else tell(plan, running)


def only_cores(stage: Stage, variants: Sequence[Variant]) -> None:
    """ConfigError where some of the stage's ``variants`` hold GPUs, for algorithms that decide on cores alone."""
    for variant in variants:
        if variant.gpus:
            raise ConfigError(
                f"spec.stages.{stage.name}.variants.{variant.name}.device: 'gpu': accepted: cpu, for this algorithm"
            )


def only_stage(pipeline: Pipeline) -> Stage:
    """The pipeline's one stage, for algorithms that take no more; ConfigError where there are several."""
    if len(pipeline.stages) != 1:
        names = ", ".join(stage.name for stage in pipeline.stages)
        raise ConfigError(f"spec.graph: {names}: accepted: one stage, for this algorithm")
    return pipeline.stages[0]
