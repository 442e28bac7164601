"""The parts of the pipeline file that say how is decided: objective, forecast, damping, limits, and what each algorithm
goes by.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from ipa_seldon.algorithms import Peak
from ipa_seldon.fallback import Behavior
from ipa_seldon.fields import Count, Delay, Document, Duration, Name, Weight
from ipa_seldon.programs import AccuracyMeasure


class ObjectiveSpec(Document):
    """Weights of IPA's objective: alpha * accuracy - beta * cores - delta * sum of batch sizes. A plan is weighed with
    ``switching`` for every second that a core of replicas which do not run yet takes to start. Or, instead of alpha and
    beta, a constraint: ``maximise: accuracy`` with ``cost_at_most`` (cores), of equals the cheapest plan, or
    ``minimise: cost`` with ``accuracy_at_least`` (in the measure ``accuracy``), of equals the most accurate. There
    delta and switching only decide among plans equal in both.
    """

    accuracy: AccuracyMeasure = AccuracyMeasure.PRODUCT
    alpha: Weight = 2.0
    beta: Weight = 1.0
    delta: Weight = 1e-6
    switching: Weight = 0.0
    maximise: Literal["accuracy"] | None = None
    cost_at_most: Count | None = None
    minimise: Literal["cost"] | None = None
    accuracy_at_least: Weight | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.maximise and self.minimise:
            raise ValueError("minimise: 'cost': accepted: one of maximise and minimise")
        for goal, limit in (("maximise", "cost_at_most"), ("minimise", "accuracy_at_least")):
            wanted, value = getattr(self, goal), getattr(self, limit)
            if wanted and value is None:
                raise ValueError(f"{limit}: missing; {goal}: {wanted} needs it")
            if value is not None and not wanted:
                raise ValueError(f"{limit}: {value}: accepted: only with {goal}")
            for weight in ("alpha", "beta"):
                if wanted and weight in self.model_fields_set:
                    raise ValueError(f"{weight}: {getattr(self, weight)}: accepted: weights or {goal}, not both")
        if (self.accuracy_at_least or 0) > 1 and self.accuracy is not AccuracyMeasure.SUM:
            raise ValueError(f"accuracy_at_least: {self.accuracy_at_least}: accepted: at most 1")
        return self

    @model_serializer(mode="wrap")
    def _only_what_counts(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the weights, or without the constraint, so that what was written can be read again."""
        fields: dict[str, Any] = serialise(self)
        unused = ("alpha", "beta") if self.maximise or self.minimise else ()
        return {key: value for key, value in fields.items() if value is not None and key not in unused}


class ForecasterSpec(Document):
    """Blocks of ``aggregate`` seconds over the last ``window`` seconds predict the peak of the next ``horizon``: the
    highest mean over ``resolution`` seconds. A ``quantile`` of past errors is the safety, or a fixed ``margin``.
    """

    name: str = "arima"
    window: Duration = 120.0
    aggregate: Duration = 10.0
    horizon: Duration = 20.0
    resolution: Duration = 1.0
    quantile: Annotated[float, Field(gt=0, lt=1)] | Literal["none"] | None = 0.95
    margin: Weight = 0.0
    order: Annotated[tuple[int, int, int], Field(description="ARIMA order (p, d, q).")] = (1, 0, 0)

    @model_validator(mode="after")
    def _blocks(self) -> Self:
        for key in ("window", "aggregate", "horizon", "resolution"):
            if getattr(self, key) % 1:
                raise ValueError(f"{key}: accepted: whole seconds")
        if self.window < self.aggregate:
            raise ValueError("window: accepted: at least aggregate")
        if self.resolution > self.aggregate:
            raise ValueError("resolution: accepted: at most aggregate")
        if min(self.order) < 0:
            raise ValueError("order: accepted: three whole numbers >= 0")
        return self


class DampingSpec(Document):
    """Holds switches back. The rate decided for follows the forecast up at once, and down only when every forecast of
    ``stabilization`` seconds was below it by more than the fraction ``tolerance``. While the running plan carries the
    load: no switch for ``cooldown`` seconds after the last one, and none that gains the objective less than ``gain``
    (with ``maximise: accuracy`` a gain in accuracy alone, with ``minimise: cost`` in cores).
    """

    stabilization: Delay = 0.0
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.0
    cooldown: Delay = 0.0
    gain: Weight = 0.0


