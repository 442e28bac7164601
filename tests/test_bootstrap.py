"""From a config to the parts of the loop."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ipa_seldon.bootstrap import (
    build_algorithm,
    build_seldon_algorithm,
    build_trade,
    first_plan,
    repository_of,
    time_shared,
)
from ipa_seldon.config import read_config
from ipa_seldon.errors import ConfigError, PluginError
from ipa_seldon.plan import Allocation, Observation, allocated_cores
from tests.test_config import PROFILE, changed, document, document_of_a_service, document_of_a_set, write


def test_a_budget_beyond_the_machine_shares_its_cores(tmp_path: Path) -> None:
    """Twice the machine's cores: every time doubles, every throughput and capacity halves; within the machine nothing
    changes.
    """
    cores = os.cpu_count() or 1
    config = read_config(write(tmp_path, changed("spec.limits.cores", 2 * cores)))
    shared, words = time_shared(config)
    before, after = config.pipeline.stages[0].variants[0], shared.pipeline.stages[0].variants[0]
    assert after.latency(1, 1) == pytest.approx(2 * before.latency(1, 1))
    assert after.throughput(1, 1) == pytest.approx(before.throughput(1, 1) / 2)
    assert str(cores) in words
    content = document_of_a_set()
    content["spec"]["limits"]["cores"] = 2 * cores
    capacities = read_config(write(tmp_path, content))
    shared, _ = time_shared(capacities)
    before, after = capacities.pipeline.stages[0].variants[0], shared.pipeline.stages[0].variants[0]
    assert before.capacity is not None
    assert after.capacity is not None
    assert [after.capacity(n) for n in (4, 5)] == pytest.approx([before.capacity(n) / 2 for n in (4, 5)])
    assert after.load_time == before.load_time
    unlimited = read_config(write(tmp_path, document()))
    assert time_shared(unlimited) == (unlimited, "")


def test_the_first_plan_needs_no_load(tmp_path: Path) -> None:
    """Before any request was measured one replica of every stage runs."""
    config = read_config(write(tmp_path, document()))
    plan = first_plan(build_algorithm(config))
    assert set(plan) == {"crop", "classification"}
    assert allocated_cores(plan) == 2


def test_an_algorithm_from_outside_the_package(tmp_path: Path) -> None:
    """``module:attribute`` works wherever a name does; what cannot be loaded is named with what is accepted."""
    config = read_config(write(tmp_path, changed("spec.algorithm", "ipa_seldon.algorithms.baselines:fa2_low")))
    assert first_plan(build_algorithm(config))["crop"][0].variant == "yolov5n"
    with pytest.raises(PluginError, match="accepted: ipa, fa2-low, fa2-high"):
        build_algorithm(config, "magic")
    with pytest.raises(PluginError, match="no_such_package"):
        build_algorithm(config, "no_such_package:thing")


def test_damping_leaves_alone_what_holds_still_by_itself(tmp_path: Path) -> None:
    """A gain that no switch reaches holds IPA, but not an autoscaler, whose rules are its own: 2 replicas of 15.1
    requests/s at 29 are beyond 80 % of their throughput.
    """
    config = read_config(write(tmp_path, changed("spec.damping", {"gain": 1000})))
    two = {"crop": (Allocation("yolov5n", 2, 1, 1),), "classification": (Allocation("resnet18", 2, 1, 1),)}
    running = Observation(10.0, (29.0,), two)
    assert build_algorithm(config, "ipa").decide(25.0, running).held
    scaled = build_algorithm(config, "hpa").decide(29.0, running)
    assert not scaled.held
    assert scaled.plan["crop"][0].replicas == 3


@pytest.mark.parametrize("algorithm", ["ipa", "fa2-low", "rim", "static", "hpa", "ipa-sets"])
def test_a_budget_below_the_fewest_replicas_is_refused(tmp_path: Path, algorithm: str) -> None:
    """Base allocations may need more cores than the profile's least: one line with file, key and the least budget."""
    profile = PROFILE + "".join(f"1,crop,{v},30,2,0.05,\n1,crop,{v},50,4,0.03,\n" for v in ("yolov5n", "yolov5s"))
    content = changed("spec.limits.cores", 4)
    content["spec"]["stages"]["crop"]["threshold"] = 40
    config = read_config(write(tmp_path, content, profile))
    with pytest.raises(ConfigError, match=r"pipeline\.yaml: spec\.limits\.cores: 4: accepted: at least 5"):
        build_algorithm(config, algorithm)


def test_a_cost_below_the_fewest_replicas_is_refused(tmp_path: Path) -> None:
    """As a budget is: one line with file, key, value and the least that is accepted."""
    content = changed("spec.objective", {"maximise": "accuracy", "cost_at_most": 1})
    with pytest.raises(ConfigError, match=r"pipeline\.yaml: spec\.objective\.cost_at_most: 1: accepted: at least 2"):
        build_algorithm(read_config(write(tmp_path, content)))


