"""Makes the profiles of IPA's five pipelines from the published points: ``python profiling/published_profiles.py``.

``results/published/points.csv`` holds what was published, ``variants.csv`` the variants. What is missing is derived:

1. Variants without a point (three encoders): latency in proportion to the parameters of the network without its
   embeddings, by the median of the encoders measured on one core; throughput by their median ``h * l``.
2. Batches: as ``ipa_seldon.profiles.Profile`` reads them, IPA's quadratic fit over the variant's own batches on as many
   cores; from a single one, that batching gains nothing.
3. Cores: Amdahl, ``l(c) = l(1) * (s + (1 - s) / c)``, from the nearest measured count below, else above; throughput
   in inverse proportion. ``s`` is fitted per variant measured on three or more counts. Steps to more cores take the
   largest ``s`` of the kind, steps to fewer the smallest; a variant measured on two counts adds its own. The
   summarisers were measured on one count: more cores take the ``s`` under which most of their published base
   allocations come out, fewer cores that of the translators, which generate word by word as well.
4. More cores are never slower: where a point is, it takes the figures of fewer cores.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "profiling" / "results" / "published"
PIPELINES = ("video", "audio-qa", "audio-sent", "sum-qa", "nlp")
CORES = (1, 2, 4, 8, 16)
CORES_OF = {"speech": (1, 2, 4, 8)}
"""Speech-to-text gained nothing from 16 cores (run 100, s2t-medium: 0.27 s after 0.24 s on 8)."""
SUMMARISERS, TRANSLATORS = "summarisation", "translation"
SUMMARY_THRESHOLD = 5.0  # requests/s, in the pipeline sum-qa
HEADER = ("stage", "variant", "cores", "batch", "latency", "throughput", "source")


class Point(NamedTuple):
    """``latency`` in seconds, ``throughput`` in requests/s; ``measured`` when both were published."""

    latency: float
    throughput: float
    measured: bool

    def scaled(self, latency: float, throughput: float) -> Point:
        """A derived point: latency and throughput times these factors."""
        return Point(self.latency * latency, self.throughput * throughput, False)


Grid = dict[tuple[int, int], Point]  # by (cores, batch)


@dataclass(frozen=True)
class Variant:
    """``network``: millions of parameters without embeddings (encoders only); ``base``: published cores."""

    kind: str
    network: float | None
    base: int


@dataclass(frozen=True)
class Steps:
    """Serial fractions for steps to ``more`` cores than were measured, and to ``fewer``."""

    more: float
    fewer: float


@dataclass(frozen=True)
class Bracket:
    """Serial fractions from ``low`` to ``high`` give ``hits`` variants their published base allocation."""

    low: float
    high: float
    hits: int


@dataclass(frozen=True)
class Published:
    """The variants and the published points, by variant."""

    variants: Mapping[str, Variant]
    points: Mapping[str, Grid]

    def of_kind(self, kind: str) -> list[str]:
        """The variants of that kind that have points."""
        return [name for name in self.points if self.variants[name].kind == kind]

    def fits(self, kind: str) -> dict[str, tuple[float, float]]:
        """Serial fraction and error of each variant of the kind that was measured on three or more core counts."""
        ladders = {name: ladder(self.points[name]) for name in self.of_kind(kind)}
        return {name: serial_fraction(latencies) for name, latencies in ladders.items() if len(latencies) > 2}

    def steps(self, name: str) -> Steps:
        """How the variant's unmeasured core counts are derived."""
        kind = self.variants[name].kind
        if kind == SUMMARISERS:
            return Steps((self.summarisers.low + self.summarisers.high) / 2, self._fewer_for_summarisers)
        fractions = [serial for serial, _ in self.fits(kind).values()]
        own = ladder(self.points.get(name, {}))
        if len(own) > 1:
            fractions.append(serial_fraction(own)[0])
        return Steps(max(fractions), min(fractions))

    @cached_property
    def _fewer_for_summarisers(self) -> float:
        return min(serial for serial, _ in self.fits(TRANSLATORS).values())

    @cached_property
    def summarisers(self) -> Bracket:
        """The serial fractions that give most summarisers their published base allocation."""
        candidates = np.linspace(0, 1, 1001)
        hits = np.array([self._summariser_hits(float(more)) for more in candidates])
        best = candidates[hits == hits.max()]
        return Bracket(float(best[0]), float(best[-1]), int(hits.max()))

    def _summariser_hits(self, more: float) -> int:
        steps = Steps(more, self._fewer_for_summarisers)
        grids = {name: on_every_core(self.points[name], CORES, steps) for name in self.of_kind(SUMMARISERS)}
        return sum(least_cores(grid, SUMMARY_THRESHOLD) == self.variants[name].base for name, grid in grids.items())

    @cached_property
    def encoder_rates(self) -> dict[str, tuple[float, float]]:
        """Seconds per million parameters, and ``h * l``, of every encoder measured on one core."""
        return {
            name: (grid[1, 1].latency / network, grid[1, 1].latency * grid[1, 1].throughput)
            for name, grid in self.points.items()
            if (network := self.variants[name].network) is not None
        }

    def measured(self, name: str) -> Grid:
        """The variant's published points; of an encoder without any, the derived one on one core."""
        network = self.variants[name].network
        if name in self.points or network is None:
            return self.points[name]
        per_million, overlap = (median(column) for column in zip(*self.encoder_rates.values(), strict=True))
        latency = per_million * network
        return {(1, 1): Point(latency, overlap / latency, False)}

    def profile(self, name: str, batches: Sequence[int]) -> Grid:
        """Every point of the variant's profile."""
        grid = on_every_batch(self.measured(name), batches)
        return on_every_core(grid, CORES_OF.get(self.variants[name].kind, CORES), self.steps(name))


