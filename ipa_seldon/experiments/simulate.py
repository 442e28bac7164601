"""One simulated run: the controller, algorithm and forecaster of a pipeline file over a load, on the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.bootstrap import build_algorithm, build_controller, history_seconds
from ipa_seldon.config import Config, with_algorithm
from ipa_seldon.errors import ConfigError
from ipa_seldon.pipeline import Pipeline, Variant
from ipa_seldon.plan import Decision, Observation, Outcome, is_switch
from ipa_seldon.platforms.simulator import SimulatedPlatform
from ipa_seldon.simulation.network import Network
from ipa_seldon.simulation.physics import Physics
from ipa_seldon.simulation.pipeline import Answers, Requests
from ipa_seldon.simulation.workload import poisson_arrivals

Floats = NDArray[np.float64]
MOST_REQUESTS = 10_000_000
"""More in one run are taken for a mistake, before they fill the memory."""


@dataclass(frozen=True, eq=False)
class Scenario:
    """``config`` adapts to Poisson arrivals of ``rates`` (requests/s of each second); ``algorithm`` overrides its own.
    Requests pass the ``network`` first, where there is one. ``seed`` decides when they are sent, their sizes, and how
    they are served.
    """

    config: Config
    rates: Floats
    seed: int
    algorithm: str | None = None
    physics: Physics = field(default_factory=Physics)
    network: Network | None = None


@dataclass(frozen=True, eq=False)
class SimulatedRun:
    """What a scenario came to. ``allocated``: the seconds at which the cost of what is allocated changes, and the cost,
    in cores, from then on; ``gpus``: the same of the GPUs, None where no variant has any; ``duration``: length of the
    load (seconds); ``seconds``: what the simulation took; ``transfers``: seconds of each request on the network, None
    without one; ``quickest``: the seconds that a request takes at best.
    """

    decisions: tuple[Decision, ...]
    answers: Answers
    allocated: tuple[Floats, Floats]
    duration: float
    seconds: float
    transfers: Floats | None = None
    quickest: float = 0.0
    gpus: tuple[Floats, Floats] | None = None


def simulate(scenario: Scenario) -> SimulatedRun:
    """Run a scenario to its last answer, a step of the controller every interval of the config.

    The plan that runs at first is the one for the peak of the first interval: the pipeline was sized for the load that
    it meets. Deterministic, but for the seconds it takes. ConfigError for a load of more than MOST_REQUESTS, and for a
    file without a profile where the algorithm needs one.
    """
    begin = perf_counter()
    config = with_algorithm(scenario.config, scenario.algorithm) if scenario.algorithm else scenario.config
    spec = config.spec
    duration = float(len(scenario.rates))
    with np.errstate(over="ignore"):
        expected = float(scenario.rates.sum())
    if not expected <= MOST_REQUESTS:
        raise ConfigError(f"load: {expected:g} requests; accepted: up to {MOST_REQUESTS:,}")
    requests = _requests(scenario)
    platform = SimulatedPlatform(config.pipeline, requests, scenario.physics, scenario.seed, history_seconds(config))
    first = float(np.max(scenario.rates[: ceil(spec.interval)]))
    # Another algorithm than the loop's: what the loop decides must follow from what it observes, as in a replay.
    before = build_algorithm(config)
    platform.apply(before.decide(first, Observation(time=0.0, arrivals=(), plan={})).plan)
    decisions: list[Decision] = []
    controller = build_controller(config, platform, build_algorithm(config), [decisions.append])
    # Multiples of the interval, rather than sums, so that no error adds up.
    for step in range(1, int(duration / spec.interval + 1e-9) + 1):
        controller.step(step * spec.interval)
    platform.simulated.finish()
    answers, allocated = platform.simulated.answers(), platform.simulated.allocated()
    transfers = config.pipeline.slo - (answers.deadlines - answers.arrivals) if scenario.network else None
    seconds, at_best = perf_counter() - begin, quickest(config.pipeline)
    gpus = platform.simulated.held_gpus() if config.pipeline.on_gpus else None
    return SimulatedRun(tuple(decisions), answers, allocated, duration, seconds, transfers, at_best, gpus)


def quickest(pipeline: Pipeline) -> float:
    """Seconds that a request takes when it waits nowhere and is alone in every batch, on the quickest replicas that are
    known: the mean along the longest path, stages left out that it may pass by.
    """
    alone = {stage.name: min(map(_alone, stage.variants)) for stage in pipeline.stages if stage.rate >= 1}
    return max(sum(alone.get(stage, 0.0) for stage in path) for path in pipeline.paths)


def _alone(variant: Variant) -> float:
    rates = [variant.throughput(cores, 1) for cores in variant.cores] or [variant.core_rate]
    return 1 / max(rates)


def _requests(scenario: Scenario) -> Requests:
    """What comes to the server: requests as they were sent, with the whole SLO, or as a network brings them."""
    slo, seed = scenario.config.pipeline.slo, scenario.seed
    sent = poisson_arrivals(scenario.rates, seed)
    return scenario.network.requests(sent, slo, seed) if scenario.network else Requests(sent, np.full(len(sent), slo))


def figures(run: SimulatedRun) -> dict[str, Any]:
    """The figures of a run, as JSON types.

    ``violation_ratio``: late and dropped requests over all. ``accuracy``: mean over the answered of the product of
    their stages' accuracies. ``mean_cost``: in cores, over the load's length; ``mean_gpus``: the GPUs in it, where
    variants have any. ``latency`` in seconds, of the answered. ``switches``: decisions that replaced a running plan;
    ``degraded``, ``failed``: decisions that ended so. Where requests pass a network: the seconds they are on it, how
    many are ``lost`` on it, as it leaves less of their SLO than a request takes at best, and ``avoidable_ratio``: the
    violations of the others over the others.
    Figures without a request to rest on are None.
    """
    answers = run.answers
    count, late, dropped = len(answers.arrivals), int(answers.late.sum()), int(answers.dropped.sum())
    latencies = answers.latencies
    return {
        "requests": count,
        "completed": int(answers.answered.sum()) - late,
        "late": late,
        "dropped": dropped,
        "violation_ratio": (late + dropped) / count if count else 0.0,
        "accuracy": float(answers.accuracy[answers.answered].mean()) if len(latencies) else None,
        "mean_cost": mean_cost(run),
        **({} if run.gpus is None else {"mean_gpus": core_seconds(run.gpus, run.duration) / run.duration}),
        "latency": {f"p{p}": float(np.percentile(latencies, p)) if len(latencies) else None for p in (50, 95, 99)},
        "decisions": len(run.decisions),
        "switches": sum(map(is_switch, run.decisions)),
        "degraded": sum(decision.outcome is Outcome.DEGRADED for decision in run.decisions),
        "failed": sum(decision.outcome is Outcome.FAILED for decision in run.decisions),
        "seconds": run.seconds,
        **({} if run.transfers is None else _over_network(run, run.transfers)),
    }


def _over_network(run: SimulatedRun, transfers: Floats) -> dict[str, Any]:
    answers, known = run.answers, len(transfers) > 0
    lost = answers.deadlines - answers.arrivals < run.quickest
    violations = (answers.late | answers.dropped)[~lost]
    return {
        "avoidable_ratio": float(violations.mean()) if len(violations) else 0.0,
        "network": {
            "mean": float(transfers.mean()) if known else None,
            "max": float(transfers.max()) if known else None,
            "lost": int(lost.sum()),
        },
    }


def mean_cost(run: SimulatedRun) -> float:
    """What is allocated costs, in cores, weighted by time, from the start of the load to its end."""
    return core_seconds(run.allocated, run.duration) / run.duration


def core_seconds(allocated: tuple[Floats, Floats], duration: float) -> float:
    """What ``allocated`` (seconds at which the cores change, and the cores from then on) comes to by ``duration``."""
    moments, cores = allocated
    spans = np.diff(np.append(np.minimum(moments, duration), duration))
    return float((spans * cores).sum())


def repeated(scenario: Scenario, repeats: int) -> list[dict[str, Any]]:
    """The figures of ``repeats`` runs, with seeds from the scenario's on."""
    return [figures(simulate(replace(scenario, seed=scenario.seed + k))) for k in range(repeats)]


def flat(run: Mapping[str, Any]) -> dict[str, int | float | None]:
    """Figures with ``latency`` and ``network`` spread out: ``latency.p50`` and so on."""
    plain: dict[str, int | float | None] = {}
    for key, value in run.items():
        plain |= (
            {f"{key}.{part}": number for part, number in value.items()} if isinstance(value, dict) else {key: value}
        )
    return plain
