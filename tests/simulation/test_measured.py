"""Measured service times and overheads in a simulation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Allocation
from ipa_seldon.simulation.physics import Physics
from ipa_seldon.simulation.pipeline import Answers, Requests, SimulatedPipeline
from ipa_seldon.simulation.service import Service, measured_service

PROFILED = 3.0
"""Seconds of a batch by the profile."""


def answered(physics: Physics, arrivals: list[float], stages: str = "ab") -> Answers:
    """What becomes of requests to a chain of stages with one replica each, no batches."""
    only = Variant("v", 0.5, 1, (1,), lambda *_: PROFILED, lambda *_: 1 / PROFILED)
    edges = tuple(pairwise(stages))
    pipeline = Pipeline("chain", tuple(Stage(name, (only,)) for name in stages), edges, slo=1000.0)
    moments = np.array(arrivals)
    serving = SimulatedPipeline(pipeline, Requests(moments, np.full(len(moments), 1000.0)), physics, seed=0)
    serving.apply({name: (Allocation("v", 1, 1, 1),) for name in stages})
    serving.finish()
    return serving.answers()


def test_a_mean_for_every_size_and_factors_around_them() -> None:
    """By hand: sizes 1 and 3 were measured; 2 takes as much per request as lies between them, 4 as much as 3."""
    service = measured_service([(1, 1.0), (1, 3.0), (3, 3.0), (3, 3.0)], largest=4)
    assert service.means == pytest.approx([0.0, 2.0, 2 * 1.5, 3.0, 4 * 1.0])
    assert sorted(service.factors) == pytest.approx([0.5, 1.0, 1.0, 1.5])


def test_measured_service_times_take_the_place_of_the_profile() -> None:
    """At the stage and variant that was measured, and only there."""
    physics = Physics(services={("a", "v"): Service([0.0, 5.0], ())})
    assert answered(physics, [1.0]).finished.tolist() == [1.0 + 5.0 + PROFILED]


def test_overhead_delays_requests_and_occupies_nothing() -> None:
    """Every request takes it once per stage, while replicas finish as many requests as without it."""
    arrivals = [0.0, 0.5, 1.0, 50.0]
    without, with_it = (answered(Physics(overhead=seconds), arrivals).finished for seconds in (0.0, 0.25))
    assert without.tolist() == [6.0, 9.0, 12.0, 56.0]
    assert with_it.tolist() == [6.5, 9.5, 12.5, 56.5]


def test_overhead_holds_when_time_is_stepped() -> None:
    """A request that is on its way at the end of a step is not lost, nor early."""
    only = Variant("v", 0.5, 1, (1,), lambda *_: PROFILED, lambda *_: 1 / PROFILED)
    requests = Requests(np.array([0.9]), np.array([1000.0]))
    serving = SimulatedPipeline(
        Pipeline("one", (Stage("a", (only,)),), (), slo=1000.0), requests, Physics(overhead=0.5), 0
    )
    serving.apply({"a": (Allocation("v", 1, 1, 1),)})
    for second in (1.0, 1.2, 1.3, 2.0):
        serving.advance(second)
        assert not serving.idle
    serving.finish()
    assert serving.idle
    assert serving.answers().finished.tolist() == [0.9 + 0.5 + PROFILED]
