"""Seeded problems of variant sets: small ones of every shape, ties included."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ipa_seldon.programs import VariantSet


def small_set(seed: int) -> VariantSet:
    """1 to 4 variants on up to 12 cores; every second problem on a coarse grid, with equal variants, weights of 0 and
    loads that are just carried. About a third is infeasible.
    """
    rng = np.random.default_rng(seed)
    count, budget, coarse = int(rng.integers(1, 5)), int(rng.integers(3, 13)), bool(rng.random() < 0.5)
    accuracy = rng.choice([0.5, 0.6, 0.7, 0.8], count) if coarse else rng.uniform(0.4, 0.95, count)
    load = float(rng.integers(3, 25)) if coarse else float(rng.uniform(3, 25))
    alpha, beta, gamma = (float(rng.choice(weights)) for weights in ([0, 1, 1, 3], [0, 0.05, 0.3], [0, 0.001, 0.05]))
    options = []
    for rank in range(count):
        cores = np.arange(int(rng.integers(1, 3)), budget + 1).astype(float)
        sustained = (
            float(rng.integers(1, 5)) * cores
            if coarse
            else np.maximum(0.0, rng.uniform(1, 5) * cores - rng.uniform(-1, 3)) * rng.uniform(0.8, 1.2, len(cores))
        )
        loading = np.full(len(cores), float(rng.choice([0.5, 0.8, 1.0])))
        loading[rng.integers(len(cores))] = 0.0  # what runs
        penalty = (beta + 1e-6 + 4e-9 * rank / count) * cores / budget
        portion = np.minimum(1.0, sustained / load)
        kept = portion > 0
        options.append([np.append(0.0, column[kept]) for column in (portion, cores, penalty, loading)])
    portions, cores_, penalties, loadings = zip(*options, strict=True)
    return VariantSet(np.sort(accuracy)[::-1], portions, cores_, penalties, loadings, alpha, gamma, float(budget))


def limited_set(seed: int) -> VariantSet:
    """A small set with portions in whole quanta, a limit of pods, or what runs counting against the budget and its pods
    for nothing, as in a transition; one of these at least.
    """
    problem = small_set(seed)
    rng = np.random.default_rng(10_000 + seed)
    which = int(rng.integers(1, 8))
    if which & 1:
        quanta = int(rng.choice([1, 4, 10, 100]))
        portions = tuple(np.floor(portion * quanta + 1e-9) / quanta for portion in problem.portion)
        problem = replace(problem, portion=portions)
    if which & 2:
        problem = replace(problem, pods=int(rng.integers(1, 3)))
    if which & 4:
        cores, budget = [], problem.budget
        for sizes, loading in zip(problem.cores, problem.loading, strict=True):
            runs = (sizes > 0) & (loading == 0) & (sizes <= budget) & (rng.random() < 0.7)
            budget -= sizes[runs].sum()
            cores.append(np.where(runs, 0.0, sizes))
        problem = replace(problem, cores=tuple(cores), budget=budget)
    return problem
