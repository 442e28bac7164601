"""The pipeline file's schema: pydantic models of what an operator may write, and the JSON Schema they give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ipa_seldon import __version__
from ipa_seldon.fields import Count, Delay, Document, Duration, Name, Quantity, Weight
from ipa_seldon.plan import Plan
from ipa_seldon.prometheus.access import has_password
from ipa_seldon.queueing import Queueing
from ipa_seldon.schema_decisions import (
    BaselinesSpec,
    DampingSpec,
    FallbackSpec,
    ForecasterSpec,
    InfAdapterSpec,
    LimitsSpec,
    ObjectiveSpec,
    SetsSpec,
    SpongeSpec,
)

Mode = Literal["active", "recommend", "off"]
"""Whether plans are applied, only recommended, or not made."""


class MetadataSpec(Document):
    """The pipeline's name."""

    name: Name


class SloSpec(Document):
    """End-to-end latency (seconds) that ``percentile`` per cent of the requests must meet."""

    latency: Duration
    percentile: Annotated[float, Field(gt=0, lt=100)] = 99.0


class GraphNode(Document):
    """A node of the DAG. A node may appear under several parents; its children are those of all its appearances."""

    name: Name
    children: tuple[GraphNode, ...] = ()


class VariantSpec(Document):
    """``version`` is the variant's number in the stage's Triton model directory; ``load_time`` in seconds, null: as the
    capacities have it, else 0.
    """

    accuracy: Annotated[float, Field(ge=0, le=1)]
    version: Count
    load_time: Delay | None = None


class StageSpec(Document):
    """``threshold`` (requests/s) and ``slo`` define base allocations; ``rate``: requests per pipeline request.
    ``gpus``: what each replica holds beside its cores, whatever the plan; they count in the cost per hour alone.
    """

    threshold: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    slo: Duration | None = None
    gpus: Weight = 0.0
    variants: Annotated[dict[Name, VariantSpec], Field(min_length=1)]

    @model_validator(mode="after")
    def _versions(self) -> Self:
        versions = [variant.version for variant in self.variants.values()]
        if len(set(versions)) < len(versions):
            raise ValueError("variants: accepted: a version of its own for each variant")
        return self


class PrometheusSpec(Document):
    """The Prometheus to ask, where neither the command line nor the environment (PROMETHEUS_URL,
    PROMETHEUS_CA_CERT_PATH, PROMETHEUS_TLS_INSECURE_SKIP_VERIFY) says otherwise. After ``timeout`` a question has no
    answer, however much of it has come. Token and password come from the environment alone.
    """

    url: str | None = None
    ca_cert_path: str | None = None
    tls_insecure_skip_verify: bool = False
    timeout: Duration = 5.0

    @model_validator(mode="after")
    def _no_secret(self) -> Self:
        if self.url is not None and (has_password(self.url) or not self.url.startswith(("http://", "https://"))):
            # What was written is not repeated: it may be a password.
            raise ValueError("url: accepted: http://HOST:PORT or https://HOST:PORT, without a user or a password")
        return self


class LoadSpec(Document):
    """Whose counters are the load: those of Seldon Core's ``executor``, of the ipa-seldon ``gateway`` that clients come
    through, or of the ``triton`` of the pipeline's first stage. ``window``: in which two scrapes are looked for; three
    scrape intervals outlast one that fails.
    """

    source: Literal["executor", "gateway", "triton"] = "executor"
    window: Duration = 15.0
    prometheus: PrometheusSpec = PrometheusSpec()


class SeldonSpec(Document):
    """How the pipeline runs on Kubernetes under Seldon Core, in the SeldonDeployment of its name.

    ``mode``: whether plans are applied, only recommended, or not made. ``edits``: whether replicas or a plan that
    somebody else has changed become the plan, or pause the pipeline. A plan that does not run within ``patience`` is
    taken back, and one under which the share of requests that miss the SLO has risen by more than ``tolerance`` when
    ``probation`` ends. Cores that a pod does not get in place are waited for ``resize_patience``, where waiting helps;
    then the plan is taken back (``resize_fallback: revert``), or its load carried by more replicas of the cores that
    the stage had (``replica``, within the limits). ``load``: where the load comes from; ``arrivals``: PromQL for
    requests/s, one series, in place of the executor's own count. ``gateway``: the URL of the ipa-seldon gateway that
    clients come through, which then tells load, missed SLOs and deadlines in place of Prometheus.
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
    mode: Mode = "active"
    edits: Literal["adopt", "pause"] = "adopt"
    patience: Duration = 300.0
    resize_patience: Duration = 60.0
    resize_fallback: Literal["revert", "replica"] = "revert"
    probation: Duration = 60.0
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.05
    load: LoadSpec = LoadSpec()
    arrivals: str | None = None
    gateway: Annotated[str, Field(pattern=r"^https?://.+$")] | None = None

    @model_validator(mode="after")
    def _one_count(self) -> Self:
        if self.arrivals is not None and self.gateway is not None:
            raise ValueError(f"arrivals: {self.arrivals!r}: accepted: null with a gateway, which counts itself")
        if self.load.source != "executor" and (self.arrivals or self.gateway):
            raise ValueError(
                f"load.source: {self.load.source!r}: accepted: executor, where arrivals or gateway is given"
            )
        return self


class PricesSpec(Document):
    """What a core and a GPU cost per hour, in any one currency, by OpenCost's names for a node's prices. Nothing is
    decided by them: they are what the cost per hour in the metrics is made of.
    """

    cpu_hourly_cost: Weight
    gpu_hourly_cost: Weight = 0.0


class PipelineSpec(Document):
    """Everything the operator decides."""

    slo: SloSpec
    objective: ObjectiveSpec = ObjectiveSpec()
    algorithm: str = "ipa"
    solver: Literal["auto", "highs", "gurobi", "exhaustive"] = "auto"
    forecaster: ForecasterSpec = ForecasterSpec()
    interval: Duration = 10.0
    damping: DampingSpec = DampingSpec()
    fallback: FallbackSpec = FallbackSpec()
    allocation: Literal["base", "variable"] = "base"
    queueing: Annotated[
        Queueing, Field(description="How waits are reckoned: (b - 1) / load, as published, or calibrated tails.")
    ] = Queueing.CALIBRATED
    limits: LimitsSpec = LimitsSpec()
    baselines: BaselinesSpec = BaselinesSpec()
    infadapter: InfAdapterSpec = InfAdapterSpec()
    sets: SetsSpec = SetsSpec()
    sponge: SpongeSpec = SpongeSpec()
    prices: PricesSpec | None = None
    graph: GraphNode
    stages: dict[Name, StageSpec]
    profile: str | None = Field(default=None, description="Profile CSV, relative to this file.")
    capacity: str | None = Field(
        default=None,
        description="CSV of what a pod takes within an SLO, relative to this file; for infadapter and its baselines.",
    )
    repository: str | None = Field(default=None, description="Triton model repository, relative to this file.")
    seldon: SeldonSpec | None = None

    def hourly_cost(self, plan: Plan) -> float | None:
        """What ``plan`` costs per hour, in the currency of the prices; None without any."""
        if self.prices is None:
            return None
        return sum(
            one.replicas * (one.cores * self.prices.cpu_hourly_cost + stage.gpus * self.prices.gpu_hourly_cost)
            for name, stage in self.stages.items()
            for one in plan.get(name, ())
        )

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
