"""Compares plans of IPA's five pipelines with the published outcome: ``python profiling/published_costs.py``.

Prints measured and derived points of each profile, and base allocations against the published ones. With ``--trace``
(requests/s at 1 Hz) it also decides every 10 s for the true peak of the next 20 s, a perfect forecast, with IPA's queue
term, and prints mean cost and mean accuracy of the plans beside those published for IPA's bursty load (Ghafouri et al.,
JSys 2024).
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ipa_seldon.algorithms import Algorithm
    from ipa_seldon.config import Config
    from ipa_seldon.pipeline import Pipeline, Stage

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "profiling" / "results" / "published"
INTERVAL, HORIZON = 10, 20  # seconds


@dataclass(frozen=True)
class Outcome:
    """Mean cost (cores) and mean accuracy (product over the stages, per cent)."""

    cost: float
    accuracy: float


@dataclass(frozen=True)
class Experiment:
    """What was published of one pipeline: ``alpha`` of the bursty load, IPA's outcome, and those of FA2-low and
    FA2-high with the variants that their accuracies (products) give away.
    """

    alpha: float
    ipa: Outcome
    low: tuple[tuple[str, ...], Outcome]
    high: tuple[tuple[str, ...], Outcome]


EXPERIMENTS = {
    "video": Experiment(
        2,
        Outcome(2.72, 34.0),
        (("yolov5n", "resnet18"), Outcome(2.73, 31.9)),
        (("yolov5s", "resnet101"), Outcome(5.85, 43.9)),
    ),
    "audio-qa": Experiment(
        20,
        Outcome(21.2, 52.0),
        (("s2t-small", "xlm-roberta-base"), Outcome(16.7, 45.3)),
        (("s2t-medium", "roberta-base"), Outcome(32.9, 53.8)),
    ),
    "audio-sent": Experiment(
        30,
        Outcome(21.7, 57.5),
        (("s2t-small", "distillbert-sentiment"), Outcome(14.6, 46.8)),
        (("s2t-medium", "distilbert-sst2"), Outcome(31.6, 59.1)),
    ),
    "sum-qa": Experiment(
        10,
        Outcome(16.7, 29.0),
        (("distilbart-1-1", "xlm-roberta-base"), Outcome(9.3, 24.9)),
        (("distilbart-12-6", "roberta-base"), Outcome(57.8, 30.7)),
    ),
    "nlp": Experiment(
        100,
        Outcome(152.5, 12.0),
        (("xlm-roberta-langid", "opus-mt-fr-en", "distilbart-1-1"), Outcome(46.7, 10.6)),
        (("xlm-roberta-langid", "opus-mt-tc-big-fr-en", "distilbart-12-6"), Outcome(233.4, 12.7)),
    ),
}


def read_pipeline(name: str) -> Config:
    """The pipeline's file."""
    from ipa_seldon.config import read_config

    return read_config(ROOT / "manifests" / "pipelines" / name / "pipeline.yaml")


def published_cores() -> dict[str, int]:
    """The published base allocation, by variant."""
    with (RESULTS / "variants.csv").open(encoding="utf-8", newline="") as file:
        return {row["variant"]: int(row["base"]) for row in csv.DictReader(file)}


def base_cores(pipeline: Pipeline) -> dict[tuple[str, str], int]:
    """The base allocation that the rule gives, by (stage, variant)."""
    from ipa_seldon.options import allowed_batches, base_allocations

    batches = allowed_batches(pipeline.max_batch)
    return {
        (stage.name, variant): cores
        for stage in pipeline.stages
        for variant, cores in base_allocations(stage, batches).items()
    }


