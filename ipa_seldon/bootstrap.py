"""Config to the parts of the loop: the only module that knows every kind of part."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import yaml

from ipa_seldon import plugins
from ipa_seldon.algorithms import (
    ALGORITHMS,
    BY_CAPACITY,
    UNDAMPED,
    WITH_SETS,
    Algorithm,
    Baselines,
    SetSettings,
    Settings,
    SpongeSettings,
)
from ipa_seldon.algorithms.damping import CoolDown, MinimumGain, Stabilised
from ipa_seldon.algorithms.goals import AccuracyAtLeast, CostAtMost
from ipa_seldon.algorithms.ipa import Ipa
from ipa_seldon.algorithms.sponge import Sponge
from ipa_seldon.config import Config, slowed_config
from ipa_seldon.controller import Controller, Listener, Thought, think
from ipa_seldon.errors import ConfigError, IpaSeldonError, PlatformError
from ipa_seldon.fallback import Fallback, FallbackSettings
from ipa_seldon.forecasters import Forecaster, ForecastSettings
from ipa_seldon.forecasters.quantile import build_forecaster as wrapped_forecaster
from ipa_seldon.latency_model import Fit
from ipa_seldon.options import Weights
from ipa_seldon.plan import Decision, Observation, Outcome, Plan, plan_to_json
from ipa_seldon.platforms import PLATFORMS, Platform
from ipa_seldon.platforms.cpu_quota import best_quota
from ipa_seldon.schema import SeldonSpec
from ipa_seldon.schema_decisions import ObjectiveSpec
from ipa_seldon.solvers import SOLVERS, Solver
from ipa_seldon.specs.seldon import (
    CAPACITY_FILE,
    PROFILE_FILE,
    SeldonSettings,
    pipeline_config_map,
    plan_config_map,
    seldon_deployment,
)
from ipa_seldon.specs.seldon_attach import attached
from ipa_seldon.specs.seldon_operator import problems

if TYPE_CHECKING:
    from ipa_seldon.cluster.api import Cluster
    from ipa_seldon.gateway.process import GatewayProcess, Order
    from ipa_seldon.platforms.local import LocalPlatform
    from ipa_seldon.platforms.seldon.options import Load
    from ipa_seldon.platforms.seldon.platform import SeldonPlatform


def build_solver(name: str) -> Solver:
    """The solver of that name."""
    solver: Solver = plugins.load("solver", name, SOLVERS)()
    return solver


def algorithm_settings(config: Config, solver: str | None = None) -> Settings:
    """What the config's algorithm is built with; ``solver`` overrides the config's choice."""
    spec = config.spec
    return Settings(
        solver=build_solver(solver or spec.solver),
        measure=spec.objective.accuracy,
        weights=Weights(spec.objective.alpha, spec.objective.beta, spec.objective.delta, spec.objective.switching),
        variable_cores=spec.allocation == "variable",
        queueing=spec.queueing,
        baselines=Baselines(**dict(spec.baselines)),
        constraint=_constraint(spec.objective),
        sets=SetSettings(**dict(spec.infadapter)),
        quantum=spec.sets.quantum,
        sponge=SpongeSettings(**dict(spec.sponge), interval=spec.interval),
    )


def _constraint(objective: ObjectiveSpec) -> CostAtMost | AccuracyAtLeast | None:
    if objective.cost_at_most is not None:
        return CostAtMost(float(objective.cost_at_most))
    if objective.accuracy_at_least is not None:
        return AccuracyAtLeast(objective.accuracy_at_least)
    return None


def build_algorithm(config: Config, algorithm: str | None = None, solver: str | None = None) -> Algorithm:
    """The config's algorithm with its damping; ``algorithm`` and ``solver`` override the config's choice."""
    spec = config.spec
    name = algorithm or spec.algorithm
    built = _undamped(config, name, algorithm_settings(config, solver))
    if name in UNDAMPED:
        return built
    if spec.damping.stabilization or spec.damping.tolerance:
        built = Stabilised(built, spec.damping.stabilization, spec.damping.tolerance)
    if spec.damping.gain:
        built = MinimumGain(built, spec.damping.gain)
    if spec.damping.cooldown:
        built = CoolDown(built, spec.damping.cooldown)
    return built


def build_trade(config: Config, algorithm: str | None = None, solver: str | None = None) -> Ipa:
    """The config's algorithm as it trades accuracy for cost, without constraint and damping; ConfigError when it has no
    frontier.
    """
    name = algorithm or config.spec.algorithm
    built = _undamped(config, name, replace(algorithm_settings(config, solver), constraint=None))
    if not isinstance(built, Ipa):
        raise ConfigError(
            f"{config.path}: algorithm {name!r} has no frontier; accepted: ipa, ipa-sets, or a restriction of ipa"
        )
    return built


def latency_fit(algorithm: Algorithm) -> Fit | None:
    """The latency model that an algorithm decides by; None where it has none."""
    return algorithm.fit if isinstance(algorithm, Sponge) else None


def _undamped(config: Config, name: str, settings: Settings) -> Algorithm:
    factory = plugins.load("algorithm", name, ALGORITHMS)
    if name not in BY_CAPACITY:
        config.need_profile()
    try:
        built: Algorithm = factory(config.pipeline, settings)
    except ConfigError as error:
        raise ConfigError(f"{config.path}: {error}") from error
    return built


def build_forecaster(config: Config) -> Forecaster:
    """The config's forecaster, with its quantile."""
    return wrapped_forecaster(forecast_settings(config))


