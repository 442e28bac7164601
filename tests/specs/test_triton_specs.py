"""Allocations and Triton model configurations translate both ways."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from ipa_seldon.deadlines import LEVELS, timeout
from ipa_seldon.errors import PlatformError
from ipa_seldon.pipeline import Variant
from ipa_seldon.plan import Allocation
from ipa_seldon.queueing import queue_delay
from ipa_seldon.specs.triton import allocation_of, model_configuration, queue_slo

VERSIONS = {1: "light", 2: "heavy", 7: "heaviest"}
BASE: dict[str, Any] = {
    "name": "detect",
    "backend": "python",
    "input": [{"name": "image", "data_type": "TYPE_STRING", "dims": ["1"]}],
    "output": [{"name": "lines", "data_type": "TYPE_STRING", "dims": ["4"]}],
    "parameters": {"weights": {"string_value": "somewhere"}},
    "dynamic_batching": {"priority_levels": "4", "default_priority_level": "2"},
}
versions = st.sampled_from(sorted(VERSIONS))
counts = st.integers(1, 1000)
allocations = st.builds(Allocation, st.just("light"), counts, counts, counts)


def variant(throughput: float) -> Variant:
    return Variant("light", 0.5, 1, (1, 2), lambda cores, batch: 0.1, lambda cores, batch: throughput)


def as_triton_reports(configuration: dict[str, Any]) -> dict[str, Any]:
    """Through JSON and Triton's own message type: unknown fields and wrong types raise."""
    message = ParseDict(json.loads(json.dumps(configuration)), model_config_pb2.ModelConfig())
    reported: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return reported


@settings(deadline=None)
@given(versions, allocations, st.floats(0, 10), st.none() | st.floats(0.001, 100))
def test_an_allocation_survives_the_round_trip(
    version: int, planned: Allocation, delay: float, slo: float | None
) -> None:
    """What is read back from Triton's report of a configuration is the allocation it was made from."""
    allocation = Allocation(VERSIONS[version], planned.replicas, planned.cores, planned.batch)
    reported = as_triton_reports(model_configuration(BASE, version, allocation, delay, slo))
    assert allocation_of(reported, VERSIONS) == allocation


def test_threads_are_also_said_in_the_words_of_tritons_onnx_runtime() -> None:
    """Where the repository has its parameter; elsewhere it is not added."""
    stated = BASE | {"parameters": {"intra_op_thread_count": {"string_value": "1"}}}
    threads = {"string_value": "3"}
    made = model_configuration(stated, 1, Allocation("light", replicas=1, cores=3, batch=1))
    assert made["parameters"] == {"intra_op_num_threads": threads, "intra_op_thread_count": threads}
    made = model_configuration(BASE, 1, Allocation("light", replicas=1, cores=3, batch=1))
    assert made["parameters"] == BASE["parameters"] | {"intra_op_num_threads": threads}


@pytest.mark.parametrize("base", [[], [{"kind": "KIND_CPU"}], [{"kind": "KIND_GPU", "gpus": [3], "profile": ["p"]}]])
@pytest.mark.parametrize("gpus", [0, 1, 2])
def test_the_variants_device_decides_on_the_kind_of_instances(base: list[Any], gpus: int) -> None:
    """Whatever the base has, which may be what another variant left: one on each GPU of the pod, or on processors; what
    else a group states stays. It is read back.
    """
    allocation = Allocation("light", 1, 2, 4, gpus=gpus)
    reported = as_triton_reports(model_configuration({**BASE, "instance_group": base}, 1, allocation))
    (group,) = reported["instance_group"]
    assert (group["kind"], group.get("gpus", [])) == ("KIND_GPU" if gpus else "KIND_CPU", list(range(gpus)))
    assert group.get("profile", []) == [name for one in base for name in one.get("profile", ())]
    assert allocation_of(reported, VERSIONS) == allocation


@settings(deadline=None)
@given(allocations)
def test_what_the_plan_does_not_decide_stays_as_the_repository_has_it(allocation: Allocation) -> None:
    """Inputs, outputs, back end, other parameters and priority levels are sent unchanged; the base is not touched."""
    before = json.dumps(BASE)
    made = model_configuration(BASE, 1, allocation)
    assert {key: made[key] for key in ("name", "backend", "input", "output")} == {
        key: BASE[key] for key in ("name", "backend", "input", "output")
    }
    assert made["parameters"]["weights"] == {"string_value": "somewhere"}
    assert made["dynamic_batching"]["priority_levels"] == "4"
    assert json.dumps(BASE) == before


def test_queue_timeouts_are_sent_only_with_deadlines() -> None:
    """They make Triton slow, so the repository's own are dropped."""
    base = {**BASE, "dynamic_batching": {"default_queue_policy": {"default_timeout_microseconds": "60000000"}}}
    assert "default_queue_policy" not in model_configuration(base, 1, Allocation("light", 1, 1, 4))["dynamic_batching"]


@settings(deadline=None)
@given(allocations, st.floats(0.001, 1000))
def test_deadlines_are_levels_and_a_timeout(allocation: Allocation, slo: float) -> None:
    """Whatever the base has: a request may shorten the timeout, and one that states no priority has the whole SLO. It
    is read back, and a plan without deadlines leaves nothing of it behind, but what the repository states.
    """
    made = model_configuration(BASE, 1, allocation, slo=slo)
    batching = made["dynamic_batching"]
    assert (batching["priority_levels"], batching["default_priority_level"]) == (LEVELS, LEVELS)
    assert batching["default_queue_policy"] == {
        "timeout_action": "REJECT",
        "default_timeout_microseconds": timeout(slo),
        "allow_timeout_override": True,
    }
    reported = as_triton_reports(made)
    assert queue_slo(reported) == pytest.approx(slo, abs=1e-6)
    after = as_triton_reports(model_configuration(reported, 1, allocation))
    assert after == as_triton_reports(model_configuration({**BASE, "dynamic_batching": {}}, 1, allocation))
    assert queue_slo(after) is None


@pytest.mark.parametrize("batching", [{}, {"priority_levels": str(LEVELS)}, {"default_queue_policy": {}}])
def test_a_queue_of_the_repositorys_own_is_not_by_deadline(batching: dict[str, Any]) -> None:
    """Levels alone or a policy alone are somebody else's."""
    assert queue_slo({"dynamic_batching": batching}) is None


@settings(deadline=None)
@given(allocations, st.floats(0.1, 1000), st.floats(0.01, 1))
def test_a_batch_never_waits_longer_than_the_plan_charged(
    allocation: Allocation, throughput: float, utilisation: float
) -> None:
    """At any load the stage can carry, the delay is at most (batch - 1) / load; a batch of one never waits."""
    load = utilisation * allocation.replicas * throughput
    delay = queue_delay(variant(throughput), allocation)
    assert 0 <= delay <= (allocation.batch - 1) / load * (1 + 1e-9)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({}, "serves 0 chosen versions"),
        ({"specific": {"versions": ["1", "2"]}}, "serves 2 chosen versions"),
        ({"specific": {"versions": ["3"]}}, "version 3, which is no variant; variants are: 1, 2, 7"),
    ],
)
def test_a_configuration_of_someone_else_is_named_in_one_line(policy: dict[str, Any], words: str) -> None:
    """A model that serves anything but one known variant is an error that says what it serves."""
    with pytest.raises(PlatformError, match=words):
        allocation_of({"name": "detect", "version_policy": policy}, VERSIONS)
