"""The simulator as a platform: what it observes, what it refuses, and that the loop runs on it unchanged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ipa_seldon.bootstrap import build_algorithm, build_controller, history_seconds, replay_decisions
from ipa_seldon.config import Config, read_config
from ipa_seldon.errors import PlatformError
from ipa_seldon.pipeline import Stage
from ipa_seldon.plan import Allocation, Outcome, Plan
from ipa_seldon.platforms.simulator import SimulatedPlatform
from ipa_seldon.simulation.physics import Physics
from ipa_seldon.simulation.pipeline import Requests
from ipa_seldon.simulation.workload import pattern_rates, poisson_arrivals
from ipa_seldon.telemetry.audit import AuditLog, read_audit_log
from tests.simulation.stages import by_capacity, one, pipeline, variant
from tests.test_config import changed, write

PLAN = {"s": one("light", 1)}


def platform(*arrivals: float, history: int = 5) -> SimulatedPlatform:
    """One stage, ``light`` or ``heavy``, that serves ``arrivals`` with an SLO of 10 s; of ``measured`` only a capacity
    is known, of ``nothing`` that it has none, and of ``few`` nothing beyond the cores that were profiled.
    """
    nothing = replace(by_capacity("nothing", 1.0), core_rate=0.0)
    few = replace(nothing, name="few", cores=(1, 2))
    variants = (variant("light", 1.0), variant("heavy", 4.0, load_time=3.0), by_capacity("measured", 1.0), nothing, few)
    made = pipeline([Stage("s", variants)], slo=10.0)
    moments = np.array(arrivals, dtype=float)
    return SimulatedPlatform(made, Requests(moments, np.full(len(moments), 10.0)), Physics(), 0, history)


def test_an_observation_counts_every_complete_second() -> None:
    """Second by second, the last ``history`` of them; silent seconds are 0, also after the last request."""
    served = platform(0.0, 0.5, 0.999, 1.0, 3.2)
    served.apply(PLAN)
    assert served.observe(0.5).arrivals == ()
    assert served.observe(2.5).arrivals == (3.0, 1.0)
    assert served.observe(4.0).arrivals == (3.0, 1.0, 0.0, 1.0)
    assert served.observe(6.0).arrivals == (1.0, 0.0, 1.0, 0.0, 0.0)
    assert served.observe(60.0).arrivals == (0.0,) * 5


def test_a_load_without_requests_is_observed_as_zeros() -> None:
    """No arrival at all is a load of zero, not a lack of data."""
    served = platform()
    served.apply(PLAN)
    assert served.observe(3.0).arrivals == (0.0, 0.0, 0.0)


def test_the_plan_is_read_back() -> None:
    """Empty at first, then what was applied, while it starts as well as when it serves."""
    served = platform(0.0)
    assert served.observe(0.0).plan == {}
    served.apply(PLAN)
    assert served.observe(1.0).plan == PLAN
    heavy = {"s": one("heavy", 2, cores=2, batch=4)}
    served.apply(heavy)
    assert served.observe(2.0).plan == heavy
    assert served.observe(20.0).plan == heavy


def test_a_set_is_read_back_and_serves() -> None:
    """Two variants that share, one of them known by its capacity alone; then one alone, and a set again."""
    served = platform(*(0.5 * k for k in range(40)))
    shared = {"s": (Allocation("light", 2, 1, 1, 0.75), Allocation("measured", 1, 7, 1, 0.25))}
    served.apply(shared)
    assert served.observe(1.0).plan == shared
    served.apply(PLAN)
    served.apply(shared)
    assert served.observe(30.0).plan == shared
    answers = served.simulated.answers()
    assert answers.answered.all()
    assert not answers.late.any()


def test_remaining_budgets_are_those_of_who_waits() -> None:
    """Three requests at 0 with 10 s each, one replica that takes 1 s: at 1.5 one waits, with 8.5 s left."""
    served = platform(0.0, 0.0, 0.0)
    served.apply(PLAN)
    assert served.observe(1.5).remaining_slo == (8.5,)


@pytest.mark.parametrize("by_deadline", [True, False])
def test_budgets_are_those_of_who_came_lately(by_deadline: bool) -> None:
    """Of the requests in the five seconds before, in order of arrival, the first moment included and the last not,
    whether or not anything is left; only where requests have deadlines of their own.
    """
    made = replace(pipeline([Stage("s", (variant("light", 1.0),))], slo=10.0), by_deadline=by_deadline)
    requests = Requests(np.array([0.0, 1.0, 1.5, 4.0, 6.5]), np.array([3.0, 9.0, 0.0, 7.0, -2.0]))
    served = SimulatedPlatform(made, requests, Physics(), 0, history=5)
    served.apply(PLAN)
    found = [served.observe(now).budgets for now in (0.0, 4.0, 6.0, 7.0, 60.0)]
    assert found == ([(), (3.0, 9.0, 0.0), (9.0, 0.0, 7.0), (7.0, -2.0), ()] if by_deadline else [()] * 5)


def test_replicas_are_ready_one_after_another() -> None:
    """Of a stage that starts replicas those of its plan that serve; of one that starts none nothing needs to be said;
    cores that grow in place serve meanwhile, those of another variant do not.
    """
    made = replace(
        pipeline([Stage("s", (variant("light", 1.0, load_time=3.0), variant("heavy", 4.0)))]), by_deadline=True
    )
    served = SimulatedPlatform(made, Requests(np.zeros(0), np.zeros(0)), Physics(startup=2.0), 0, history=5)
    served.apply({"s": one("light", 2)})
    assert served.observe(1.0).ready == {}
    served.apply({"s": one("light", 3, cores=2)})
    assert served.observe(1.0).ready == served.observe(5.9).ready == {"s": 2}
    assert served.observe(6.1).ready == {}
    served.apply({"s": one("heavy", 2)})
    assert served.observe(7.0).ready == {"s": 0}
    assert served.observe(8.5).ready == {}


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"other": one("light")}, "'other'"),
        ({"s": one("medium")}, "'medium'"),
        ({"s": one("few", cores=5)}, "5 cores; profiled: 1, 2"),
        ({"s": one("light", replicas=0)}, "0 replicas"),
        ({"s": one("light", batch=0)}, "batch 0"),
        ({"s": one("light") * 2}, "light, light: accepted: one or more variants, each once"),
        ({"s": ()}, "none: accepted: one or more variants"),
        ({"s": one("light") + one("heavy")}, "shares sum to 2; accepted: 1"),
        ({"s": (Allocation("light", 1, 1, 1, 0.4), Allocation("heavy", 1, 1, 1, 0.5))}, "shares sum to 0.9"),
        ({"s": (Allocation("light", 1, 1, 1, 1.5), Allocation("heavy", 1, 1, 1, -0.5))}, "share 1.5; accepted: 0 to 1"),
        ({"s": one("measured", cores=0)}, "1 replicas of 0 cores"),
        ({"s": one("measured", batch=2)}, "batch 2; accepted: 1 on cores without a profile"),
        ({"s": one("nothing", cores=2)}, "2 cores; profiled: none"),
    ],
)
def test_a_plan_of_something_else_is_refused(plan: Plan, said: str) -> None:
    """PlatformError that names the stage; what runs stays as it is."""
    served = platform()
    served.apply(PLAN)
    with pytest.raises(PlatformError, match="plan: stage") as refused:
        served.apply(plan)
    assert said in str(refused.value)
    assert served.observe(1.0).plan == PLAN


def run_of_the_loop(directory: Path, first: Plan | None) -> tuple[Config, Path, list[Outcome]]:
    """The loop with damping over four minutes of a bursty load, logged."""
    content = changed("spec.damping", {"stabilization": 30, "tolerance": 0.1, "cooldown": 20, "gain": 0.001})
    config = read_config(write(directory, content))
    arrivals = poisson_arrivals(pattern_rates("bursty", 240, 60.0, seed=3), seed=3)
    requests = Requests(arrivals, np.full(len(arrivals), config.pipeline.slo))
    served = SimulatedPlatform(config.pipeline, requests, Physics(startup=2.0), 3, history_seconds(config))
    if first is not None:
        served.apply(first)
    path = directory / "audit.jsonl"
    with AuditLog(path, config) as log:
        loop = build_controller(config, served, build_algorithm(config), [log])
        outcomes = [loop.step(10.0 * step).outcome for step in range(1, 25)]
    served.simulated.finish()
    assert np.all(served.simulated.answers().answered ^ served.simulated.answers().dropped)
    return config, path, outcomes


@pytest.mark.parametrize("sized", [True, False])
def test_the_loop_runs_on_it_and_its_log_replays(tmp_path: Path, sized: bool) -> None:
    """The controller as it is elsewhere switches plans here, with or without one that ran before; its audit log, read
    back from the file, decides the same again.
    """
    first = {"crop": (Allocation("yolov5n", 1, 1, 1),), "classification": (Allocation("resnet18", 1, 1, 1),)}
    _, path, outcomes = run_of_the_loop(tmp_path, first if sized else None)
    assert outcomes.count(Outcome.APPLIED) > 2
    assert Outcome.FAILED not in outcomes
    config, algorithm, decisions = read_audit_log(path)
    assert len(decisions) == 24
    assert bool(decisions[0].observation.plan) is sized
    assert replay_decisions(config, algorithm, decisions) == []
