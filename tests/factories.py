"""Seeded pipelines for tests: random shapes, random profiles, one rate."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from ipa_seldon.experiments.decision_times import random_variant
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.profiles import Capacity

TOY_PIPELINE = """
apiVersion: ipa.seldon.io/v1alpha1
kind: Pipeline
metadata: {name: toy}
spec:
  slo: {latency: 10s}
  graph: {name: double, children: [{name: increment}]}
  stages:
    double: {variants: {fast: {accuracy: 0.5, version: 1}}}
    increment: {variants: {fast: {accuracy: 0.5, version: 1}}}
"""
"""The pipeline file of the toy repository."""


def random_pipeline(seed: int, stages: int | None = None, chain: bool | None = None) -> Pipeline:
    """A chain or a DAG of 1 to 4 stages with 1 to 3 variants each, SLO tight to loose, with a budget now and then."""
    rng = np.random.default_rng(seed)
    count = stages or int(rng.integers(1, 5))
    made = tuple(
        Stage(
            f"s{t}",
            tuple(random_variant(rng, m, max_cores=2) for m in range(int(rng.integers(1, 4)))),
            max_replicas=int(rng.integers(2, 30)),
            threshold=float(rng.uniform(2, 20)),
            rate=float(rng.choice([1.0, 1.0, 2.0, 0.5])),
        )
        for t in range(count)
    )
    names = [stage.name for stage in made]
    edges = list(itertools.pairwise(names))
    if not (rng.random() < 0.5 if chain is None else chain):
        edges = [(names[int(rng.integers(0, t))], names[t]) for t in range(1, count)]
        if count > 3:
            edges.append((names[1], names[3]))
    return Pipeline(
        name=f"random-{seed}",
        stages=made,
        edges=tuple(dict.fromkeys(edges)),
        slo=float(rng.uniform(0.05, 1.2)) * count**0.5,
        max_batch=4,
        cores=int(rng.integers(2 * count, 12 * count)) if rng.random() < 0.4 else None,
    )


def with_gpus(pipeline: Pipeline, seed: int, least: int = 0) -> Pipeline:
    """The pipeline on a cluster with GPUs, mostly a few, but at least ``least`` for each stage: two of three variants
    have a twin that holds one or two, serves some times as fast and is as accurate. A GPU costs some cores.
    """
    rng = np.random.default_rng((seed, 1))
    stages = tuple(
        dataclasses.replace(
            stage, variants=(*stage.variants, *(_twin(v, rng) for v in stage.variants if rng.random() < 2 / 3))
        )
        for stage in pipeline.stages
    )
    fewest, most = least * len(stages), (least + 2) * len(stages)
    gpus = int(rng.integers(fewest, most + 1)) if rng.random() < 0.8 else None
    return dataclasses.replace(pipeline, stages=stages, gpus=gpus, gpu_cores=float(rng.choice([0.0, 1.5, 4.0, 7.3])))


def _twin(variant: Variant, rng: np.random.Generator) -> Variant:
    faster = float(rng.uniform(1.5, 6))
    return dataclasses.replace(
        variant,
        name=f"{variant.name}-gpu",
        version=variant.version + 10,
        latency=lambda cores, batch: variant.latency(cores, batch) / faster,
        throughput=lambda cores, batch: variant.throughput(cores, batch) * faster,
        points={at: seconds / faster for at, seconds in variant.points.items()},
        gpus=int(rng.integers(1, 3)),
    )


OF_A_SERVICE = frozenset({"sponge", "sponge-hv", "sponge-published", "static-8", "static-16"})
"""Algorithms for one stage with one variant, whose latency a model fits."""


def random_service(seed: int) -> Pipeline:
    """One stage of one variant that was profiled on 1 to 4 cores, without a budget."""
    (stage,) = random_pipeline(seed, stages=1).stages
    variant = random_variant(np.random.default_rng(seed), 0)
    made = dataclasses.replace(stage, variants=(variant,), rate=1.0)
    return dataclasses.replace(random_pipeline(seed, stages=1), stages=(made,), cores=None, max_batch=8)


def random_set(seed: int) -> Pipeline:
    """One stage of 1 to 4 variants with capacities: heavier ones are more accurate, take less and load for longer;
    some were measured on every number of cores, others on a few.
    """
    rng = np.random.default_rng(seed)
    pipeline = random_pipeline(seed, stages=1)
    (stage,) = pipeline.stages
    accuracies = np.sort(rng.uniform(0.5, 0.95, int(rng.integers(1, 5))))
    variants = []
    for m, accuracy in enumerate(accuracies.tolist()):
        slope, intercept = rng.uniform(2, 12) / (1 + m), rng.uniform(-4, 2)
        measured = range(1, 21) if rng.random() < 0.5 else (1, 2, 4, 8, 16)
        points = {n: max(0.0, (slope * n + intercept) * rng.uniform(0.9, 1.1)) for n in measured}
        capacity = Capacity(points, load_time=float(rng.uniform(4, 9)))
        variants.append(
            dataclasses.replace(
                random_variant(rng, m, max_cores=2),
                accuracy=accuracy,
                capacity=capacity.usable,
                load_time=capacity.load_time,
                core_rate=capacity.core_rate,
            )
        )
    rng.shuffle(variants)  # type: ignore[arg-type]  # any mutable sequence
    return dataclasses.replace(pipeline, stages=(dataclasses.replace(stage, variants=tuple(variants)),))