class FallbackSpec(Document):
    """What is done while the load is not known, in the words of KEDA's fallback. Less than ``failureThreshold`` rounds
    in a row: what runs is held. From then on, by ``behavior``: it is kept (``currentReplicas``), kept where it carries
    ``rate`` requests/s within the SLO and else replaced by the plan for these (``currentReplicasIfHigher``), or
    replaced by that plan in any case (``static``), unless that carries less than what runs: without a load nothing is
    scaled down. A load whose newest measured second is older than ``staleIntervals`` times the ``interval`` is not
    known.
    """

    failure_threshold: Annotated[int, Field(ge=1, alias="failureThreshold")] = 3
    behavior: Behavior = "currentReplicas"
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    stale_intervals: Annotated[float, Field(gt=0, allow_inf_nan=False, alias="staleIntervals")] = 3.0

    @model_validator(mode="after")
    def _rate_where_one_counts(self) -> Self:
        if self.behavior == "currentReplicas" and self.rate is not None:
            raise ValueError(f"rate: {self.rate}: accepted: only with static or currentReplicasIfHigher")
        if self.behavior != "currentReplicas" and self.rate is None:
            raise ValueError(f"rate: missing; behavior: {self.behavior} needs it")
        return self


class LimitsSpec(Document):
    """Largest batch, most replicas of a stage, and the budget of cores of the whole pipeline (null: unlimited)."""

    batch: Count = 8
    replicas: Count = 100
    cores: Count | None = None


def parse_variants(value: object) -> object:
    """``value`` where it is one of the words, or names for names; whose they are is checked with the stages."""
    names = isinstance(value, dict) and all(isinstance(name, str) for pair in value.items() for name in pair)
    if value not in ("lightest", "heaviest") and not names:
        raise ValueError("accepted: lightest, heaviest, or {stage: variant}")
    return value


class BaselinesSpec(Document):
    """What the baselines keep fixed. ``rate``: the load (requests/s) they are sized for, by default the first one that
    they decide for. ``variants`` of ``hpa``, ``vpa`` and ``vpa+``. ``replicas`` of ``rim``, by default what
    ``fa2-high`` runs at ``rate``. ``utilization``: the share of a stage's throughput at which ``hpa`` wants it.
    ``cores``: of the one pod that ``static`` runs, with the batch of Sponge's model; null: it runs IPA's plan.
    """

    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    variants: Annotated[Literal["lightest", "heaviest"] | dict[str, str], BeforeValidator(parse_variants)] = "lightest"
    replicas: dict[str, Count] = Field(default={})
    utilization: Annotated[float, Field(gt=0, le=1)] = 0.8
    cores: Count | None = None


class InfAdapterSpec(Document):
    """What ``algorithm: infadapter`` runs: variants of one stage that share the load, each in a pod on ``min_cores`` or
    more of ``budget`` cores. Maximised is alpha * mean accuracy - beta * cores / budget - gamma * (longest load time of
    what is created or resized) / (longest of all). A lower load counts once ``scale_down_after`` decisions in a row
    agree on it. Shares are multiples of ``quantum``: 1 divided by a whole number, or 0, any, as published. With ``peak:
    within-budget`` the pods that run before a change and the new ones, a resized one among these, fit the budget
    together. Its baselines (``vpa``, ``vpa+``, ``model-switching``) keep to the same, but ``vpa`` knows no peak.
    """

    budget: Count = 20
    min_cores: Count = 2
    alpha: Weight = 1.0
    beta: Weight = 0.05
    gamma: Weight = 0.001
    scale_down_after: Count = 4
    quantum: Annotated[float, Field(ge=0, le=1)] = 0.01
    peak: Peak = "ignored"

    @model_validator(mode="after")
    def _quanta_are_whole(self) -> Self:
        if self.quantum and abs(1 / self.quantum - round(1 / self.quantum)) > 1e-9:
            raise ValueError(f"quantum: {self.quantum}: accepted: 0, or 1 divided by a whole number, such as 0.01")
        return self

    @model_validator(mode="after")
    def _one_pod_fits(self) -> Self:
        if self.min_cores > self.budget:
            raise ValueError(f"min_cores: {self.min_cores}: accepted: at most the budget, {self.budget}")
        return self


class SetsSpec(Document):
    """What ``algorithm: ipa-sets`` runs: variants of a stage share its load in multiples of ``quantum``, which is 1
    divided by a whole number.
    """

    quantum: Annotated[float, Field(ge=0.01, le=1)] = 0.05

    @model_validator(mode="after")
    def _whole_shares(self) -> Self:
        if abs(1 / self.quantum - round(1 / self.quantum)) > 1e-6:
            raise ValueError(f"quantum: {self.quantum}: accepted: 1 divided by a whole number: 0.05, 0.1, 0.25")
        return self


class SpongeSpec(Document):
    """What ``algorithm: sponge`` runs: one ``variant`` (null: the stage's only one) in a pod on up to ``cores``, with
    the least cores + batch_weight * batch that keeps every deadline, also when more requests than forecast arrive until
    the next decision: by ``burst`` standard deviations of a Poisson count. Of ``sponge-hv``, which runs several, a
    replica goes once ``scale_down_after`` decisions in a row had no use for it.
    """

    variant: Name | None = None
    cores: Count = 16
    batch_weight: Weight = 0.001
    burst: Weight = 2.0
    scale_down_after: Count = 30
