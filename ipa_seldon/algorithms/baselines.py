"""The baselines of IPA's and Sponge's evaluations: IPA over a pipeline of which something stays fixed, and one plan for
ever.

Variants stay fixed while replicas and batches adapt (FA2; FA2-low, FA2-high); replicas stay fixed while variants and
batches adapt (RIM); everything stays fixed (static).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ipa_seldon.algorithms import Algorithm, Settings, terms
from ipa_seldon.algorithms.damping import Wrapper
from ipa_seldon.algorithms.goals import CostAtMost
from ipa_seldon.algorithms.ipa import Ipa
from ipa_seldon.algorithms.sponge import Sponge
from ipa_seldon.options import Weights
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Observation, Plan, Proposal

_NOTHING_RUNS = Observation(time=0.0, arrivals=(), plan={})
_CORE, _BATCH = 1e-8, 1e-10  # in units of accuracy, so that they decide only among plans of equal accuracy


def fa2_low(pipeline: Pipeline, settings: Settings) -> Algorithm:
    """Every stage keeps its lightest variant: the one of the highest throughput per core at batch 1."""
    return Ipa(with_variants(pipeline, "lightest"), settings)


def fa2_high(pipeline: Pipeline, settings: Settings) -> Algorithm:
    """Every stage keeps its heaviest variant: the one of the lowest throughput per core at batch 1."""
    return Ipa(with_variants(pipeline, "heaviest"), settings)


def fa2(pipeline: Pipeline, settings: Settings) -> Algorithm:
    """Every stage keeps one variant, Sponge's where one is named, else the lightest, in replicas of the fewest cores it
    was profiled on (Sponge's evaluation).
    """
    named = settings.sponge.variant
    one = with_variants(pipeline, {s.name: named for s in pipeline.stages if named in {v.name for v in s.variants}})
    return Ipa(replace(one, stages=tuple(_on_fewest_cores(stage) for stage in one.stages)), settings)


def rim(pipeline: Pipeline, settings: Settings) -> Algorithm:
    """Replicas stay; the most accurate variants and batches that they carry the load with, the cheapest of equals.

    IPA's evaluation (RIM): the objective without its cost. The replicas are those of the settings, elsewhere those of
    FA2-high at the rate that the baselines are sized for.
    """
    alpha = settings.weights.alpha or 1.0
    # the most accurate is as near to a least accuracy as can be; a limit on cost still holds
    constraint = settings.constraint if isinstance(settings.constraint, CostAtMost) else None
    accurate = replace(settings, weights=Weights(alpha, _CORE * alpha, _BATCH * alpha), constraint=constraint)
    named = _with_replicas(pipeline, settings.baselines.replicas)
    if all(stage.name in settings.baselines.replicas for stage in pipeline.stages):
        return Ipa(named, accurate)
    heaviest = Ipa(with_variants(named, "heaviest"), settings)

    def sized(rate: float) -> Algorithm:
        replicas = {stage: allocation.replicas for stage, (allocation,) in plan_for(heaviest, rate).items()}
        return Ipa(_with_replicas(pipeline, replicas), accurate)

    return Sized(sized, settings.baselines.rate)


def static(pipeline: Pipeline, settings: Settings) -> Algorithm:
    """IPA's plan for the rate that the baselines are sized for, for ever; where the settings say on how many cores, one
    pod on so many with the batch that Sponge would take.
    """
    cores = settings.baselines.cores
    sizing = Ipa(pipeline, settings) if cores is None else Sponge(pipeline, settings, cores=(cores,))
    return Sized(lambda rate: Kept(sizing, rate), settings.baselines.rate)


def static_8(pipeline: Pipeline, settings: Settings) -> Algorithm:
    """One pod on 8 cores for ever."""
    return static(pipeline, replace(settings, baselines=replace(settings.baselines, cores=8)))


def static_16(pipeline: Pipeline, settings: Settings) -> Algorithm:
    """One pod on 16 cores for ever."""
    return static(pipeline, replace(settings, baselines=replace(settings.baselines, cores=16)))


class Kept:
    """The plan that ``algorithm`` makes for ``rate`` (requests/s) where nothing runs or is queued, at any load."""

    def __init__(self, algorithm: Algorithm, rate: float) -> None:
        self._algorithm = algorithm
        self._kept = algorithm.decide(rate, _NOTHING_RUNS)

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The plan, with its worth at ``rate``; degraded where it breaks a promise there."""
        del observation  # it does not matter what runs
        return replace(worth(self._algorithm, self._kept.plan, rate), why=self._kept.why)

    def evaluate(self, plan: Plan, rate: float) -> Proposal | None:
        """As the algorithm that made the plan values it."""
        return self._algorithm.evaluate(plan, rate)

    def terms(self, plan: Plan, running: Plan) -> Mapping[str, float] | None:
        """As the algorithm that made the plan weighs it."""
        return terms(self._algorithm, plan, running)


class Sized(Wrapper):
    """The algorithm that ``build`` makes for a rate (requests/s): for ``rate``, or, where that is None, for the first
    one above 0 that is decided for. Until then it is the algorithm for no load, which is the first plan's.
    """

    def __init__(self, build: Callable[[float], Algorithm], rate: float | None) -> None:
        super().__init__(build(rate or 0.0))
        self._build = build
        self._is_sized = rate is not None

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """The sized algorithm's proposal."""
        self._size(rate)
        return self._algorithm.decide(rate, observation)

    def remember(self, rate: float, observation: Observation, proposal: Proposal) -> None:
        """The rate, where it is the first one above 0."""
        self._size(rate)
        super().remember(rate, observation, proposal)

    def _size(self, rate: float) -> None:
        if not self._is_sized and rate > 0:
            self._algorithm, self._is_sized = self._build(rate), True


def plan_for(ipa: Ipa, rate: float) -> Plan:
    """What ``ipa`` runs at ``rate`` requests/s."""
    return ipa.decide(rate, _NOTHING_RUNS).plan


def worth(algorithm: Algorithm, plan: Plan, rate: float) -> Proposal:
    """What ``plan``, made of the algorithm's options, is worth at ``rate`` requests/s."""
    proposal = algorithm.evaluate(plan, rate)
    if proposal is None:
        raise AssertionError("a plan of its own options has a worth")
    return proposal


def with_variants(pipeline: Pipeline, variants: str | Mapping[str, str]) -> Pipeline:
    """The pipeline with one variant per stage: ``lightest``, ``heaviest``, or the named one, else the lightest."""
    return replace(pipeline, stages=tuple(replace(s, variants=(_variant(s, variants),)) for s in pipeline.stages))


def _variant(stage: Stage, variants: str | Mapping[str, str]) -> Variant:
    if not isinstance(variants, str) and stage.name in variants:
        return stage.variant(variants[stage.name])
    extreme = min if variants == "heaviest" else max
    return extreme(stage.variants, key=_speed)


def _speed(variant: Variant) -> float:
    """Requests/s of its smallest replica at batch 1, or of a core, where only capacities are known."""
    return variant.throughput(variant.cores[0], 1) if variant.cores else variant.core_rate


def _on_fewest_cores(stage: Stage) -> Stage:
    return replace(stage, variants=tuple(replace(v, cores=v.cores[:1]) for v in stage.variants))


def _with_replicas(pipeline: Pipeline, replicas: Mapping[str, int]) -> Pipeline:
    """The pipeline with exactly as many replicas of the stages that ``replicas`` names."""
    stages = tuple(
        replace(s, min_replicas=replicas[s.name], max_replicas=replicas[s.name]) if s.name in replicas else s
        for s in pipeline.stages
    )
    return replace(pipeline, stages=stages)
