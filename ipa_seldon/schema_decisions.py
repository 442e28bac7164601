"""The parts of the pipeline file that say how is decided: objective, forecast, damping, limits, and what each algorithm
goes by.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from ipa_seldon.algorithms import Peak
from ipa_seldon.fallback import Behavior
from ipa_seldon.fields import Count, Delay, Document, Duration, Name, Weight
from ipa_seldon.programs import AccuracyMeasure


class ObjectiveSpec(Document):
    """The weighted sum alpha * accuracy - beta * cost - delta * sum of batch sizes is maximised, IPA's objective. The
    cost is in cores: cores + gpu_cores * GPUs. Or, instead of alpha and beta, a constraint: ``maximise`` or
    ``minimise`` with its limit; there delta and switching only decide among plans equal in both.
    """

    accuracy: AccuracyMeasure = AccuracyMeasure.PRODUCT
    """How a pipeline's accuracy is made of its stages'."""
    alpha: Weight = 2.0
    """Weight of the accuracy."""
    beta: Weight = 1.0
    """Weight of a core."""
    gpu_cores: Weight | None = None
    """How many cores a GPU costs as much as; null: by ``prices``, gpu_hourly_cost / cpu_hourly_cost. Where a variant
    runs on GPUs, one of both is needed.
    """
    delta: Weight = 1e-6
    """Weight of a request of batch size."""
    switching: Weight = 0.0
    """Weight of every second that a core, or a GPU as by the cost, of replicas which do not run yet takes to start."""
    maximise: Literal["accuracy"] | None = None
    """With ``cost_at_most``: the most accurate plan within it, of equals the cheapest."""
    cost_at_most: Count | None = None
    """Cores; a GPU counts as ``gpu_cores``."""
    minimise: Literal["cost"] | None = None
    """With ``accuracy_at_least``: the cheapest plan that reaches it, of equals the most accurate."""
    accuracy_at_least: Weight | None = None
    """In the measure ``accuracy``."""

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


class PricesSpec(Document):
    """What a core and a GPU cost per hour, in any one currency, by OpenCost's names for a node's prices. The cost per
    hour in the metrics is made of them, and what a GPU costs in cores, unless ``objective.gpu_cores`` says that.
    """

    cpu_hourly_cost: Weight
    """Of a core."""
    gpu_hourly_cost: Weight | None = None
    """Of a GPU; needed where a variant runs on GPUs."""


class ForecasterSpec(Document):
    """Blocks of ``aggregate`` seconds over the last ``window`` seconds predict the peak of the next ``horizon``. A
    quantile of past errors is the safety, or a fixed margin.
    """

    name: str = "arima"
    """One that ``ipa-seldon forecast --help`` lists (``auto`` follows the best of late), or ``module:attribute``."""
    window: Duration = 120.0
    """History that is looked at."""
    aggregate: Duration = 10.0
    """Length of a block."""
    horizon: Duration = 20.0
    """How far ahead."""
    resolution: Duration = 1.0
    """A peak is the highest mean over so long."""
    quantile: Annotated[float, Field(gt=0, lt=1)] | Literal["none"] | None = 0.95
    """Of past errors, the safety on top of the forecast; none or null: the margin in its place."""
    margin: Weight = 0.0
    """Share of the forecast put on top of it."""
    order: tuple[int, int, int] = (1, 0, 0)
    """ARIMA order (p, d, q)."""

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
    """Holds switches back while the running plan carries the load; a plan that does not is replaced at once."""

    stabilization: Delay = 0.0
    """The rate decided for follows forecasts up at once, and down only when every one of so long was below it."""
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """By more than this fraction."""
    cooldown: Delay = 0.0
    """No switch for so long after the last one."""
    gain: Weight = 0.0
    """No switch that gains the objective less; with ``maximise: accuracy`` in accuracy alone, with ``minimise: cost``
    in cores.
    """


class FallbackSpec(Document):
    """What is done while the load is not known, in the words of KEDA's fallback. Without a load nothing is scaled
    down.
    """

    failure_threshold: Annotated[int, Field(ge=1, alias="failureThreshold")] = 3
    """Rounds in a row; in less what runs is held."""
    behavior: Behavior = "currentReplicas"
    """From then on what runs is kept (``currentReplicas``), kept where it carries ``rate`` within the SLO and else
    replaced by the plan for that (``currentReplicasIfHigher``), or replaced by that plan unless it carries less than
    what runs (``static``).
    """
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Requests/s that the fallback's plan is for."""
    stale_intervals: Annotated[float, Field(gt=0, allow_inf_nan=False, alias="staleIntervals")] = 3.0
    """A load whose newest measured second is older than so many times the ``interval`` is not known."""

    @model_validator(mode="after")
    def _rate_where_one_counts(self) -> Self:
        if self.behavior == "currentReplicas" and self.rate is not None:
            raise ValueError(f"rate: {self.rate}: accepted: only with static or currentReplicasIfHigher")
        if self.behavior != "currentReplicas" and self.rate is None:
            raise ValueError(f"rate: missing; behavior: {self.behavior} needs it")
        return self


