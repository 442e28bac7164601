"""The baselines of IPA's evaluation: variants stay fixed, replicas and batches adapt (FA2-low, FA2-high)."""

from __future__ import annotations

from dataclasses import replace

from ipa_seldon.algorithms import Algorithm, Settings
from ipa_seldon.algorithms.ipa import Ipa
from ipa_seldon.pipeline import Pipeline, Stage, Variant


def fa2_low(pipeline: Pipeline, settings: Settings) -> Algorithm:
    """Every stage keeps its lightest variant: the one of the highest throughput per core at batch 1."""
    return Ipa(_only(pipeline, heaviest=False), settings)


def fa2_high(pipeline: Pipeline, settings: Settings) -> Algorithm:
    """Every stage keeps its heaviest variant: the one of the lowest throughput per core at batch 1."""
    return Ipa(_only(pipeline, heaviest=True), settings)


def _only(pipeline: Pipeline, heaviest: bool) -> Pipeline:
    return replace(pipeline, stages=tuple(replace(s, variants=(_extreme(s, heaviest),)) for s in pipeline.stages))


def _extreme(stage: Stage, heaviest: bool) -> Variant:
    return (min if heaviest else max)(stage.variants, key=lambda variant: variant.throughput(variant.cores[0], 1))
