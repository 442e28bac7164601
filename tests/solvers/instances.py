"""Seeded multiple-choice problems: small ones of every shape, and large ones that look like real profiles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ipa_seldon.programs import AccuracyMeasure, Floats, MultipleChoice

Paths = tuple[tuple[int, ...], ...]

CHAINS: tuple[Paths, ...] = tuple((tuple(range(stages)),) for stages in range(1, 6))
DAGS: tuple[Paths, ...] = (
    ((0, 1, 3), (0, 2, 3)),  # a diamond
    ((0, 1), (0, 2), (0, 3)),  # a fan
    ((0, 2), (1, 2)),  # two roots
    ((0,), (1,), (2,)),  # nothing shared
    ((0, 1, 3), (0, 1, 4), (0, 2)),  # a tree
    ((0, 1, 3, 4), (0, 2, 3, 4)),  # a diamond with a tail
    ((0, 2, 4), (0, 3, 4), (1, 2, 4), (1, 3, 4)),  # stages shared by several parents
)


def small_problem(seed: int) -> MultipleChoice:
    """Up to 5 stages of up to 7 options on a coarse grid, so that ties, dominated options and sums that just meet the
    SLO are common; a budget in every second problem, and of a second resource; about a third is infeasible.
    """
    rng = np.random.default_rng(seed)
    shapes = CHAINS + DAGS
    paths = shapes[rng.integers(len(shapes))]
    sizes = rng.integers(1, 8, 1 + max(max(path) for path in paths))
    latency = [np.round(rng.uniform(0.05, 1, size), 2) for size in sizes]
    cores = [rng.integers(1, 12, size).astype(float) for size in sizes]
    longest = max(sum(float(rng.choice(latency[stage])) for stage in path) for path in paths)
    total = sum(float(rng.choice(options)) for options in cores)
    made = MultipleChoice(
        accuracy=tuple(rng.choice([0, 0.3, 0.5, 0.7, 0.71, 0.8, 0.9, 1.0], size) for size in sizes),
        penalty=tuple(0.5 * options + 1e-6 * rng.choice([1, 2, 4, 8], len(options)) for options in cores),
        latency=tuple(latency),
        used=tuple(options[None, :] for options in cores),
        paths=paths,
        slo=round(longest * rng.uniform(0.6, 1.0), 2),
        alpha=float(rng.choice([0, 1, 5, 20, 60])),
        measure=AccuracyMeasure.PRODUCT if rng.random() < 0.5 else AccuracyMeasure.SUM,
        budgets=(round(total * rng.uniform(0.6, 1.1)) if rng.random() < 0.5 else np.inf,),
    )
    if seed % 2:
        return made
    # Options that take less of one resource take more of the other.
    gpus = [np.where(rng.random(len(options)) < 0.7, np.round((12 - options) / 4), 0.0) for options in cores]
    scarce = round(sum(float(rng.choice(options)) for options in gpus) * rng.uniform(0.8, 1.2))
    used = tuple(np.stack(pair) for pair in zip(cores, gpus, strict=True))
    return replace(made, used=used, budgets=(*made.budgets, float(scarce)))


# 5 layers of 2 stages, each stage connected to all of the next layer: 32 paths over 10 stages and 16 edges.
LAYERED: Paths = tuple(product(*((2 * layer, 2 * layer + 1) for layer in range(5))))


def uniform_problem(paths: Paths, options: int, slo: float, seed: int) -> MultipleChoice:
    """Independent numbers between 0.1 and 1, accuracies multiplied."""
    rng = np.random.default_rng(seed)

    def table(*rows: int) -> tuple[Floats, ...]:
        return tuple(rng.uniform(0.1, 1, (*rows, options)) for _ in range(1 + max(max(path) for path in paths)))

    return MultipleChoice(table(), table(), table(), table(1), paths, slo, 20.0, AccuracyMeasure.PRODUCT)


@dataclass(frozen=True)
class Size:
    """Stages and variants; every variant has batch sizes 1, 2, 4 and 8. ``spread`` is how far variants differ."""

    stages: int
    variants: int
    spread: float = 1.0


def large_problem(
    size: Size, measure: AccuracyMeasure, seed: int, paths: Paths = (), tight: bool = False
) -> MultipleChoice:
    """Heavier variants are more accurate and slower. The SLO lies midway between what the fastest options need and
    what the best ones would; a ``tight`` one has a budget placed likewise. ``paths`` defaults to a chain.
    """
    rng = np.random.default_rng(seed)
    rate = float(rng.uniform(5, 40))
    stages = [_stage(size, rate, rng) for _ in range(size.stages)]
    accuracy, penalty, latency, cores = (tuple(column) for column in zip(*stages, strict=True))
    alpha = (20.0 if measure is AccuracyMeasure.SUM else 60.0) * size.stages
    paths = paths or (tuple(range(size.stages)),)
    best = [int((alpha * a - p).argmax()) for a, p in zip(accuracy, penalty, strict=True)]
    fastest = max(sum(float(latency[t].min()) for t in path) for path in paths)
    wanted = max(sum(float(latency[t][best[t]]) for t in path) for path in paths)
    least, most = sum(float(c.min()) for c in cores), sum(float(c[k]) for c, k in zip(cores, best, strict=True))
    budget = float(round((least + most) / 2)) if tight else np.inf
    used = tuple(c[None, :] for c in cores)
    slo = (fastest + max(wanted, fastest + 0.1)) / 2
    return MultipleChoice(accuracy, penalty, latency, used, paths, slo, alpha, measure, (budget,))


def _stage(size: Size, rate: float, rng: np.random.Generator) -> tuple[Floats, Floats, Floats, Floats]:
    weights = np.sort(rng.uniform(0, size.spread, size.variants)).repeat(4)
    batches = np.tile([1.0, 2.0, 4.0, 8.0], size.variants)
    service = (0.05 + 0.4 * weights) * (0.25 + 0.75 * batches) * rng.uniform(0.9, 1.0, len(batches))
    per_replica = rng.integers(1, 4, size.variants).repeat(4)
    cores = np.ceil(rate * service / batches) * per_replica
    return 0.5 + 0.45 * weights, 0.5 * cores + 1e-6 * batches, service + (batches - 1) / rate, cores
