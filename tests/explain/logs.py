"""Logs to be explained: of simulated runs, and of decisions for given forecasts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ipa_seldon.bootstrap import build_algorithm
from ipa_seldon.config import Config, read_config, with_algorithm
from ipa_seldon.experiments.simulate import Scenario, simulate
from ipa_seldon.plan import Allocation, Decision, Observation, Outcome, Plan, same_plan
from ipa_seldon.simulation.workload import pattern_rates
from ipa_seldon.telemetry.audit import AuditLog, Log, read_log

PIPELINES = Path(__file__).parents[2] / "manifests" / "pipelines"

ONE_EACH: Plan = {"crop": (Allocation("yolov5n", 1, 1, 1),), "classification": (Allocation("resnet18", 1, 1, 1),)}


def published(pipeline: str, algorithm: str | None = None) -> Config:
    """A pipeline that comes with the project."""
    config = read_config(PIPELINES / pipeline / "pipeline.yaml")
    return with_algorithm(config, algorithm) if algorithm else config


def simulated(path: Path, config: Config, peak: float, seconds: int = 90) -> Log:
    """The log at ``path`` of a bursty load of up to ``peak`` requests/s on the simulator, read again."""
    run = simulate(Scenario(config, pattern_rates("bursty", seconds, peak, seed=9), seed=1))
    return written(path, config, run.decisions)


def written(path: Path, config: Config, decisions: tuple[Decision, ...]) -> Log:
    """A log of those decisions at ``path``, read again."""
    with AuditLog(path, config) as log:
        for decision in decisions:
            log(decision)
    return read_log(path)


def decided(made: Config, *rates: float, running: Plan = ONE_EACH, **fields: Any) -> Log:
    """A log of decisions for those forecasts, ten seconds apart, each with what the one before it left running."""
    algorithm, decisions = build_algorithm(made), []
    for k, rate in enumerate(rates):
        observation = Observation(10.0 * (k + 1), (rate,) * 40, running, **fields)
        proposal = algorithm.decide(rate, observation)
        same = same_plan(proposal.plan, running)
        outcome = Outcome.HELD if proposal.held else Outcome.UNCHANGED if same else Outcome.APPLIED
        decisions.append(Decision(observation, outcome, rate, proposal))
        running = proposal.plan
    return Log(made, made.spec.algorithm, tuple(decisions), tuple(range(len(decisions))))