def read_published() -> Published:
    """The committed files. A point without a throughput (none was published, or only that all the load offered was
    carried) gets the variant's median ``h * l / b`` and counts as derived.
    """
    variants = {
        row["variant"]: Variant(row["kind"], float(row["network"]) if row["network"] else None, int(row["base"]))
        for row in _rows("variants.csv")
    }
    points: dict[str, Grid] = {}
    for row in sorted(_rows("points.csv"), key=lambda row: not row["throughput"]):
        cores, batch, latency = int(row["cores"]), int(row["batch"]), float(row["latency"])
        grid = points.setdefault(row["variant"], {})
        if row["throughput"]:
            grid[cores, batch] = Point(latency, float(row["throughput"]), True)
        else:
            overlap = median(p.throughput * p.latency / size for (_, size), p in grid.items() if p.measured)
            grid[cores, batch] = Point(latency, overlap * batch / latency, False)
    return Published(variants, points)


def _rows(name: str) -> list[dict[str, str]]:
    with (RESULTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def ladder(grid: Grid) -> dict[int, float]:
    """Latency at batch 1, by cores."""
    return {cores: point.latency for (cores, batch), point in grid.items() if batch == 1}


def serial_fraction(latencies: Mapping[int, float]) -> tuple[float, float]:
    """Amdahl's serial fraction in [0, 1] by least relative squares, and the root mean square relative error."""
    cores, seconds = (np.array(column, dtype=float) for column in zip(*latencies.items(), strict=True))
    design = np.stack([1 / seconds, 1 / (cores * seconds)], axis=1)
    (constant, shared), *_ = np.linalg.lstsq(design, np.ones(len(cores)), rcond=None)
    serial = float(np.clip(constant / (constant + shared), 0.0, 1.0))
    relative = (serial + (1 - serial) / cores) / seconds
    scale = relative.sum() / (relative**2).sum()
    return serial, float(np.sqrt(np.mean((scale * relative - 1) ** 2)))


def least_cores(grid: Grid, threshold: float) -> int | None:
    """The fewest cores that carry ``threshold`` requests/s at batch 1: IPA's base allocation, latency permitting."""
    return min((cores for (cores, batch), p in grid.items() if batch == 1 and p.throughput >= threshold), default=None)


def on_every_batch(grid: Grid, batches: Sequence[int]) -> Grid:
    """``grid`` with every one of ``batches`` on every core count it has."""
    from ipa_seldon.profiles import Measurement, Profile

    profile = Profile({key: Measurement(point.latency, point.throughput) for key, point in grid.items()})
    keys = [(cores, batch) for cores in profile.cores for batch in batches]
    return {key: grid.get(key) or Point(profile.latency(*key), profile.throughput(*key), False) for key in keys}


def on_every_core(grid: Grid, cores: Sequence[int], steps: Steps) -> Grid:
    """``grid`` with every one of ``cores``, none slower than fewer."""
    known = sorted({count for count, _ in grid})
    batches = sorted({batch for _, batch in grid})
    made: Grid = {}
    for count in cores:
        start = max((c for c in known if c <= count), default=known[0])
        serial = steps.more if start <= count else steps.fewer
        gain = (serial + (1 - serial) / start) / (serial + (1 - serial) / count)
        for batch in batches:
            point = grid[start, batch]
            made[count, batch] = point if start == count else point.scaled(1 / gain, gain)
    for few, many in pairwise(cores):
        for batch in batches:
            less, more = made[few, batch], made[many, batch]
            if more.latency > less.latency or more.throughput < less.throughput:
                better = min(less.latency, more.latency), max(less.throughput, more.throughput)
                made[many, batch] = Point(*better, False)
    return made


def profile_text(pipeline: str, published: Published) -> str:
    """The profile of a pipeline as CSV."""
    from ipa_seldon.config import read_config
    from ipa_seldon.options import allowed_batches

    config = read_config(ROOT / "manifests" / "pipelines" / pipeline / "pipeline.yaml", profile=False)
    batches = allowed_batches(config.spec.limits.batch)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for stage in config.pipeline.stages:
        for variant in stage.variants:
            for (cores, batch), point in published.profile(variant.name, batches).items():
                figures = (f"{point.latency:.4g}", f"{point.throughput:.4g}")
                source = "measured" if point.measured else "derived"
                writer.writerow((stage.name, variant.name, cores, batch, *figures, source))
    return text.getvalue()


def report(published: Published) -> Iterator[str]:
    """What the derivation rests on, line by line."""
    for kind in dict.fromkeys(v.kind for v in published.variants.values()):
        for name, (serial, error) in published.fits(kind).items():
            yield f"{kind:<15} {name:<24} serial fraction {serial:.3f}, error {error:.1%}"
    bracket = published.summarisers
    yield (
        f"{SUMMARISERS:<15} {bracket.hits} of {len(published.of_kind(SUMMARISERS))} base allocations come out "
        f"for serial fractions {bracket.low:.3f} to {bracket.high:.3f}"
    )
    for name, (per_million, overlap) in published.encoder_rates.items():
        yield f"{'encoder':<15} {name:<24} {per_million * 1e3:.2f} ms per million parameters, h * l {overlap:.2f}"


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Compare with the committed files instead; exit code 1 if one differs.")
def main(check: bool) -> None:
    """Write or check, and print the fits."""
    published = read_published()
    click.echo("\n".join(report(published)))
    texts = {RESULTS / f"{pipeline}.csv": profile_text(pipeline, published) for pipeline in PIPELINES}
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if check and stale:
        click.echo(f"out of date: {', '.join(path.name for path in stale)}", err=True)
        sys.exit(1)
    for path in stale:
        path.write_text(texts[path], encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