class LimitsSpec(Document):
    """Bounds of every plan."""

    batch: Count = 8
    """Largest batch."""
    replicas: Count = 100
    """Most replicas of a stage."""
    cores: Count | None = None
    """Budget of cores of the whole pipeline; null: unlimited."""
    gpus: Annotated[int, Field(ge=0)] | None = None
    """Budget of GPUs of the whole pipeline; null: unlimited."""


def parse_variants(value: object) -> object:
    """``value`` where it is one of the words, or names for names; whose they are is checked with the stages."""
    names = isinstance(value, dict) and all(isinstance(name, str) for pair in value.items() for name in pair)
    if value not in ("lightest", "heaviest") and not names:
        raise ValueError("accepted: lightest, heaviest, or {stage: variant}")
    return value


class BaselinesSpec(Document):
    """What the baselines keep fixed."""

    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Requests/s that they are sized for; null: the first load that they decide for."""
    variants: Annotated[Literal["lightest", "heaviest"] | dict[str, str], BeforeValidator(parse_variants)] = "lightest"
    """Of ``hpa``, ``vpa`` and ``vpa+``."""
    replicas: dict[str, Count] = Field(default={})
    """Of ``rim``, by stage; where there are none, what ``fa2-high`` runs at ``rate``."""
    utilization: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of a stage's throughput at which ``hpa`` wants it."""
    cores: Count | None = None
    """Of the one pod that ``static`` runs, with the batch of Sponge's model; null: it runs IPA's plan."""


def whole_parts(quantum: float) -> float:
    """``quantum`` where a whole number of it makes 1, as far as that can be written (a third as 0.33333333), or 0."""
    if quantum and abs(1 / quantum - round(1 / quantum)) > 1e-6:
        raise ValueError("accepted: 1 divided by a whole number, such as 0.01, 0.05 or 0.25")
    return quantum


class InfAdapterSpec(Document):
    """What ``algorithm: infadapter`` runs: variants of one stage that share the load, each in a pod. Maximised is alpha
    * mean accuracy - beta * cores / budget - gamma * (longest load time of what is created or resized) / (longest of
    all). Its baselines (``vpa``, ``vpa+``, ``model-switching``) keep to the same, but ``vpa`` knows no peak.
    """

    budget: Count = 20
    """Cores of the whole set."""
    min_cores: Count = 2
    """Fewest of a pod."""
    alpha: Weight = 1.0
    """Weight of the accuracy."""
    beta: Weight = 0.05
    """Weight of the cores."""
    gamma: Weight = 0.001
    """Weight of the loading."""
    scale_down_after: Count = 4
    """Decisions in a row that must agree on a lower load."""
    quantum: Annotated[float, Field(ge=0, le=1), AfterValidator(whole_parts)] = 0.01
    """Shares are multiples of it: 1 divided by a whole number, or 0, any, as published."""
    peak: Peak = "ignored"
    """``within-budget``: the pods that run before a change and the new ones, a resized one among these, fit the budget
    together.
    """

    @model_validator(mode="after")
    def _one_pod_fits(self) -> Self:
        if self.min_cores > self.budget:
            raise ValueError(f"min_cores: {self.min_cores}: accepted: at most the budget, {self.budget}")
        return self


class SetsSpec(Document):
    """What ``algorithm: ipa-sets`` runs: variants of a stage share its load."""

    quantum: Annotated[float, Field(ge=0.01, le=1), AfterValidator(whole_parts)] = 0.05
    """Shares are multiples of it: 1 divided by a whole number."""


class SpongeSpec(Document):
    """What ``algorithm: sponge`` runs: one variant of one stage in a pod, with the least cores + batch_weight * batch
    that keeps every deadline.
    """

    variant: Name | None = None
    """null: the stage's only one."""
    cores: Count = 16
    """Most of a pod."""
    batch_weight: Weight = 0.001
    """What a request of batch size costs, in cores."""
    burst: Weight = 2.0
    """Room for more requests than forecast until the next decision: so many standard deviations of a Poisson count."""
    scale_down_after: Count = 30
    """Of ``sponge-hv``: a replica goes once so many decisions in a row had no use for it."""
    shrink_after: Count = 1
    """A plan that still keeps every deadline gives way to a cheaper one of as many replicas once so many decisions in a
    row would have it; 1: at once, as published. With threads the model is loaded again, which takes cores itself."""
