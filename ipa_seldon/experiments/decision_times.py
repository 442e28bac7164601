"""How long a decision takes, by the size of the pipeline: seeded random chains whose SLO binds."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ipa_seldon.algorithms import Settings
from ipa_seldon.algorithms.ipa import Ipa
from ipa_seldon.bootstrap import build_solver
from ipa_seldon.errors import ConfigError
from ipa_seldon.experiments.grid import code_version
from ipa_seldon.experiments.schema import DecisionTimesSpec
from ipa_seldon.options import Weights
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Observation
from ipa_seldon.profiles import Measurement, Profile
from ipa_seldon.programs import AccuracyMeasure

RATE = 20.0
NOTHING = Observation(time=0.0, arrivals=(), plan={})
TIMED_SOLVERS = ("auto", "highs")


@dataclass(frozen=True)
class DecisionTime:
    """Seconds a decision took with ``solver`` (or as it is called where it was published): ``mean`` and ``max`` over
    pipelines of ``stages`` stages with ``variants`` variants each.
    """

    solver: str
    stages: int
    variants: int
    mean: float
    max: float


def decision_times(spec: DecisionTimesSpec, path: Path, notify: Callable[[str], None]) -> list[DecisionTime]:
    """Those in the file at ``path`` where they answer ``spec``, by the code as it is; else measured, and written.

    A decision is from prepared profiles to an explained plan, accuracy as a product over the stages. ``notify`` hears
    of the size that is measured.
    """
    key = sha256(repr((spec.stages, spec.variants, spec.repeats, code_version())).encode()).hexdigest()[:16]
    header = f"# key {key}"
    if path.exists() and path.read_text("utf-8").startswith(f"{header}\n"):
        return _read(path)
    times = list(_measured(spec, notify))
    lines = [header, ",".join(field.name for field in fields(DecisionTime))]
    lines += [",".join(str(value) for value in asdict(time).values()) for time in times]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]), "utf-8")
    return times


def published_times(path: Path) -> list[DecisionTime]:
    """The published times in a CSV with the columns stages, variants, mean and max; ConfigError for any other file."""
    return [replace(time, solver="published") for time in _read(path)]


def binding_pipeline(stages: int, variants: int, seed: int, measure: AccuracyMeasure) -> Ipa:
    """A chain whose SLO lies between the least latency and that of the unconstrained best plan."""
    rng = np.random.default_rng(seed)
    made = tuple(Stage(f"s{t}", tuple(random_variant(rng, m) for m in range(variants))) for t in range(stages))
    edges = tuple(pairwise(stage.name for stage in made))
    settings = Settings(build_solver("auto"), measure, Weights(alpha=20.0 * stages, beta=0.5, delta=1e-6))
    loose = Ipa(Pipeline("bench", made, edges, slo=1e9), settings)
    shortest = sum(float(options.filling(RATE).min()) for options in loose.options)
    free = loose.decide(RATE, NOTHING).latency
    return Ipa(Pipeline("bench", made, edges, slo=shortest + 0.4 * (free - shortest)), settings)


def random_variant(rng: np.random.Generator, index: int, max_cores: int = 4) -> Variant:
    """A variant profiled on 1 to ``max_cores`` cores (powers of two) and batches 1, 2, 4, 8; heavier with ``index``."""
    unit = float(rng.uniform(0.02, 0.06)) * (1 + index * float(rng.uniform(0.3, 0.9)))
    points = {}
    for cores in (c for c in (1, 2, 4) if c <= max_cores):
        for batch in (1, 2, 4, 8):
            latency = unit * (0.3 + 0.7 * batch**0.9) / cores**0.8 * float(rng.uniform(0.95, 1.05))
            points[cores, batch] = Measurement(latency, batch / latency * float(rng.uniform(0.9, 1.1)))
    profile = Profile(points)
    accuracy = min(0.4 + 0.12 * index + float(rng.uniform(0, 0.05)), 1.0)
    return Variant(
        f"v{index}", accuracy, index + 1, profile.cores, profile.latency, profile.throughput, points=profile.latencies
    )


def _measured(spec: DecisionTimesSpec, notify: Callable[[str], None]) -> Iterable[DecisionTime]:
    for stages in spec.stages:
        for variants in spec.variants:
            notify(f"decision time, {stages} stages of {variants} variants")
            prepared = [binding_pipeline(stages, variants, k, AccuracyMeasure.PRODUCT) for k in range(spec.repeats)]
            for solver in TIMED_SOLVERS:
                seconds = [_seconds(one, solver) for one in prepared]
                yield DecisionTime(solver, stages, variants, float(np.mean(seconds)), max(seconds))


def _seconds(prepared: Ipa, solver: str) -> float:
    algorithm = Ipa(prepared.pipeline, replace(prepared.settings, solver=build_solver(solver)))
    algorithm.decide(RATE, NOTHING)  # what a running loop has behind it: imports, caches
    begin = perf_counter()
    algorithm.decide(RATE, NOTHING)
    return perf_counter() - begin


def _read(path: Path) -> list[DecisionTime]:
    try:
        lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
        return [_time(row) for row in csv.DictReader(lines)]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}: accepted: the columns stages, variants, mean and max, numbers") from error


def _time(row: Mapping[str, Any]) -> DecisionTime:
    numbers = {column: float(row[column]) for column in ("mean", "max")}
    return DecisionTime(row.get("solver", ""), int(row["stages"]), int(row["variants"]), **numbers)