def forecast_settings(config: Config) -> ForecastSettings:
    """What the config says of forecasts."""
    spec = config.spec.forecaster
    return ForecastSettings(
        name=spec.name,
        window=spec.window,
        aggregate=spec.aggregate,
        horizon=spec.horizon,
        resolution=spec.resolution,
        quantile=None if spec.quantile == "none" else spec.quantile,
        margin=spec.margin,
        order=spec.order,
    )


def build_fallback(config: Config, algorithm: str | None = None, solver: str | None = None) -> Fallback:
    """What the config does without a load; ``algorithm`` and ``solver`` override the config's choice."""
    spec = config.spec.fallback
    stale_after = spec.stale_intervals * config.spec.interval
    settings = FallbackSettings(spec.behavior, spec.failure_threshold, stale_after)
    if spec.rate is None:
        return Fallback(settings)
    floor = _undamped(config, algorithm or config.spec.algorithm, algorithm_settings(config, solver))
    return Fallback(settings, floor, spec.rate)


def replay_decisions(config: Config, algorithm: str, decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """Decide again from the logged observations; every difference in rate, what the forecaster says of it, plan, or
    what was made of the load, as JSON types; empty when none.
    """
    forecaster, decider = build_forecaster(config), build_algorithm(config, algorithm)
    fallback = build_fallback(config, algorithm)
    differences = []
    for tick, decision in enumerate(decisions):
        seen = decision.observation
        if decision.outcome is Outcome.FAILED and not seen.arrivals and seen.fault is None:
            continue  # nothing was observed, so nothing was thought
        try:
            thought = think(forecaster, decider, seen, fallback)
        except IpaSeldonError:
            thought = Thought(fallback.health)
        again = _as_json(thought)
        for what, one in _as_json(decision).items():
            if one != again[what]:
                differences.append({"tick": tick, "what": what, "logged": one, "replayed": again[what]})
    return differences


def _as_json(thought: Decision | Thought) -> dict[str, Any]:
    """What must come out of a log again."""
    return {
        "rate": thought.rate,
        "forecast_why": dict(thought.forecast_why),
        "plan": plan_to_json(thought.proposal.plan) if thought.proposal else None,
        "load": asdict(thought.load),
    }


def first_plan(algorithm: Algorithm) -> Plan:
    """What runs before any load was measured: the plan for none."""
    return algorithm.decide(0.0, Observation(time=0.0, arrivals=(), plan={})).plan


def history_seconds(config: Config) -> int:
    """Seconds of arrivals that the loop looks back on: a forecast is judged once its horizon is over, so the history
    reaches over window and horizon, and means at its start over a resolution before that.
    """
    forecaster = config.spec.forecaster
    return int(forecaster.window + forecaster.horizon + forecaster.resolution + config.spec.interval)


@dataclass(frozen=True)
class LocalServing:
    """A pipeline that is served on this machine: ``gateway`` in front of the Triton that ``platform`` owns."""

    platform: LocalPlatform
    gateway: GatewayProcess


def repository_of(config: Config) -> Path:
    """The config's Triton model repository; ConfigError when the file names none."""
    if config.repository is None:
        raise ConfigError(f"{config.path}: spec.repository: missing; accepted: a Triton model repository")
    return config.repository


def local_repository(config: Config) -> Path:
    """The same for a Triton on this machine; ConfigError when a variant runs on GPUs, too."""
    for stage, variant in config.pipeline.on_gpus:
        raise ConfigError(
            f"{config.path}: spec.stages.{stage.name}.variants.{variant.name}.device: 'gpu': accepted: cpu, for a "
            "Triton on this machine; plan, simulate and render take both"
        )
    return repository_of(config)


def seldon_spec(config: Config) -> SeldonSpec:
    """The config's part for Seldon Core; ConfigError where there is none."""
    if config.spec.seldon is None:
        raise ConfigError(f"{config.path}: spec.seldon: missing; accepted: at least model_uri")
    return config.spec.seldon


def build_seldon_algorithm(config: Config, algorithm: str | None = None, solver: str | None = None) -> Algorithm:
    """As ``build_algorithm``; ConfigError where it plans sets of variants that Seldon Core would not run: it shares
    requests among whole predictors.
    """
    name, predictor = algorithm or config.spec.algorithm, seldon_spec(config).predictor
    if name in WITH_SETS and predictor is not None:
        if len(config.pipeline.stages) > 1:
            raise ConfigError(
                f"{config.path}: spec.algorithm: {name!r}: accepted under Seldon Core: for a pipeline of one stage, or "
                "ipa; the local platform and the simulator run sets of variants in every stage"
            )
        raise ConfigError(
            f"{config.path}: spec.seldon.predictor: {predictor!r}: accepted with algorithm {name!r}: null, "
            "a predictor for each variant"
        )
    return build_algorithm(config, algorithm, solver)


def seldon_documents(config: Config, plan: Plan) -> list[dict[str, Any]]:
    """The Kubernetes documents that serve ``plan``; ConfigError when the file does not say how, or Seldon Core would
    not run it as it is meant.
    """
    with _named(config):
        deployment = seldon_deployment(config.pipeline, plan, _seldon_settings(config))
    for problem in problems(deployment):
        raise ConfigError(f"{config.path}: Seldon Core would not run this pipeline: {problem}")
    return [*seldon_config_maps(config, plan), deployment]


def attached_graph(config: Config, plan: Plan, graph: dict[str, Any]) -> dict[str, Any]:
    """The SeldonDeployment ``graph`` as one that serves ``plan`` and can be adapted; ConfigError when it cannot."""
    with _named(config):
        return attached(graph, config.pipeline, plan, _seldon_settings(config))


def seldon_config_maps(config: Config, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ConfigMap that pods' sidecars follow, and the one by which an adapter knows the pipeline."""
    with _named(config):
        predictor = seldon_spec(config).predictor
        return plan_config_map(config.pipeline, plan, predictor), _pipeline_config_map(config)


def _seldon_settings(config: Config) -> SeldonSettings:
    spec = seldon_spec(config)
    return SeldonSettings(**{field.name: getattr(spec, field.name) for field in fields(SeldonSettings)})


@contextmanager
def _named(config: Config) -> Iterator[None]:
    """Faults of what is made of a file name it."""
    try:
        yield
    except PlatformError as error:
        raise ConfigError(f"{config.path}: {error}") from error


def _pipeline_config_map(config: Config) -> dict[str, Any]:
    """The file as the operator wrote it, on tables that lie beside it."""
    document = config.document.model_dump(mode="json", by_alias=True, exclude_unset=True)
    spec, tables = document["spec"], {}
    for key, name in (("profile", PROFILE_FILE), ("capacity", CAPACITY_FILE)):
        if spec.get(key):
            tables[name] = (config.path.parent / spec[key]).read_text(encoding="utf-8")
            spec[key] = name
    spec.pop("repository", None)
    return pipeline_config_map(config.name, yaml.safe_dump(document, sort_keys=False), tables)


def time_shared(config: Config) -> tuple[Config, str]:
    """The config as it holds where the budget of cores exceeds this machine's, and that in words (empty: it does not).

    Profile and capacities promise every core in full. Where a full budget must share fewer cores, each is promised its
    part.
    """
    budget, cores = config.budget, os.cpu_count() or 1
    if budget is None or budget <= cores:
        return config, ""
    words = f"a budget of {budget} shares {cores} cores; what was measured is scaled by {budget / cores:.2f}"
    return slowed_config(config, budget / cores), words


@contextmanager
def serve_locally(
    config: Config, plan: Plan, port: int = 0, log_directory: Path | None = None, order: Order = "edf"
) -> Iterator[LocalServing]:
    """Serve ``plan`` until the context ends; ``port`` is the gateway's, 0 takes a free one; its queues go by
    ``order``.

    Triton's log goes to ``log_directory`` where given. ConfigError as by ``local_repository``.
    """
    from ipa_seldon.gateway.process import GatewayProcess

    repository = local_repository(config)
    seconds = history_seconds(config)

    def arrivals(now: float) -> list[float]:
        return gateway.arrivals(now, seconds)

    local = plugins.load("platform", "local", PLATFORMS)
    # Without a quota a process is bounded by its threads alone, which serves plans whose cores hardly change.
    quota = best_quota() if config.pipeline.by_deadline else None
    platform: LocalPlatform = local(config.pipeline, repository, arrivals, quota=quota, work_directory=log_directory)
    with platform:
        platform.start(plan)
        gateway = GatewayProcess(config.path, platform.server.http_url, port, order)
        with gateway:
            platform.connect(gateway)
            yield LocalServing(platform, gateway)


def build_controller(
    config: Config,
    platform: Platform,
    algorithm: Algorithm,
    listeners: Sequence[Listener],
    solver: str | None = None,
) -> Controller:
    """The config's loop over ``platform``; ``solver`` overrides the config's choice for its fallback."""
    fallback = build_fallback(config, solver=solver)
    return Controller(platform, build_forecaster(config), algorithm, listeners, perf_counter, fallback)


def seldon_platform(config: Config, cluster: Cluster, load: Load, say: Callable[[str], None]) -> SeldonPlatform:
    """The platform of the config's SeldonDeployment; ConfigError when the file has no part for Seldon Core."""
    from ipa_seldon.platforms.seldon.options import SeldonOptions

    spec = seldon_spec(config)
    options = SeldonOptions(
        graph=config.name,
        predictor=spec.predictor,
        acts=spec.mode == "active",
        edits=spec.edits,
        patience=spec.patience,
        resize_patience=spec.resize_patience,
        resize_fallback=spec.resize_fallback,
        probation=spec.probation,
        tolerance=spec.tolerance,
        gpu_resource=spec.gpu_resource,
    )
    platform = plugins.load("platform", "seldon", PLATFORMS)
    made: SeldonPlatform = platform(cluster, config.pipeline, options, load, say)
    return made
