"""What a stage could run: every variant x cores x batch with the fewest replicas that carry the load.

Everything that does not depend on the load (profiles, base allocations, accuracies) is prepared once per pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, inf

import numpy as np

from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Allocation, Plan, allocated_cores, allocated_gpus
from ipa_seldon.programs import AccuracyMeasure, Floats
from ipa_seldon.queueing import Queue, Queueing, batch_wait, lognormal_spread, tail_wait

_SWAYAM_FACTOR = 5.0
_LOWEST_RANK = 0.05  # IPA v3: the lowest rank is lifted so that a product of ranks is never 0
_SPARES = (0, 1, 2, 3)  # replicas beyond the fewest that carry the load: they shorten the wait
_SLACK = 1e-9  # a rate of 3 * h needs 3 replicas, whatever the last bit of the division says


@dataclass(frozen=True)
class Weights:
    """IPA's objective: ``alpha * accuracy - beta * cost - delta * batch``, the cost in cores; ``switching`` is what a
    core that starts up costs a second, when a solver weighs a plan against the one that runs.
    """

    alpha: float = 2.0
    beta: float = 1.0
    delta: float = 1e-6
    switching: float = 0.0


@dataclass(frozen=True)
class Resource:
    """What plans take: ``per_core`` for each core and ``per_gpu`` for each GPU, and at most ``most`` in all."""

    name: str
    per_core: float
    per_gpu: float
    most: float = inf

    def of(self, cores: Floats, gpus: Floats) -> Floats:
        """What so many cores and GPUs take of it."""
        return self.per_core * cores + self.per_gpu * gpus

    def taken(self, plan: Plan) -> float:
        """What a plan takes of it."""
        return self.per_core * allocated_cores(plan) + self.per_gpu * allocated_gpus(plan)

    def words(self, plan: Plan) -> str:
        """What a plan takes of it, in words."""
        unit = "GPUs" if not self.per_core else "cores' worth" if self.per_gpu else "cores"
        return f"{self.taken(plan):g} {unit}"


def resources_of(pipeline: Pipeline, most_cost: float = inf) -> tuple[Resource, ...]:
    """What plans of the pipeline are measured by, and its bounds: first their cost, in cores, which is at most
    ``most_cost``.

    Without GPUs the cost is the cores, and has the tighter one of both bounds, and its name.
    """
    cores = inf if pipeline.cores is None else pipeline.cores
    if not pipeline.on_gpus:
        return (Resource("cores" if cores < most_cost else "cost", 1, 0, min(cores, most_cost)),)
    gpus = inf if pipeline.gpus is None else pipeline.gpus
    bounded = (Resource("cores", 1, 0, cores), Resource("gpus", 0, 1, gpus))
    cost = Resource("cost", 1, pipeline.gpu_cores, most_cost)
    return (cost, *(resource for resource in bounded if resource.most < inf))


@dataclass(frozen=True)
class StageOptions:
    """A stage's candidates, one per row; arrays of shape (k,). ``used``, of shape (r, k): what one replica takes of
    each resource, of which the first is the cost, in cores; ``latency``: seconds of one batch, without queueing;
    ``throughput``: requests/s of one replica; ``accuracy`` is the measure's (a rank where ranks are asked for);
    ``variability``: squared coefficient of variation of the time a batch takes; ``spare``: replicas beyond the fewest.
    """

    stage: Stage
    variants: tuple[Variant, ...]
    cores: Floats
    used: Floats
    batch: Floats
    latency: Floats
    throughput: Floats
    accuracy: Floats
    variability: Floats
    spare: Floats
    queueing: Queueing
    percentile: float

    def replicas(self, rate: float) -> Floats:
        """The fewest replicas, at least the stage's least, of each candidate that carry ``rate`` pipeline requests/s,
        and its spare.
        """
        needed: Floats = np.ceil(rate * self.stage.rate / self.throughput - _SLACK)
        return np.maximum(needed, float(self.stage.min_replicas)) + self.spare

    def delay(self, rate: float, replicas: Floats) -> Floats:
        """Seconds a request spends in the stage at ``rate`` pipeline requests/s on ``replicas``, shape (k,): one batch
        and the wait for it.
        """
        if self.queueing is Queueing.PUBLISHED:
            return self.filling(rate)
        load = rate * self.stage.rate
        queue = Queue(self.batch, replicas, load, replicas * self.throughput, self.variability)
        return self.latency + tail_wait(queue, self.percentile)

    def filling(self, rate: float) -> Floats:
        """Seconds of one batch and of filling it at ``rate`` pipeline requests/s: all that a plan can answer for where
        the load is beyond it, and queues are as long as deadlines allow.
        """
        return self.latency + batch_wait(self.batch, rate * self.stage.rate)

    def starting(self, replicas: Floats, running: Sequence[Allocation]) -> Floats:
        """Core-seconds of start-up, shape (k,), that each candidate on ``replicas`` takes beside what is ``running``, a
        GPU counting as by the cost: replicas of another variant or size start anew. Where nothing runs there is no
        switch, and none.
        """
        created = replicas.copy() if running else np.zeros(len(self.batch))
        for allocation in running:
            alike = self.cores == allocation.cores
            alike &= np.array([variant.name == allocation.variant for variant in self.variants])
            created -= np.where(alike, np.minimum(replicas, allocation.replicas), 0.0)
        seconds: Floats = created * self.used[0] * np.array([variant.load_time for variant in self.variants])
        return seconds

    def allocation(self, row: int, replicas: float, share: float = 1.0) -> Allocation:
        """The candidate in that row, as a plan states it, with its ``share`` of the load."""
        variant, cores, batch = self.variants[row], int(self.cores[row]), int(self.batch[row])
        return Allocation(variant.name, int(replicas), cores, batch, share, variant.gpus)

    @cached_property
    def _rows(self) -> Mapping[tuple[str, int, int, int], int]:
        rows = enumerate(zip(self.variants, self.cores, self.batch, self.spare, strict=True))
        return {(v.name, int(cores), int(batch), v.gpus): row for row, (v, cores, batch, spare) in rows if spare == 0}

    def row(self, allocation: Allocation) -> int | None:
        """The row that an allocation was made of; None when it is no candidate."""
        return self._rows.get((allocation.variant, allocation.cores, allocation.batch, allocation.gpus))


@dataclass(frozen=True)
class Choices:
    """What candidates are made of: accuracies as ``measure`` takes them; base allocations or, with ``variable_cores``,
    every profiled core count; waits after ``queueing``; ``resources`` that they take of, the cost first.
    """

    measure: AccuracyMeasure = AccuracyMeasure.PRODUCT
    variable_cores: bool = False
    queueing: Queueing = Queueing.CALIBRATED
    resources: tuple[Resource, ...] = (Resource("cores", 1, 0),)


def prepare(pipeline: Pipeline, choices: Choices) -> tuple[StageOptions, ...]:
    """The candidates of every stage, in the pipeline's order."""
    return tuple(_stage_options(stage, pipeline, choices) for stage in pipeline.stages)


