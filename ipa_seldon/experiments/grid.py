"""An experiment file to its runs: pipelines x loads x methods x seeds, each with a key of all that decides it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import ipa_seldon
from ipa_seldon.bootstrap import build_algorithm, build_forecaster
from ipa_seldon.config import Config, make_config, parse_document, read_capacities, read_profiles, read_yaml, validated
from ipa_seldon.errors import ConfigError
from ipa_seldon.experiments.schema import ExperimentFile, LoadSpec, NetworkSpec
from ipa_seldon.experiments.simulate import Floats, Scenario
from ipa_seldon.profiles import Profile
from ipa_seldon.simulation.network import Network
from ipa_seldon.simulation.physics import Physics
from ipa_seldon.simulation.workload import scaled
from ipa_seldon.traces import load_rates, network_of, read_trace, window

AXES = ("pipeline", "load", "method")
# Packages and modules whose code has no part in a simulated run.
_BESIDE = (
    "advice",
    "bridge",
    "cli",
    "demo",
    "driver.py",
    "experiments",
    "explain",
    "gateway",
    "loadgen",
    "profiler",
    "reports",
    "telemetry",
)
_OF_EXPERIMENTS = ("series.py", "simulate.py")

Profiles = Mapping[tuple[str, str], Profile]


@dataclass(frozen=True)
class Cell:
    """What the runs of all seeds are averaged over; names as in the experiment file and the pipeline's metadata."""

    pipeline: str
    load: str
    method: str

    def __str__(self) -> str:
        return f"{self.pipeline}-{self.load}-{self.method}"


@dataclass(frozen=True, eq=False)
class Run:
    """One row of the results. ``series``: whether the run is the one of its cell that is shown over time. ``key``
    changes with everything that decides the result, code included.
    """

    cell: Cell
    seed: int
    scenario: Scenario
    series: bool
    key: str


@dataclass(frozen=True)
class Experiment:
    """An experiment file that was read: ``pipelines`` are the files it names, loaded, by pipeline name."""

    path: Path
    document: ExperimentFile
    pipelines: Mapping[str, tuple[Path, Mapping[str, Any]]]

    def cells(self, only: Mapping[str, Iterable[str]] | None = None) -> list[Cell]:
        """Every cell, or those that ``only`` (axis -> names) selects; ConfigError for a name that is not there."""
        spec = self.document.spec
        axes = {"pipeline": list(self.pipelines), "load": list(spec.loads), "method": list(spec.methods)}
        for axis, names in (only or {}).items():
            if odd := [name for name in names if name not in axes[axis]]:
                raise ConfigError(f"{self.path}: {axis} {odd[0]!r}: unknown; accepted: {', '.join(axes[axis])}")
            axes[axis] = [name for name in axes[axis] if name in names]
        return [Cell(p, load, method) for p in axes["pipeline"] for load in axes["load"] for method in axes["method"]]

    def trace(self, load: str) -> Path | None:
        """Where the trace of a load is; None where the load has none, or names a file that is not there and a pattern
        to do instead.
        """
        return self._trace_of(self.document.spec.loads[load])

    def network_trace(self, load: str) -> Path | None:
        """As ``trace``, of the network that the load's requests pass; None where they pass none."""
        spec = self.document.spec.loads[load].network
        return self._trace_of(spec) if spec else None

    def _trace_of(self, spec: LoadSpec | NetworkSpec) -> Path | None:
        path = self.path.parent / spec.trace if spec.trace else None
        return None if path and spec.pattern and not path.exists() else path


def read_experiment(path: Path) -> Experiment:
    """The experiment in the file at ``path``, with the pipeline files it names; ConfigError for either."""
    document = validated(path, read_yaml(path), ExperimentFile)
    pipelines: dict[str, tuple[Path, Mapping[str, Any]]] = {}
    for entry in document.spec.pipelines:
        of_pipeline = path.parent / entry
        loaded = read_yaml(of_pipeline)
        name = parse_document(of_pipeline, loaded).metadata.name
        if name in pipelines:
            raise ConfigError(f"{path}: spec.pipelines: {entry}: accepted: each pipeline once; {name} is there already")
        pipelines[name] = of_pipeline, cast(Mapping[str, Any], loaded)
    if odd := ", ".join(set(document.spec.overrides) - set(pipelines)):
        raise ConfigError(f"{path}: spec.overrides: {odd}: unknown pipeline; accepted: {', '.join(pipelines)}")
    experiment = Experiment(path, document, pipelines)
    names = Counter(map(str, experiment.cells()))
    if names.total() > len(names):
        raise ConfigError(f"{path}: {names.most_common(1)[0][0]}: accepted: names that differ when joined by hyphens")
    return experiment


