"""What Sponge could run: one variant of one stage, whose latency a model fits, in every size within the limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.algorithms import SpongeSettings, only_cores, only_stage
from ipa_seldon.errors import ConfigError
from ipa_seldon.latency_model import TOO_FEW, Fit, fit_latency
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.programs import Floats


@dataclass(frozen=True)
class Options:
    """Every plan within the limits, in the order of preference: the least ``cores + batch_weight * batch``, of equals
    fewer cores, then the smaller batch, then more replicas. Arrays of shape (k,); ``cores`` are those of one replica,
    ``latency`` is in seconds, ``full`` marks plans whose replicas have as many cores as so many can have.
    """

    replicas: Floats
    cores: Floats
    batch: Floats
    latency: Floats
    full: NDArray[np.bool_]

    def at(self, places: NDArray[np.intp]) -> Options:
        """The options at those places."""
        return Options(*(values[places] for values in vars(self).values()))


@dataclass(frozen=True)
class Prepared:
    """What does not depend on the load."""

    stage: Stage
    variant: Variant
    fit: Fit
    options: Options


def prepare(pipeline: Pipeline, settings: SpongeSettings, replicas: int, cores: Sequence[int] | None) -> Prepared:
    """Up to so many ``replicas`` on each of ``cores``, None: on 1 core up to the settings'. ConfigError for more than
    one stage, several variants of which none is named, one with GPUs, a budget below one pod, a profile that the model
    does not fit.
    """
    stage = only_stage(pipeline)
    variant = _only_variant(stage, settings.variant)
    only_cores(stage, [variant])
    wanted = cores or range(1, settings.cores + 1)
    allowed = [count for count in wanted if pipeline.cores is None or count <= pipeline.cores]
    if not allowed:
        raise ConfigError(f"spec.limits.cores: {pipeline.cores}: accepted: at least {wanted[0]}, the cores of one pod")
    fit = fit_latency(variant.points)
    problem = fit.refusal(allowed[-1], pipeline.max_batch) if fit else TOO_FEW
    if fit is None or problem:
        raise ConfigError(f"spec.profile: variant {variant.name}: {problem}")
    sizes = np.array([(n, c) for n in range(1, replicas + 1) for c in allowed], dtype=float)
    if pipeline.cores is not None:
        sizes = sizes[sizes[:, 0] * sizes[:, 1] <= pipeline.cores]
    return Prepared(stage, variant, fit, _preferred(sizes, pipeline.max_batch, fit, settings.batch_weight))


def _preferred(sizes: Floats, largest: int, fit: Fit, batch_weight: float) -> Options:
    """The options of replicas and cores, shape (s, 2), with batches up to the ``largest``."""
    n, c = np.repeat(sizes, largest, axis=0).T
    b = np.tile(np.arange(1.0, largest + 1), len(sizes))
    most = np.zeros(int(n.max()) + 1)
    np.maximum.at(most, n.astype(int), c)
    objective = np.round(n * c + batch_weight * b, 9)  # equal ones are, whatever the last bit says
    return Options(n, c, b, fit.model.over(c, b), c == most[n.astype(int)]).at(np.lexsort((-n, b, n * c, objective)))


def _only_variant(stage: Stage, name: str | None) -> Variant:
    names = [variant.name for variant in stage.variants]
    if name is None and len(names) == 1:
        return stage.variants[0]
    if name not in names:
        raise ConfigError(f"spec.sponge.variant: {name}: accepted: {', '.join(names)}")
    return stage.variant(name)