def allowed_batches(cap: int) -> tuple[int, ...]:
    """Powers of two up to ``cap``."""
    return tuple(2**k for k in range(cap.bit_length()))


def base_allocations(stage: Stage, batches: Sequence[int]) -> dict[str, int]:
    """Cores of one replica per variant: the least with ``h(b) >= threshold`` and ``l(b) <= stage SLO`` for one b.

    IPA, base allocation (systems: R_m). A stage without an SLO of its own gets Swayam's: 5 x the mean over variants
    of the batch-1 latency on the least cores that meet the threshold. Where no core count satisfies the rule, the
    variant gets the count of the highest throughput: it can still be chosen, with more replicas.
    """
    fast_enough = {variant.name: _least_cores(variant, stage.threshold, np.inf, batches) for variant in stage.variants}
    slo = stage.slo or _SWAYAM_FACTOR * float(np.mean([v.latency(fast_enough[v.name], 1) for v in stage.variants]))
    return {variant.name: _least_cores(variant, stage.threshold, slo, batches) for variant in stage.variants}


def _least_cores(variant: Variant, threshold: float, slo: float, batches: Sequence[int]) -> int:
    for cores in variant.cores:
        if any(variant.throughput(cores, b) >= threshold and variant.latency(cores, b) <= slo for b in batches):
            return cores
    return max(variant.cores, key=lambda cores: max(variant.throughput(cores, b) for b in batches))


def _stage_options(stage: Stage, pipeline: Pipeline, choices: Choices) -> StageOptions:
    batches = allowed_batches(pipeline.max_batch)
    base = {} if choices.variable_cores else base_allocations(stage, batches)
    ranked = choices.measure is AccuracyMeasure.RANK
    accuracies = _ranks(stage) if ranked else {v.name: v.accuracy for v in stage.variants}
    # The published wait does not depend on the replicas, so that more than the fewest are never worth it.
    spares = (0,) if choices.queueing is Queueing.PUBLISHED else _SPARES
    rows = [
        (variant, cores, batch, spare)
        for variant in stage.variants
        for cores in (variant.cores if choices.variable_cores else (base[variant.name],))
        for batch in batches
        for spare in spares
    ]
    latency = np.array([variant.latency(cores, batch) for variant, cores, batch, _ in rows])
    throughput = np.array([variant.throughput(cores, batch) for variant, cores, batch, _ in rows])
    batch = np.array([float(batch) for _, _, batch, _ in rows])
    cores = np.array([float(cores) for _, cores, _, _ in rows])
    gpus = np.array([float(variant.gpus) for variant, *_ in rows])
    ratios = (latency * throughput / batch).tolist()
    return StageOptions(
        stage=stage,
        variants=tuple(variant for variant, *_ in rows),
        cores=cores,
        used=np.stack([resource.of(cores, gpus) for resource in choices.resources]),
        batch=batch,
        latency=latency,
        throughput=throughput,
        accuracy=np.array([accuracies[variant.name] for variant, *_ in rows]),
        variability=np.array([exp(lognormal_spread(ratio, pipeline.percentile) ** 2) - 1 for ratio in ratios]),
        spare=np.array([float(spare) for *_, spare in rows]),
        queueing=choices.queueing,
        percentile=pipeline.percentile,
    )


def _ranks(stage: Stage) -> Mapping[str, float]:
    """Normalised ranks ``k / (K - 1)`` of the variants by accuracy; equal accuracies share a rank; one variant is 1."""
    ordered = sorted({variant.accuracy for variant in stage.variants})
    if len(ordered) == 1:
        return {variant.name: 1.0 for variant in stage.variants}
    rank = {accuracy: max(k / (len(ordered) - 1), _LOWEST_RANK) for k, accuracy in enumerate(ordered)}
    return {variant.name: rank[variant.accuracy] for variant in stage.variants}
