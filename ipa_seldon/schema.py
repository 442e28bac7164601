"""The pipeline file's schema: pydantic models of what an operator may write, and the JSON Schema they give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from ipa_seldon import __version__
from ipa_seldon.algorithms import Peak
from ipa_seldon.fields import Count, Delay, Document, Duration, Name, Quantity, Weight
from ipa_seldon.programs import AccuracyMeasure
from ipa_seldon.queueing import Queueing


class MetadataSpec(Document):
    """The pipeline's name."""

    name: Name


class SloSpec(Document):
    """End-to-end latency (seconds) that ``percentile`` per cent of the requests must meet."""

    latency: Duration
    percentile: Annotated[float, Field(gt=0, lt=100)] = 99.0


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


class GraphNode(Document):
    """A node of the DAG. A node may appear under several parents; its children are those of all its appearances."""

    name: Name
    children: tuple[GraphNode, ...] = ()


class VariantSpec(Document):
    """``version`` is the variant's number in the stage's Triton model directory; ``load_time`` in seconds."""

    accuracy: Annotated[float, Field(ge=0, le=1)]
    version: Count
    load_time: Delay = 0.0


class StageSpec(Document):
    """``threshold`` (requests/s) and ``slo`` define base allocations; ``rate``: requests per pipeline request."""

    threshold: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    slo: Duration | None = None
    variants: Annotated[dict[Name, VariantSpec], Field(min_length=1)]

    @model_validator(mode="after")
    def _versions(self) -> Self:
        versions = [variant.version for variant in self.variants.values()]
        if len(set(versions)) < len(versions):
            raise ValueError("variants: accepted: a version of its own for each variant")
        return self


class SeldonSpec(Document):
    """How the pipeline runs on Kubernetes under Seldon Core, in the SeldonDeployment of its name.

    ``mode``: whether plans are applied, only recommended, or not made. ``edits``: whether replicas or a plan that
    somebody else has changed become the plan, or pause the pipeline. A plan that does not run within ``patience`` is
    taken back, and one under which the share of requests that miss the SLO has risen by more than ``tolerance`` when
    ``probation`` ends. Cores that a pod does not get in place are waited for ``resize_patience``, where waiting helps;
    then the plan is taken back (``resize_fallback: revert``), or its load carried by more replicas of the cores that
    the stage had (``replica``, within the limits). ``arrivals``: PromQL for requests/s, one series, in place of the
    executor's own count.
    """

    model_uri: Annotated[
        str, Field(pattern=r"^[a-z0-9]+://.+$", description="The model repository: pvc://claim/path, gs://bucket/path.")
    ]
    predictor: Annotated[
        Name | None, Field(description="The one adapted; null: a pipeline of one stage runs a set, one per variant.")
    ] = "default"
    triton_image: str = "nvcr.io/nvidia/tritonserver:24.10-py3"
    sidecar_image: str = f"ipa-seldon:{__version__}"
    memory: Annotated[Quantity, Field(description="Of one Triton.")] = "2Gi"
    shared_memory: Annotated[Quantity, Field(description="Of one Triton, for its Python back end.")] = "512Mi"
    mode: Literal["active", "recommend", "off"] = "active"
    edits: Literal["adopt", "pause"] = "adopt"
    patience: Duration = 300.0
    resize_patience: Duration = 60.0
    resize_fallback: Literal["revert", "replica"] = "revert"
    probation: Duration = 60.0
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.05
    arrivals: str | None = None


class PipelineSpec(Document):
    """Everything the operator decides."""

    slo: SloSpec
    objective: ObjectiveSpec = ObjectiveSpec()
    algorithm: str = "ipa"
    solver: Literal["auto", "highs", "gurobi", "exhaustive"] = "auto"
    forecaster: ForecasterSpec = ForecasterSpec()
    interval: Duration = 10.0
    damping: DampingSpec = DampingSpec()
    allocation: Literal["base", "variable"] = "base"
    queueing: Annotated[
        Queueing, Field(description="How waits are reckoned: (b - 1) / load, as published, or calibrated tails.")
    ] = Queueing.CALIBRATED
    limits: LimitsSpec = LimitsSpec()
    baselines: BaselinesSpec = BaselinesSpec()
    infadapter: InfAdapterSpec = InfAdapterSpec()
    sets: SetsSpec = SetsSpec()
    sponge: SpongeSpec = SpongeSpec()
    graph: GraphNode
    stages: dict[Name, StageSpec]
    profile: str | None = Field(default=None, description="Profile CSV, relative to this file.")
    capacity: str | None = Field(
        default=None,
        description="CSV of what a pod takes within an SLO, relative to this file; for infadapter and its baselines.",
    )
    repository: str | None = Field(default=None, description="Triton model repository, relative to this file.")
    seldon: SeldonSpec | None = None

    @model_validator(mode="after")
    def _graph_matches_stages(self) -> Self:
        nodes = {node.name for node in walk(self.graph)}
        if nodes != set(self.stages):
            odd = ", ".join(sorted(nodes ^ set(self.stages)))
            raise ValueError(f"stages: {odd}: accepted: exactly the nodes of the graph ({', '.join(sorted(nodes))})")
        topological(self.graph)
        if self.seldon is not None and self.seldon.predictor is None and len(nodes) > 1:
            raise ValueError(f"seldon.predictor: None: accepted: a name; stages are: {', '.join(sorted(nodes))}")
        if self.seldon is not None and self.seldon.predictor is None and self.seldon.resize_fallback == "replica":
            raise ValueError("seldon.resize_fallback: 'replica': accepted: revert, where predictor is null")
        return self

    @model_validator(mode="after")
    def _baselines_match_stages(self) -> Self:
        variants = self.baselines.variants if isinstance(self.baselines.variants, dict) else {}
        for key, named in (("variants", variants), ("replicas", self.baselines.replicas)):
            for stage in named:
                if stage not in self.stages:
                    raise ValueError(f"baselines.{key}: {stage!r}: accepted: {', '.join(self.stages)}")
        for stage, variant in variants.items():
            known = self.stages[stage].variants
            if variant not in known:
                raise ValueError(f"baselines.variants.{stage}: {variant!r}: accepted: {', '.join(known)}")
        for stage, replicas in self.baselines.replicas.items():
            if replicas > self.limits.replicas:
                raise ValueError(f"baselines.replicas.{stage}: {replicas}: accepted: 1 to {self.limits.replicas}")
        return self


class PipelineFile(Document):
    """A pipeline file (``kind: Pipeline``)."""

    api_version: Annotated[Literal["ipa.seldon.io/v1alpha1"], Field(alias="apiVersion")]
    kind: Literal["Pipeline"]
    metadata: MetadataSpec
    spec: PipelineSpec


def walk(node: GraphNode) -> Iterator[GraphNode]:
    """Every appearance of every node, parents first."""
    yield node
    for child in node.children:
        yield from walk(child)


def edges_of(root: GraphNode) -> tuple[tuple[str, str], ...]:
    """Every (parent, child), once."""
    return tuple(dict.fromkeys((node.name, child.name) for node in walk(root) for child in node.children))


def topological(root: GraphNode) -> tuple[str, ...]:
    """Node names, parents before children; ValueError when the graph has a cycle."""
    edges = edges_of(root)
    waiting = list(dict.fromkeys(node.name for node in walk(root)))
    order: list[str] = []
    while waiting:
        free = [name for name in waiting if not any(child == name and parent in waiting for parent, child in edges)]
        if not free:
            raise ValueError(f"graph: {', '.join(waiting)}: accepted: a graph without cycles")
        order.append(free[0])
        waiting.remove(free[0])
    return tuple(order)