def test_what_an_algorithm_lacks_is_named(tmp_path: Path) -> None:
    """Capacities make no profile, a profile no capacities, and several stages no set: one line names the key."""
    config = read_config(write(tmp_path, document_of_a_set()))
    assert first_plan(build_algorithm(config)) == {"classification": (Allocation("heavy", 1, 1, 1),)}
    for algorithm in ("ipa", "fa2-low", "hpa"):
        with pytest.raises(ConfigError, match=r"pipeline\.yaml: spec\.profile: missing"):
            build_algorithm(config, algorithm)
    with pytest.raises(
        ConfigError, match=r"pipeline\.yaml: spec\.graph: crop, classification: accepted: one stage, for this algorithm"
    ):
        build_algorithm(read_config(write(tmp_path, document())), "infadapter")
    content = document_of_a_set()
    del content["spec"]["capacity"]
    with pytest.raises(ConfigError, match=r"pipeline\.yaml: spec\.profile: missing"):
        read_config(write(tmp_path, content))
    profile = PROFILE + "1,classification,heavy,9,1,0.1,\n1,classification,light,19,1,0.05,\n"
    content["spec"]["profile"] = "video.csv"
    with pytest.raises(ConfigError, match=r"pipeline\.yaml: spec\.capacity: missing for variant heavy"):
        build_algorithm(read_config(write(tmp_path, content, profile)))


def test_sponge_answers_a_queue_in_spite_of_damping(tmp_path: Path) -> None:
    """What holds a plan knows of no queue, so that no configured damping wraps Sponge."""
    content = document_of_a_service()
    content["spec"]["damping"] = {"gain": 1000, "cooldown": 600, "stabilization": 600}
    algorithm = build_algorithm(read_config(write(tmp_path, content)))
    running = {"yolo": (Allocation("yolov5s", 1, 2, 1),)}
    calm, queued = (
        algorithm.decide(5.0, Observation(t, (5.0,), running, remaining))
        for t, remaining in ((1.0, ()), (2.0, (0.3,) * 6))
    )
    assert not queued.held
    assert queued.cost > calm.cost


def test_a_profile_that_no_model_fits_is_refused(tmp_path: Path) -> None:
    """One line with file, variant and what is accepted."""
    content = document_of_a_service()
    content["spec"]["profile"] = "video.csv"
    profile = "stage,variant,cores,batch,latency,throughput\nyolo,yolov5s,1,1,0.1,10\n"
    config = read_config(write(tmp_path, content, profile))
    line = r"pipeline\.yaml: spec\.profile: variant yolov5s: too few points to fit l\(b, c\); accepted: at least 2"
    with pytest.raises(ConfigError, match=line):
        build_algorithm(config)


def test_a_budget_below_one_pod_is_refused(tmp_path: Path) -> None:
    """The limit of cores holds for a set, too; so does that some variant must take some load."""
    content = document_of_a_set()
    content["spec"]["infadapter"] = {"min_cores": 4}
    content["spec"]["limits"]["cores"] = 3
    with pytest.raises(ConfigError, match=r"spec\.limits\.cores: 3: accepted: at least 4, infadapter\.min_cores"):
        build_algorithm(read_config(write(tmp_path, content)))
    nothing = "variant,cores,slo,capacity,load_time\nheavy,4,0.75,0,1\nlight,4,0.75,0,1\n"
    content["spec"]["limits"]["cores"] = 8
    with pytest.raises(ConfigError, match=r"spec\.capacity: no variant takes any load on 4 to 8 cores"):
        build_algorithm(read_config(write(tmp_path, content, capacity=nothing)))


@pytest.mark.parametrize("algorithm", ["infadapter", "ipa-sets"])
def test_seldon_core_runs_sets_in_predictors_of_one_stage(tmp_path: Path, algorithm: str) -> None:
    """Sets of several stages, or in one predictor, are refused in a line that says where else; one variant is not."""
    content = document()
    content["spec"] |= {"algorithm": algorithm, "seldon": {"model_uri": "gs://bucket/video"}}
    several = read_config(write(tmp_path, content))
    line = rf"pipeline\.yaml: spec\.algorithm: '{algorithm}': accepted under Seldon Core: for a pipeline of one stage"
    with pytest.raises(ConfigError, match=line):
        build_seldon_algorithm(several)
    assert first_plan(build_seldon_algorithm(several, "ipa"))
    one = document_of_a_set()
    one["spec"] |= {"algorithm": algorithm, "profile": "video.csv", "seldon": content["spec"]["seldon"]}
    profile = PROFILE + "1,classification,heavy,9,1,0.1,\n1,classification,light,19,1,0.05,\n"
    line = rf"spec\.seldon\.predictor: 'default': accepted with algorithm '{algorithm}': null"
    with pytest.raises(ConfigError, match=line):
        build_seldon_algorithm(read_config(write(tmp_path, one, profile)))
    one["spec"]["seldon"]["predictor"] = None
    assert first_plan(build_seldon_algorithm(read_config(write(tmp_path, one, profile))))


def test_a_trade_has_neither_constraint_nor_damping(tmp_path: Path) -> None:
    """A frontier shows what the constraint leaves out; an algorithm without one is refused."""
    content = changed("spec.objective", {"maximise": "accuracy", "cost_at_most": 2})
    content["spec"]["damping"] = {"gain": 1}
    config = read_config(write(tmp_path, content))
    costs = [point.proposal.cost for point in build_trade(config).frontier(20.0)]
    assert costs[-1] > 2
    with pytest.raises(ConfigError, match=r"has no frontier; accepted: ipa"):
        build_trade(config, "hpa")


def test_without_a_repository_nothing_can_be_served(tmp_path: Path) -> None:
    """The error names the file and the key."""
    config = read_config(write(tmp_path, document()))
    with pytest.raises(ConfigError, match=r"pipeline\.yaml: spec\.repository"):
        repository_of(config)
