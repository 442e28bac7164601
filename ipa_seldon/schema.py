"""The pipeline file's schema: pydantic models of what an operator may write, and the JSON Schema they give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ipa_seldon import __version__
from ipa_seldon.fields import Count, Delay, Document, Duration, Name, Quantity
from ipa_seldon.plan import Plan, allocated_cores, allocated_gpus
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
    PricesSpec,
    SetsSpec,
    SpongeSpec,
)

Mode = Literal["active", "recommend", "off"]
"""Whether plans are applied, only recommended, or not made."""


class MetadataSpec(Document):
    """The pipeline's name."""

    name: Name
    """Of the pipeline, and of its SeldonDeployment."""


class SloSpec(Document):
    """What the pipeline promises to whoever sends a request."""

    latency: Duration
    """From end to end, queues included."""
    percentile: Annotated[float, Field(gt=0, lt=100)] = 99.0
    """Per cent of the requests that must meet the latency."""


class GraphNode(Document):
    """A node of the DAG. A node may appear under several parents; its children are those of all its appearances."""

    name: Name
    """The stage; also its model in the Triton repository."""
    children: tuple[GraphNode, ...] = ()
    """Stages that get what this one answers."""


class VariantSpec(Document):
    """One of the models that a stage can run."""

    accuracy: Annotated[float, Field(ge=0, le=1)]
    """Of the model alone, in the measure of its task."""
    version: Count
    """Its number in the stage's directory of the Triton model repository."""
    load_time: Delay | None = None
    """From being asked for to serving; null: as the capacities have it, else 0."""
    device: Literal["cpu", "gpu"] = "cpu"
    """What its model runs on. On either its profile's cores are those of the processor: a replica has both."""
    gpus: Count | None = None
    """Of a replica, with ``device: gpu``; null: 1."""

    @model_validator(mode="after")
    def _only_on_gpus(self) -> Self:
        if self.gpus is not None and self.device == "cpu":
            raise ValueError(f"gpus: {self.gpus}: accepted: only with device: gpu")
        return self

    @property
    def held_gpus(self) -> int:
        """GPUs that a replica holds."""
        return 0 if self.device == "cpu" else self.gpus or 1


class StageSpec(Document):
    """One step of the pipeline."""

    threshold: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Requests/s that a base allocation must carry within the stage's SLO, with ``allocation: base``."""
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Requests to this stage per request to the pipeline."""
    slo: Duration | None = None
    """The stage's part of the SLO, for base allocations; null: five times the mean over variants of the latency at
    batch 1.
    """
    variants: Annotated[dict[Name, VariantSpec], Field(min_length=1)]
    """By name."""

    @model_validator(mode="after")
    def _versions(self) -> Self:
        versions = [variant.version for variant in self.variants.values()]
        if len(set(versions)) < len(versions):
            raise ValueError("variants: accepted: a version of its own for each variant")
        return self


class PrometheusSpec(Document):
    """The Prometheus to ask, where neither the command line nor the environment (PROMETHEUS_URL,
    PROMETHEUS_CA_CERT_PATH, PROMETHEUS_TLS_INSECURE_SKIP_VERIFY) says otherwise. Token and password come from the
    environment alone.
    """

    url: str | None = None
    """Without a user or a password."""
    ca_cert_path: str | None = None
    """Of the certificates that it is trusted by; null: the system's."""
    tls_insecure_skip_verify: bool = False
    """Whether any certificate will do."""
    timeout: Duration = 5.0
    """After it a question has no answer, however much of it has come."""

    @model_validator(mode="after")
    def _no_secret(self) -> Self:
        if self.url is not None and (has_password(self.url) or not self.url.startswith(("http://", "https://"))):
            # What was written is not repeated: it may be a password.
            raise ValueError("url: accepted: http://HOST:PORT or https://HOST:PORT, without a user or a password")
        return self


class LoadSpec(Document):
    """Where the load comes from."""

    source: Literal["executor", "gateway", "triton"] = "executor"
    """Whose counters are the load: those of Seldon Core's ``executor``, of the ipa-seldon ``gateway`` that clients come
    through, or of the ``triton`` of the pipeline's first stage.
    """
    window: Duration = 15.0
    """In which two scrapes are looked for; three scrape intervals outlast one that fails."""
    prometheus: PrometheusSpec = PrometheusSpec()
    """That scrapes them."""


