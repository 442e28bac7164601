"""What the adapter leaves for the sidecars of a pipeline comes back as it was meant."""

from __future__ import annotations

import json

import pytest

from ipa_seldon.errors import PlatformError
from ipa_seldon.plan import Allocation
from ipa_seldon.specs.desired import PodPlan, plan_document, pod_plan, pod_plans
from tests.factories import random_pipeline


def test_a_pod_reads_what_its_stage_is_to_run() -> None:
    """Every stage's variant, version, cores and batch, whatever the pipeline; a batch waits, a single request not."""
    for seed in range(20):
        pipeline = random_pipeline(seed)
        plan = {s.name: (Allocation(s.variants[-1].name, 3, 2, 4),) for s in pipeline.stages}
        single = {s.name: (Allocation(s.variants[0].name, 3, 1, 1),) for s in pipeline.stages}
        for stage in pipeline.stages:
            variant = stage.variants[-1]
            found = pod_plan(plan_document(pod_plans(pipeline, plan)), stage.name)
            # Three replicas together take a fourth request while three wait: throughput is that of one replica.
            delay = round(3 / (3 * variant.throughput(2, 4)), 6)
            assert found == PodPlan(variant.name, variant.version, 2, 4, delay)
            first = stage.variants[0]
            assert pod_plan(plan_document(pod_plans(pipeline, single)), stage.name) == PodPlan(
                first.name, first.version, 1, 1, 0.0
            )


def test_a_set_of_variants_is_refused() -> None:
    """One model of one pod cannot run two variants: the error names the stage."""
    pipeline = random_pipeline(0, stages=1)
    (stage,) = pipeline.stages
    half = Allocation(stage.variants[0].name, 1, 1, 1, 0.5)
    with pytest.raises(PlatformError, match=f"'{stage.name}' has 2 allocations"):
        pod_plans(pipeline, {stage.name: (half, half)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "format 2: accepted: 1"),
        ({"stages": {"b": {}}}, "no stage 'a'; stages are: b"),
        ({"stages": {"a": {"variant": "x"}}}, "not a plan document: KeyError\\('version'\\)"),
        ({"stages": ["a"]}, "not a plan document"),
        ({"stages": {"a": {"variant": "x", "version": 0, "cores": 1, "batch": 1, "delay": 0}}}, "accepted: version"),
        ({"stages": {"a": {"variant": "x", "version": 1, "cores": 1, "batch": 1, "delay": -1}}}, "delay from 0"),
    ],
)
def test_a_bad_document_is_one_line(change: dict[str, object], words: str) -> None:
    """Whatever a hand wrote into the ConfigMap, a sidecar says what is wrong with it."""
    with pytest.raises(PlatformError, match=words) as raised:
        pod_plan(json.dumps({"format": 1, "stages": {}} | change), "a")
    assert "\n" not in str(raised.value)


def test_half_a_document_is_one_line() -> None:
    """A file that was cut is no plan."""
    with pytest.raises(PlatformError, match="not a plan document"):
        pod_plan('{"format": 1, "sta', "a")