def points(name: str) -> tuple[int, int]:
    """How many points of a pipeline's profile were measured, and how many derived."""
    with (RESULTS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        sources = [row["source"] for row in csv.DictReader(file)]
    return sources.count("measured"), sources.count("derived")


def peaks(rates: Sequence[float]) -> list[float]:
    """The peak of the next HORIZON seconds, every INTERVAL; of a shorter trace, its only one."""
    starts = range(0, max(len(rates) - HORIZON, 0) + 1, INTERVAL)
    return [max(rates[start : start + HORIZON]) for start in starts]


def outcome(pipeline: Pipeline, algorithm: Algorithm, rates: Sequence[float]) -> Outcome:
    """The means over the plans for ``rates``. Accuracy is the product, whatever the algorithm weighed."""
    from ipa_seldon.plan import Observation

    proposals = [algorithm.decide(rate, Observation(time=0.0, arrivals=(), plan={})) for rate in rates]
    accuracies = [
        prod(stage.variant(proposal.plan[stage.name][0].variant).accuracy for stage in pipeline.stages)
        for proposal in proposals
    ]
    return Outcome(mean(proposal.cost for proposal in proposals), 100 * mean(accuracies))


def fixed(pipeline: Pipeline, variants: Sequence[str]) -> Pipeline:
    """The pipeline with one variant per stage."""

    def only(stage: Stage, name: str) -> Stage:
        return replace(stage, variants=(stage.variant(name),))

    return replace(pipeline, stages=tuple(map(only, pipeline.stages, variants)))


def comparison(name: str, rates: Sequence[float]) -> Iterator[str]:
    """Lines of cost and accuracy, ours and published: IPA by product and by rank, FA2 with its variants."""
    from ipa_seldon.algorithms.ipa import Ipa
    from ipa_seldon.bootstrap import algorithm_settings
    from ipa_seldon.programs import AccuracyMeasure
    from ipa_seldon.queueing import Queueing

    config, experiment = read_pipeline(name), EXPERIMENTS[name]
    pipeline, read = config.pipeline, algorithm_settings(config)
    settings = replace(read, weights=replace(read.weights, alpha=experiment.alpha), queueing=Queueing.PUBLISHED)
    for measure in (AccuracyMeasure.PRODUCT, AccuracyMeasure.RANK):
        ours = outcome(pipeline, Ipa(pipeline, replace(settings, measure=measure)), rates)
        yield line(name, f"IPA, {measure}", ours, experiment.ipa)
    for method, (variants, published) in (("FA2-low", experiment.low), ("FA2-high", experiment.high)):
        one = fixed(pipeline, variants)
        yield line(name, method, outcome(one, Ipa(one, settings), rates), published)


def line(name: str, method: str, ours: Outcome, published: Outcome) -> str:
    """One row of the comparison."""
    return (
        f"| {name} | {method} | {ours.cost:.2f} | {published.cost:.2f} | {published.cost / ours.cost:.2f} "
        f"| {ours.accuracy:.1f} | {published.accuracy:.1f} |"
    )


@click.command(help=__doc__)
@click.option("--trace", type=click.Path(path_type=Path), help="Load trace: one number a line, or CSV second,rps.")
def main(trace: Path | None) -> None:
    """Print the tables."""
    from ipa_seldon.errors import ConfigError
    from ipa_seldon.traces import read_trace

    try:
        rates = peaks(read_trace(trace)) if trace else []
    except ConfigError as error:
        raise click.BadParameter(str(error), param_hint="--trace") from error
    click.echo("| pipeline | measured points | derived points | base allocations as published |\n|---|---|---|---|")
    wanted = published_cores()
    for name in EXPERIMENTS:
        bases = base_cores(read_pipeline(name).pipeline)
        odd = [f"{v} {cores} not {wanted[v]}" for (_, v), cores in bases.items() if cores != wanted[v]]
        measured, derived = points(name)
        exceptions = f"; {', '.join(odd)}" if odd else ""
        click.echo(f"| {name} | {measured} | {derived} | {len(bases) - len(odd)} of {len(bases)}{exceptions} |")
    if rates:
        click.echo(
            "\n| pipeline | method | cost | published | ratio | accuracy % | published |\n|---|---|---|---|---|---|---|"
        )
        for name in EXPERIMENTS:
            for row in comparison(name, rates):
                click.echo(row)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