class SeldonSpec(Document):
    """How the pipeline runs on Kubernetes under Seldon Core, in the SeldonDeployment of its name."""

    model_uri: Annotated[str, Field(pattern=r"^[a-z0-9]+://.+$")]
    """The model repository: pvc://claim/path, gs://bucket/path."""
    predictor: Name | None = "default"
    """The one adapted; null: a pipeline of one stage runs a set, one per variant."""
    triton_image: str = "nvcr.io/nvidia/tritonserver:24.10-py3"
    """Of the server, with what the models import beside it."""
    sidecar_image: str = f"ipa-seldon:{__version__}"
    """Of what makes a Triton run its part of the plan."""
    memory: Quantity = "2Gi"
    """Of one Triton."""
    shared_memory: Quantity = "512Mi"
    """Of one Triton, for its Python back end."""
    gpu_resource: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")] = "nvidia.com/gpu"
    """By which pods ask for GPUs: a part of one has a name of its own, such as nvidia.com/mig-1g.10gb."""
    mode: Mode = "active"
    """Whether plans are applied, only recommended, or not made."""
    edits: Literal["adopt", "pause"] = "adopt"
    """Whether replicas or a plan that somebody else has changed become the plan, or pause the pipeline."""
    patience: Duration = 300.0
    """A plan that does not run within it is taken back."""
    resize_patience: Duration = 60.0
    """How long cores that a pod does not get in place are waited for, where waiting helps."""
    resize_fallback: Literal["revert", "replica"] = "revert"
    """Beyond it the plan is taken back (``revert``), or its load carried by more replicas of the cores that the stage
    had (``replica``, within the limits).
    """
    probation: Duration = 60.0
    """Of a new plan, before it counts as proved."""
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.05
    """By how much the share of requests that miss the SLO may rise by the end of the probation; beyond it the plan is
    taken back.
    """
    load: LoadSpec = LoadSpec()
    """Whose counters it is read off, and by which Prometheus."""
    arrivals: str | None = None
    """PromQL for requests/s, one series, in place of the executor's own count."""
    gateway: Annotated[str, Field(pattern=r"^https?://.+$")] | None = None
    """URL of the ipa-seldon gateway that clients come through, which then tells load, missed SLOs and deadlines in
    place of Prometheus.
    """

    @model_validator(mode="after")
    def _one_count(self) -> Self:
        if self.arrivals is not None and self.gateway is not None:
            raise ValueError(f"arrivals: {self.arrivals!r}: accepted: null with a gateway, which counts itself")
        if self.load.source != "executor" and (self.arrivals or self.gateway):
            raise ValueError(
                f"load.source: {self.load.source!r}: accepted: executor, where arrivals or gateway is given"
            )
        return self


class PipelineSpec(Document):
    """Everything the operator decides."""

    slo: SloSpec
    """What is promised."""
    objective: ObjectiveSpec = ObjectiveSpec()
    """What is best, of what keeps the promise."""
    algorithm: str = "ipa"
    """What decides: a name of ``ipa-seldon plan --help``, or ``module:attribute``."""
    solver: Literal["auto", "highs", "gurobi", "exhaustive"] = "auto"
    """Of the integer program; ``auto`` takes the fastest exact one."""
    forecaster: ForecasterSpec = ForecasterSpec()
    """What load is planned for."""
    interval: Duration = 10.0
    """From one decision to the next."""
    damping: DampingSpec = DampingSpec()
    """What holds switches back."""
    fallback: FallbackSpec = FallbackSpec()
    """What is done while the load is not known."""
    allocation: Literal["base", "variable"] = "base"
    """Cores of a replica: a variant's ``base`` allocation, the fewest that carry the stage's threshold within its SLO,
    or ``variable``, a decision.
    """
    queueing: Queueing = Queueing.CALIBRATED
    """How waits are reckoned: (b - 1) / load, as ``published``, or ``calibrated`` tails of a queue."""
    limits: LimitsSpec = LimitsSpec()
    """Of every plan."""
    baselines: BaselinesSpec = BaselinesSpec()
    """What baselines keep fixed."""
    infadapter: InfAdapterSpec = InfAdapterSpec()
    """For ``algorithm: infadapter``."""
    sets: SetsSpec = SetsSpec()
    """For ``algorithm: ipa-sets``."""
    sponge: SpongeSpec = SpongeSpec()
    """For ``algorithm: sponge``."""
    prices: PricesSpec | None = None
    """What cores and GPUs cost per hour."""
    graph: GraphNode
    """The first stage, and what follows it."""
    stages: dict[Name, StageSpec]
    """By name: exactly the nodes of the graph."""
    profile: str | None = None
    """CSV of what was measured, relative to this file: stage,variant,cores,batch,latency,throughput."""
    capacity: str | None = None
    """CSV of what a pod takes within an SLO, relative to this file; for infadapter and its baselines."""
    repository: str | None = None
    """Triton model repository, relative to this file."""
    seldon: SeldonSpec | None = None
    """On Kubernetes."""

    def hourly_cost(self, plan: Plan) -> float | None:
        """What ``plan`` costs per hour, in the currency of the prices; None without any."""
        if self.prices is None:
            return None
        gpus = allocated_gpus(plan) * (self.prices.gpu_hourly_cost or 0.0)
        return allocated_cores(plan) * self.prices.cpu_hourly_cost + gpus

    @property
    def gpu_cores(self) -> float:
        """How many cores a GPU costs as much as; 0 where no variant holds one and nothing says."""
        prices = self.prices
        if self.objective.gpu_cores is not None:
            return self.objective.gpu_cores
        if prices is None or prices.gpu_hourly_cost is None or not prices.cpu_hourly_cost:
            return 0.0
        return prices.gpu_hourly_cost / prices.cpu_hourly_cost

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
    def _gpus_have_a_price(self) -> Self:
        variants = ((f"{s}.variants.{v}", of) for s, stage in self.stages.items() for v, of in stage.variants.items())
        held = [place for place, variant in variants if variant.held_gpus]
        if not held:
            return self
        if self.prices is not None and self.prices.gpu_hourly_cost is None:
            raise ValueError(f"prices.gpu_hourly_cost: missing; stages.{held[0]} runs on GPUs")
        if self.objective.gpu_cores is None and not (self.prices and self.prices.cpu_hourly_cost):
            accepted = "the cores that a GPU costs as much as, or the prices of both"
            raise ValueError(f"objective.gpu_cores: missing; stages.{held[0]} runs on GPUs; accepted: {accepted}")
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
    """Of this format."""
    kind: Literal["Pipeline"]
    """Of this document."""
    metadata: MetadataSpec
    """As in Kubernetes."""
    spec: PipelineSpec
    """What is served, and how is decided."""


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