def expand(experiment: Experiment, only: Mapping[str, Iterable[str]] | None = None) -> list[Run]:
    """The runs of the cells that ``only`` selects; ConfigError where what a method makes of a pipeline file is none."""
    spec, profiles = experiment.document.spec, cache(read_profiles)
    traces = cache(read_trace)
    rates = cache(lambda load, seed: _rates(experiment, load, seed, traces))
    networks = cache(lambda load, seed: _network(experiment, load, len(rates(load, seed)), seed))
    physics = Physics(**dict(spec.simulation))
    runs = []
    for cell in experiment.cells(only):
        config = _config(experiment, cell, profiles)
        for seed in spec.seeds:
            network = networks(cell.load, seed)
            scenario = Scenario(config, rates(cell.load, seed), seed, physics=physics, network=network)
            series = seed == spec.seeds[0]
            runs.append(Run(cell, seed, scenario, series, _key(scenario, series)))
    return runs


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``: mappings merge key by key, anything else is replaced."""
    together = dict(base)
    for key, value in changes.items():
        before = base.get(key)
        together[key] = merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return together


@cache
def code_version(root: Path = Path(ipa_seldon.__file__).parent) -> str:
    """A digest of the code, below ``root``, that takes part in a simulated run."""
    files = [file for file in sorted(root.rglob("*.py")) if file.relative_to(root).parts[0] not in _BESIDE]
    files += [root / "experiments" / name for name in _OF_EXPERIMENTS]
    digest = sha256()
    for file in files:
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _config(experiment: Experiment, cell: Cell, profiles: Callable[[Path], Profiles]) -> Config:
    """The config of a cell, checked down to the parts that its names stand for."""
    spec = experiment.document.spec
    path, base = experiment.pipelines[cell.pipeline]
    changes = merged(spec.overrides.get(cell.pipeline, {}).get(cell.load, {}), spec.methods[cell.method])
    try:
        document = parse_document(path, {**base, "spec": merged(base["spec"], changes)})
        profile, capacity = document.spec.profile, document.spec.capacity
        config = make_config(
            path,
            document,
            profiles(path.parent / profile) if profile else {},
            read_capacities(path.parent / capacity) if capacity else {},
        )
        build_algorithm(config)
        build_forecaster(config)
    except ConfigError as error:
        raise ConfigError(f"{experiment.path}: method {cell.method}, load {cell.load}: {error}") from error
    return config


def _rates(experiment: Experiment, load: str, seed: int, traces: Callable[[Path], list[float]]) -> Floats:
    spec: LoadSpec = experiment.document.spec.loads[load]
    trace = experiment.trace(load)
    try:
        if trace is not None:
            return scaled(window(traces(trace), spec.start, spec.duration), damping=spec.damping)
        return load_rates(spec.pattern, None, spec.duration, spec.scale, 1.0, seed)
    except ConfigError as error:
        raise ConfigError(f"{experiment.path}: spec.loads.{load}: {error}") from error


def _network(experiment: Experiment, load: str, duration: int, seed: int) -> Network | None:
    spec = experiment.document.spec.loads[load]
    if spec.network is None:
        return None
    trace = experiment.network_trace(load)
    try:
        return network_of(trace, spec.network.pattern or "", spec.size or "", duration, seed)
    except ConfigError as error:
        raise ConfigError(f"{experiment.path}: spec.loads.{load}: {error}") from error


def _key(scenario: Scenario, series: bool) -> str:
    config, physics, network = scenario.config, scenario.physics, scenario.network
    decides = {
        "document": config.document.model_dump(mode="json", exclude={"spec": {"profile", "capacity", "repository"}}),
        "profile": list(_profile_rows(config)),
        "capacity": sorted(
            (*key, capacity.load_time, *point)
            for key, capacity in config.capacities.items()
            for point in capacity.points.items()
        ),
        "rates": sha256(scenario.rates.tobytes()).hexdigest(),
        "network": network and [sha256(network.bandwidth.tobytes()).hexdigest(), *map(astuple, network.sizes)],
        "seed": scenario.seed,
        "simulation": [physics.drop, physics.startup, physics.resize, physics.held_back],
        "series": series,
        "code": code_version(),
    }
    return sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def _profile_rows(config: Config) -> Iterator[tuple[Any, ...]]:
    for stage, spec in sorted(config.spec.stages.items()):
        for variant in sorted(spec.variants):
            profile = config.profiles.get((stage, variant), Profile({}))
            for at, point in sorted(profile.points.items()):
                yield stage, variant, *at, point.latency, point.throughput
