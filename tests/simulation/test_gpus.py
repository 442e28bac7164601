"""Replicas that need GPUs wait for them, and never hold more than there are."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Allocation, Plan, allocated_gpus, cost_of, within_limits
from ipa_seldon.simulation.physics import Physics
from ipa_seldon.simulation.pipeline import SimulatedPipeline
from tests.simulation.stages import pipeline, simulated, variant

LOAD_TIME = 3.0
GPU_CORES = 2.5


def quick(name: str, seconds: float, gpus: int = 1) -> Variant:
    """A variant on GPUs."""
    return replace(variant(name, seconds, 0.9, LOAD_TIME), gpus=gpus)


def two_stages(gpus: int | None) -> Pipeline:
    """Both stages have a slow variant without GPUs, and two quick ones on one each."""
    variants = (variant("slow", 4.0, 0.5, LOAD_TIME), quick("quick", 1.0), quick("other", 2.0))
    made = pipeline([Stage("a", variants), Stage("b", variants)], [("a", "b")])
    return replace(made, gpus=gpus, gpu_cores=GPU_CORES)


def runs(name: str, replicas: int = 1) -> tuple[Allocation]:
    """What a stage runs."""
    return (Allocation(name, replicas, 1, 1, gpus=0 if name == "slow" else 1),)


def held(made: SimulatedPipeline) -> list[tuple[float, float]]:
    """When the GPUs that are held change, and to how many."""
    moments, gpus = made.held_gpus()
    changes = zip(moments.tolist(), gpus.tolist(), strict=True)
    kept = [(0.0, 0.0)]
    kept += [(moment, count) for moment, count in changes]
    return [change for before, change in pairwise(kept) if before[1] != change[1]]


def test_a_replica_waits_for_the_gpu_of_another_stage() -> None:
    """It starts when that one has gone, which ends its batch first; meanwhile what ran serves, and no cores are held
    for what waits. The cost counts every GPU as its cores.
    """
    made = simulated(two_stages(1), [6.5])
    made.apply({"a": runs("quick"), "b": runs("slow")})
    made.advance(5.0)
    made.apply({"a": runs("slow"), "b": runs("quick")})
    made.advance(30.0)
    # The slow replica of a is ready at 8.0; the quick one of b starts then, as the other is idle by 7.5.
    assert held(made) == [(0.0, 1.0)]
    assert {name: stage.ready for name, stage in made.stages.items()} == {"a": 1, "b": 1}
    moments, cost = made.allocated()
    at = dict(zip(moments.tolist(), cost.tolist(), strict=True))
    assert at[0.0] == 2 + GPU_CORES
    assert at[5.0] == 3 + GPU_CORES  # the one of b waits
    assert max(moments) == 11.5  # b's slow one has ended what came at 7.5
    assert at[11.5] == 2 + GPU_CORES
    assert made.answers().finished.tolist() == [11.5]


def test_another_model_on_the_same_gpus_needs_no_others() -> None:
    """A server loads it beside the one that it serves; more replicas wait for more GPUs, fewer give theirs back."""
    made = simulated(two_stages(2), [])
    made.apply({"a": runs("quick"), "b": runs("quick")})
    made.advance(5.0)
    made.apply({"a": runs("other", 2), "b": runs("quick")})
    made.advance(20.0)
    assert made.stages["a"].starts  # one of its replicas has no GPU
    made.apply({"a": runs("other", 2), "b": runs("slow")})
    made.advance(40.0)
    assert not made.stages["a"].starts
    made.apply({"a": runs("quick"), "b": runs("slow")})
    made.advance(60.0)
    assert held(made)[-1] == (43.0, 1.0)
    assert max(count for _, count in held(made)) == 2


@pytest.mark.parametrize("seed", range(40))
def test_no_more_gpus_are_held_than_there_are(seed: int) -> None:
    """Whatever plans within the limit follow each other, also midway: never more than there are, every last plan is
    reached, and then holds and costs what it says.
    """
    rng = np.random.default_rng(seed)
    made = two_stages(int(rng.integers(1, 5)))

    def some() -> Plan:
        names = [variant.name for variant in made.stages[0].variants]
        plan = {s: runs(str(rng.choice(names)), int(rng.integers(1, 4))) for s in ("a", "b")}
        return plan if within_limits(made, plan) else some()

    simulation = simulated(made, np.sort(rng.uniform(0, 200, 100)).tolist(), Physics(startup=1.0))
    plan = some()
    simulation.apply(plan)
    for moment in np.sort(rng.uniform(0, 200, 12)):
        simulation.advance(float(moment))
        plan = some()
        simulation.apply(plan)
    simulation.advance(400.0)
    simulation.finish()
    assert not any(stage.starts for stage in simulation.stages.values())
    moments, gpus = simulation.held_gpus()
    assert made.gpus is not None
    assert len(moments) == 0 or (gpus.min() >= 0 and gpus.max() <= made.gpus)
    assert (gpus[-1] if len(gpus) else 0) == allocated_gpus(plan)
    assert simulation.allocated()[1][-1] == pytest.approx(cost_of(made, plan))
