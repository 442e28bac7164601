"""The simulator against a real Triton: what it predicts for the very arrivals that were measured. Pure and seeded.

Service times and overheads are inputs of a simulation. Here they are measured while the load runs, since on a machine
with few cores the stages, the gateway and the load generator slow each other down. What ran in the even seconds
predicts the requests of the odd ones, and the other way round: nothing is predicted from itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.errors import ConfigError, PlatformError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.platforms.triton_trace import Execution
from ipa_seldon.queueing import LET_IN
from ipa_seldon.simulation.physics import Physics
from ipa_seldon.simulation.pipeline import Requests, SimulatedPipeline
from ipa_seldon.simulation.service import Services, measured_service

Floats = NDArray[np.float64]

PERCENTILES = (50, 99)
REPLICATIONS = 20
"""Simulated runs per measured one, so that the chance in them does not count."""
QUIET = 0.25
TOO_FEW = "too few batches to learn from; accepted: a longer or a higher load"


@dataclass(frozen=True, eq=False)
class Round:
    """A load that was measured. ``due`` (ascending) and the ``executions`` are in seconds since its start;
    ``latencies`` in seconds from when a request was due, NaN where it was not answered. The ids in the executions are
    the requests' places in these. ``others``: cores that other processes of the machine took meanwhile.
    """

    due: Floats
    latencies: Floats
    executions: Sequence[Execution]
    others: float


Measurement = Mapping[float, Sequence[tuple[Round, Round]]]
"""Rate (requests/s) -> pairs of rounds; those of a pair have the very same load, every pair has another one."""


@dataclass(frozen=True)
class Quantile:
    """A percentile of the latencies of a round, in seconds: the median over the rounds. ``noise``: by how much the two
    rounds of a pair differ, as a share of their mean: the median over the pairs.
    """

    measured: float
    predicted: float
    noise: float

    @property
    def error(self) -> float:
        """Of the prediction, as a share of what was measured."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True)
class Comparison:
    """One load, in the ``rounds`` that count. ``utilisation`` of the busiest stage's replicas; ``unanswered``: share of
    the requests that were dropped or failed; ``overhead``: seconds a request spent outside of stages; ``others``: cores
    that other processes of the machine took meanwhile.
    """

    rate: float
    rounds: int
    requests: int
    utilisation: float
    unanswered: float
    overhead: float
    others: float
    latency: dict[str, Quantile]


def lightest_plan(pipeline: Pipeline, batch: int) -> Plan:
    """One replica of every stage's lightest variant on its fewest cores, with batches of up to ``batch``.

    ConfigError for a pipeline whose stages do not follow one another: overheads add up along a chain.
    """
    if len(pipeline.paths) != 1:
        raise ConfigError(f"pipeline {pipeline.name!r}: has branches; accepted: stages that follow one another")
    lightest = {
        s.name: min(s.variants, key=lambda variant: variant.latency(variant.cores[0], 1)) for s in pipeline.stages
    }
    return {stage: (Allocation(variant.name, 1, variant.cores[0], batch),) for stage, variant in lightest.items()}


def compare(pipeline: Pipeline, plan: Plan, measurement: Measurement, seed: int) -> list[Comparison]:
    """Simulate every load that was measured and set the two side by side.

    Only ``quiet`` rounds count, but for the noise.
    """
    return [_comparison(pipeline, plan, rate, pairs, seed) for rate, pairs in measurement.items()]


