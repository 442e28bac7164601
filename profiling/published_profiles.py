"""Builds the profiles of IPA's five pipelines from published figures: ``python profiling/published_profiles.py``.

``results/published/points.csv`` holds what was published (Ghafouri et al., JSys 2024, and the profiling runs released
with it): seconds of a batch (the 99th percentile where it was given) and requests/s of one replica. Runs whose latency
includes a queue, or whose throughput is no more than the load they were offered, are left out. What was not published
is derived, and marked so:

- cores: ``l(c) = l(c0) (c0 / c)^sigma`` and ``h(c) = h(c0) (c / c0)^sigma`` from the nearest core count c0 that was
  measured; sigma is fitted per family to all its variants with several core counts, up to 8 cores;
- batches: the quadratic fit over what was measured on as many cores (IPA section 4.2), else the median ratio to batch 1
  that was measured in the family;
- throughput: ``b / l`` times the family's median of ``h l / b``;
- variants of which nothing sound was published: the latency of a relative times the ratio of their encoders' sizes.

``--check`` compares with the files there are instead of writing them. Prints the fits and the base allocations.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from statistics import median

import numpy as np

from ipa_seldon.config import read_config
from ipa_seldon.options import allowed_batches, base_allocations
from ipa_seldon.profiles import Measurement, Profile

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "profiling" / "results" / "published"
CORES = (1, 2, 4, 8, 16)
FASTEST = 8
"""Cores beyond which no published variant gained reliably."""
COLUMNS = ("stage", "variant", "cores", "batch", "latency", "throughput", "source")

RELATIVES = {
    # Parameters of the transformer layers, in millions: BERT base and RoBERTa base 85, DistilBERT 43, large 302.
    "xlm-roberta-large": ("xlm-roberta-base", 302 / 85),
    "bert-sentiment": ("distillbert-sentiment", 85 / 43),
    "roberta-sentiment": ("distillbert-sentiment", 85 / 43),
}
QA = ("xlm-roberta-base", "roberta-base", "xlm-roberta-large")
AUDIO = ("s2t-small", "s2t-medium", "wav2vec2-base", "s2t-large", "wav2vec2-large")
SUMMARIES = tuple(f"distilbart-{size}" for size in ("1-1", "12-1", "6-6", "12-3", "9-6", "12-6"))
PIPELINES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "video": {
        "crop": tuple(f"yolov5{size}" for size in "nsmlx"),
        "classification": tuple(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    },
    "audio-qa": {"audio": AUDIO, "nlp-qa": QA},
    "audio-sent": {
        "audio": AUDIO,
        "nlp-sent": ("distillbert-sentiment", "bert-sentiment", "roberta-sentiment", "distilbert-sst2"),
    },
    "sum-qa": {"nlp-sum": SUMMARIES, "nlp-qa": QA},
    "nlp": {
        "nlp-li": ("xlm-roberta-langid",),
        "nlp-trans": ("opus-mt-fr-en", "opus-mt-tc-big-fr-en"),
        "nlp-sum": SUMMARIES,
    },
}
BATCHES = {"video": (1, 2, 4, 8)}  # the others cap the batch at 1


@dataclass(frozen=True)
class Point:
    """One published point; ``throughput`` None where only the latency is sound."""

    variant: str
    family: str
    cores: int
    batch: int
    latency: float
    throughput: float | None


@dataclass(frozen=True)
class Family:
    """What a family's points have in common: ``sigma``, ``overlap`` (median h l / b), the latency and the throughput of
    a batch relative to batch 1; ``error`` is the fit's, as a factor (root mean square of the logarithm).
    """

    sigma: float
    error: float
    overlap: float
    latencies: Mapping[int, float]
    throughputs: Mapping[int, float]


def read_points() -> list[Point]:
    """What was published."""
    with (RESULTS / "points.csv").open(encoding="utf-8", newline="") as lines:
        return [
            Point(
                row["variant"],
                row["family"],
                int(row["cores"]),
                int(row["batch"]),
                float(row["latency"]),
                float(row["throughput"]) if row["throughput"] else None,
            )
            for row in csv.DictReader(lines)
        ]


def fit(points: Iterable[Point]) -> Family:
    """A family's scaling, from all its variants."""
    points = list(points)
    deviations = []
    for variant in {point.variant for point in points}:
        rows = [p for p in points if p.variant == variant and p.batch == 1 and p.cores <= FASTEST]
        if len(rows) > 1:
            x = np.log([p.cores for p in rows])
            y = np.log([p.latency for p in rows])
            deviations.append((x - x.mean(), y - y.mean()))
    x, y = (np.concatenate(parts) for parts in zip(*deviations, strict=True))
    slope = float((x * y).sum() / (x * x).sum())
    by_key = {(p.variant, p.cores, p.batch): p for p in points}
    ones = {key: by_key[p.variant, p.cores, 1] for key, p in by_key.items() if (p.variant, p.cores, 1) in by_key}
    latencies, throughputs = {1: 1.0}, {1: 1.0}
    for batch in sorted({p.batch for p in points} - {1}):
        pairs = [(by_key[key], one) for key, one in ones.items() if key[2] == batch]
        latencies[batch] = median(p.latency / one.latency for p, one in pairs)
        measured = [p.throughput / one.throughput for p, one in pairs if p.throughput and one.throughput]
        throughputs[batch] = median(measured)
    return Family(
        sigma=-slope,
        error=exp(float(np.sqrt(np.mean((y - slope * x) ** 2)))),
        overlap=median(p.throughput * p.latency / p.batch for p in points if p.throughput),
        latencies=latencies,
        throughputs=throughputs,
    )


