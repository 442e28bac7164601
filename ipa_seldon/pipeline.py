"""What is adapted: a pipeline is a DAG of stages, a stage offers variants of one model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class Variant:
    """One servable version of a stage's model.

    ``accuracy`` lies in [0, 1]. ``cores`` lists the core counts (per replica) that were profiled, ascending.
    ``latency(cores, batch)`` is the seconds one batch takes at the SLO's percentile, ``throughput(cores, batch)`` the
    requests/s one replica sustains; both are defined for the listed cores and any batch >= 1, and for other cores where
    a latency model fits. ``points`` are the latencies that were measured, by (cores, batch).
    ``load_time`` is in seconds; ``version`` is the number of the version in the Triton model repository.
    ``capacity(cores)`` is the requests/s to count on from one pod within the SLO, for any cores >= 1; None where it is
    not known. ``core_rate`` is what one core serves when it is never idle (requests/s), as far as capacities tell.
    A replica holds ``gpus`` GPUs beside its cores, whatever these are.
    """

    name: str
    accuracy: float
    version: int
    cores: tuple[int, ...]
    latency: Callable[[int, int], float]
    throughput: Callable[[int, int], float]
    load_time: float = 0.0
    capacity: Callable[[int], float] | None = None
    core_rate: float = 0.0
    points: Mapping[tuple[int, int], float] = field(default_factory=dict, hash=False)
    gpus: int = 0

    def is_known_on(self, cores: int, batch: int) -> bool:
        """Whether it is known how a replica on ``cores`` cores serves batches of up to ``batch`` requests: by the
        profile, by a model that fits it, or, one request at a time, by what capacities tell.
        """
        return self.has_latency(cores, batch) or (batch == 1 and self.core_rate > 0)

    def has_latency(self, cores: int, batch: int) -> bool:
        """Whether ``latency`` knows every batch of up to ``batch`` requests on ``cores`` cores."""
        if cores in self.cores:
            return True
        try:
            # What a model says is linear in the batch: between two sizes that it knows it knows all.
            return all(self.latency(cores, size) > 0 for size in (1, batch))
        except KeyError:
            return False


@dataclass(frozen=True)
class Stage:
    """One node of the graph. ``threshold`` (requests/s) and ``slo`` (seconds, optional) define the base allocation;
    ``rate`` is the number of requests this stage receives per pipeline request. A plan runs ``min_replicas`` to
    ``max_replicas`` of it.
    """

    name: str
    variants: tuple[Variant, ...]
    max_replicas: int = 100
    threshold: float = 1.0
    slo: float | None = None
    rate: float = 1.0
    min_replicas: int = 1

    def variant(self, name: str) -> Variant:
        """The variant of that name; KeyError if there is none."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)


@dataclass(frozen=True)
class Pipeline:
    """Stages in topological order (parents first), edges (parent, child), the end-to-end ``slo`` in seconds at
    ``percentile``; ``cores`` and ``gpus`` are the budgets of the whole pipeline (None: unlimited), and a GPU costs as
    much as ``gpu_cores`` cores. ``by_deadline``: each request has a deadline of its own, of which observations tell;
    ``triton_orders``: no gateway puts requests in that order before they reach Triton, so its own queues are to.
    """

    name: str
    stages: tuple[Stage, ...]
    edges: tuple[tuple[str, str], ...]
    slo: float
    percentile: float = 99.0
    max_batch: int = 8
    cores: int | None = None
    by_deadline: bool = False
    triton_orders: bool = False
    gpus: int | None = None
    gpu_cores: float = 0.0

    def stage(self, name: str) -> Stage:
        """The stage of that name; KeyError if there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)

    @property
    def on_gpus(self) -> tuple[tuple[Stage, Variant], ...]:
        """The variants whose replicas hold GPUs, with their stages."""
        return tuple((stage, variant) for stage in self.stages for variant in stage.variants if variant.gpus)

    @cached_property
    def followers(self) -> Mapping[str, tuple[str, ...]]:
        """Stage -> the stages that run on its outputs: its children, except those an earlier parent feeds.

        Seldon's executor knows trees only: a stage with several parents runs once per request, on the outputs of its
        first parent (the first edge that names it).
        """
        return followers(tuple(stage.name for stage in self.stages), self.edges)

    @cached_property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """Every root-to-leaf path, as stage names."""
        children: dict[str, list[str]] = {stage.name: [] for stage in self.stages}
        for parent, child in self.edges:
            children[parent].append(child)
        with_parent = {child for _, child in self.edges}
        complete: list[tuple[str, ...]] = []
        open_paths: list[tuple[str, ...]] = [(stage.name,) for stage in self.stages if stage.name not in with_parent]
        while open_paths:
            path = open_paths.pop()
            following = children[path[-1]]
            if not following:
                complete.append(path)
            open_paths.extend((*path, child) for child in reversed(following))
        return tuple(complete)


def followers(stages: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Stage -> its children whose first parent it is; ``edges`` are (parent, child), a stage's children in order."""
    first_parent: dict[str, str] = {}
    for parent, child in edges:
        first_parent.setdefault(child, parent)
    return {stage: tuple(child for child, parent in first_parent.items() if parent == stage) for stage in stages}