def quiet(rounds: Sequence[Round]) -> list[Round]:
    """Those in which other processes took less than QUIET cores of the machine, or where that is not even half of the
    rounds, the half (rounded up) in which they took least.
    """
    undisturbed = sum(one.others < QUIET for one in rounds)
    return sorted(rounds, key=lambda one: one.others)[: max(undisturbed, (len(rounds) + 1) // 2)]


def predict(pipeline: Pipeline, plan: Plan, load: Round, seed: int) -> Floats:
    """Latencies (seconds) of the requests of ``load``, shape (REPLICATIONS, n); NaN where one is dropped.

    PlatformError where too little ran in the even or in the odd seconds.
    """
    requests = Requests(load.due, np.full(len(load.due), pipeline.slo))
    latencies = np.empty((REPLICATIONS, len(load.due)))
    for parity in (0, 1):
        wanted = load.due.astype(int) % 2 == parity
        overhead = overhead_of(plan, load, 1 - parity) / len(plan)
        physics = Physics(services=services_of(plan, load, 1 - parity), overhead=overhead)
        for k in range(REPLICATIONS):
            simulated = SimulatedPipeline(pipeline, requests, physics, seed + k)
            simulated.apply(plan)
            simulated.finish()
            answers = simulated.answers()
            latencies[k, wanted] = (answers.finished - answers.arrivals)[wanted]
    return latencies


def services_of(plan: Plan, load: Round, parity: int) -> Services:
    """The service times of the batches that began in the odd (``parity`` 1) or even (0) seconds of ``load``."""
    services = {}
    for stage, (allocation,) in plan.items():
        batches = [(e.size, e.seconds) for e in load.executions if e.stage == stage and int(e.began) % 2 == parity]
        if not batches:
            raise PlatformError(f"stage {stage!r}: {TOO_FEW}")
        services[stage, allocation.variant] = measured_service(batches, allocation.batch)
    return services


def overhead_of(plan: Plan, load: Round, parity: int) -> float:
    """Mean seconds that the requests of the odd or even seconds spent outside of stages: in the load generator, the
    gateway and the network, on the way there and back.

    Of those that the gateway never held back, for that is time in a stage's queue too: it lets in LET_IN batches per
    replica. ``plan`` has the stages in the order in which requests pass them.
    """
    outside, freely = load.latencies.copy(), load.due.astype(int) % 2 == parity
    came = load.due
    for stage, (allocation,) in plan.items():
        queued, ended = _visits(load, stage)
        # Itself and whoever came in the same batch included.
        present = np.searchsorted(np.sort(came), came, side="right") - np.searchsorted(np.sort(ended), came)
        freely &= present <= LET_IN * allocation.replicas * allocation.batch
        outside -= ended - queued
        came = ended
    known = outside[freely & np.isfinite(outside)]
    if not len(known):
        raise PlatformError(TOO_FEW)
    return float(known.mean())


def _visits(load: Round, stage: str) -> tuple[Floats, Floats]:
    """When every request came into Triton's queue of ``stage`` and left the stage; NaN where it never did."""
    queued, ended = np.full((2, len(load.due)), np.nan)
    for execution in load.executions:
        if execution.stage == stage:
            places = [int(place) for place in execution.ids]
            queued[places], ended[places] = execution.queued, execution.ended
    return queued, ended


def busy_seconds(load: Round) -> dict[str, float]:
    """Stage -> the seconds that its replicas worked during a load."""
    busy: dict[str, float] = {}
    for execution in load.executions:
        busy[execution.stage] = busy.get(execution.stage, 0.0) + execution.seconds
    return busy


def _comparison(
    pipeline: Pipeline, plan: Plan, rate: float, pairs: Sequence[tuple[Round, Round]], seed: int
) -> Comparison:
    rounds = quiet([one for pair in pairs for one in pair])
    predicted = [predict(pipeline, plan, one, seed) for one in rounds]
    latencies = np.concatenate([one.latencies for one in rounds])
    return Comparison(
        rate=rate,
        rounds=len(rounds),
        requests=len(latencies),
        utilisation=float(np.mean([_utilisation(plan, one) for one in rounds])),
        unanswered=float(np.isnan(latencies).mean()),
        overhead=float(np.mean([overhead_of(plan, one, parity) for one in rounds for parity in (0, 1)])),
        others=float(np.mean([one.others for one in rounds])),
        latency={
            f"p{p}": Quantile(
                measured=median(_percentile(one, p) for one in rounds),
                predicted=median(float(np.median(np.nanpercentile(runs, p, axis=1))) for runs in predicted),
                noise=median(_difference(_percentile(one, p), _percentile(other, p)) for one, other in pairs),
            )
            for p in PERCENTILES
        },
    )


def _utilisation(plan: Plan, load: Round) -> float:
    busy = busy_seconds(load)
    shares = [busy.get(stage, 0.0) / allocation.replicas for stage, (allocation,) in plan.items()]
    return max(shares) / float(np.nanmax(load.due + load.latencies))


def _percentile(load: Round, percentile: int) -> float:
    return float(np.nanpercentile(load.latencies, percentile))


def _difference(one: float, other: float) -> float:
    return 2 * abs(one - other) / (one + other)