def complete(points: Iterable[Point], family: Family, batches: Iterable[int]) -> dict[tuple[int, int], list[object]]:
    """(cores, batch) -> latency, throughput, source of one variant, for every count in CORES."""
    published = {(p.cores, p.batch): p for p in points}
    counts = sorted({cores for cores, batch in published if batch == 1})
    table: dict[tuple[int, int], list[object]] = {}
    for cores in CORES:
        nearest = min(counts, key=lambda count: abs(log(count / cores)))
        speedup = (min(cores, max(FASTEST, nearest)) / nearest) ** family.sigma
        one = published[nearest, 1]
        single = one.latency / speedup
        rate = (one.throughput or family.overlap / one.latency) * speedup
        measured = {batch: p for (count, batch), p in published.items() if count == cores}
        for batch in batches:
            if (point := measured.get(batch)) is not None:
                throughput = point.throughput or family.overlap * batch / point.latency
                table[cores, batch] = [point.latency, throughput, "measured" if point.throughput else "derived"]
            elif len(measured) > 1:
                fitted = Profile({(cores, b): Measurement(p.latency, 1.0) for b, p in measured.items()})
                latency = fitted.latency(cores, batch)
                table[cores, batch] = [latency, family.overlap * batch / latency, "derived"]
            else:
                latency = single * family.latencies[batch]
                table[cores, batch] = [latency, rate * family.throughputs[batch], "derived"]
    return table


def relative(points: list[Point], variant: str) -> list[Point]:
    """The points of a variant, or those of its relative, scaled."""
    own = [p for p in points if p.variant == variant]
    if own:
        return own
    name, ratio = RELATIVES[variant]
    return [
        Point(variant, p.family, p.cores, p.batch, p.latency * ratio, p.throughput and p.throughput / ratio)
        for p in points
        if p.variant == name
    ]


def rows(pipeline: str, points: list[Point], families: Mapping[str, Family]) -> list[str]:
    """The lines of one pipeline's profile."""
    lines = [",".join(COLUMNS)]
    for stage, variants in PIPELINES[pipeline].items():
        for variant in variants:
            own = relative(points, variant)
            table = complete(own, families[own[0].family], BATCHES.get(pipeline, (1,)))
            for (cores, batch), (latency, throughput, source) in table.items():
                told = "derived" if variant in RELATIVES else source
                lines.append(f"{stage},{variant},{cores},{batch},{latency:.4g},{throughput:.4g},{told}")
    return lines


def print_base_allocations(pipeline: str) -> None:
    """Cores of one replica of every variant by the base-allocation rule, from the pipeline file as it is."""
    config = read_config(ROOT / "manifests" / "pipelines" / pipeline / "pipeline.yaml")
    for stage in config.pipeline.stages:
        base = base_allocations(stage, allowed_batches(config.pipeline.max_batch))
        print(f"{pipeline} {stage.name}: " + ", ".join(f"{name} {cores}" for name, cores in base.items()))


def main() -> int:
    """Exit code 1 when ``--check`` finds a file that differs."""
    points = read_points()
    families = {name: fit(p for p in points if p.family == name) for name in {p.family for p in points}}
    for name, family in sorted(families.items()):
        print(f"{name}: sigma {family.sigma:.2f}, error x{family.error:.2f}, h l / b {family.overlap:.2f}")
    stale = []
    for pipeline in PIPELINES:
        path, text = RESULTS / f"{pipeline}.csv", "\n".join(rows(pipeline, points, families)) + "\n"
        measured = text.count("measured")
        print(f"{pipeline}: {measured} rows measured, {text.count('derived')} derived")
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    if "--check" in sys.argv and stale:
        print(f"out of date: {', '.join(stale)}: run python profiling/published_profiles.py", file=sys.stderr)
        return 1
    for pipeline in PIPELINES:
        print_base_allocations(pipeline)
    return 0


if __name__ == "__main__":
    sys.exit(main())
