"""What the adapter leaves for the sidecars of a pipeline comes back as it was meant."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ipa_seldon.errors import PlatformError
from ipa_seldon.plan import Allocation
from ipa_seldon.specs.desired import (
    NO_LIMIT,
    PodCores,
    PodPlan,
    entries,
    entries_in,
    gpus_of,
    plan_document,
    pod_cores,
    pod_plan,
    pod_plans,
    stage_plan,
)
from tests.factories import random_pipeline, with_gpus


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


def test_deadlines_go_along() -> None:
    """A pod is told the SLO where Triton orders requests, and elsewhere nothing; no batch waits where there are any."""
    pipeline = random_pipeline(3)
    stage = pipeline.stages[0]
    plan = {stage.name: (Allocation(stage.variants[0].name, 1, 1, 4),)}
    told = plan_document(pod_plans(replace(pipeline, by_deadline=True, triton_orders=True), plan))
    found = pod_plan(told, stage.name)
    assert found.slo == pytest.approx(pipeline.slo, abs=1e-6)
    assert found.delay == 0.0
    behind = pod_plan(plan_document(pod_plans(replace(pipeline, by_deadline=True), plan)), stage.name)
    assert (behind.slo, behind.delay) == (None, 0.0)
    plain = plan_document(pod_plans(pipeline, plan))
    assert "slo" not in plain
    assert pod_plan(plain, stage.name).delay > 0


def test_a_pod_is_told_no_more_threads_than_it_has_cores() -> None:
    """By its name what its node has granted, else what pods begin with; a document without cores limits nothing."""
    plan = PodPlan("v", 1, 4, 2, 0.1)
    cores = PodCores(1, {"granted": 2, "all": 4, "more": 8})
    text = plan_document({"a": plan, "b": plan}, {"a": cores})
    told = {name: pod_plan(text, "a", name).cores for name in ("granted", "all", "more", "new", "")}
    assert told == {"granted": 2, "all": 4, "more": 4, "new": 1, "": 1}
    assert pod_plan(text, "a", "granted") == replace(plan, cores=2)
    assert stage_plan(text, "a") == pod_plan(text, "b", "new") == plan
    assert (pod_cores(text, "a"), pod_cores(text, "b")) == (cores, NO_LIMIT)
    assert pod_plan(json.dumps({"format": 1, "stages": {"a": vars(plan)}}), "a", "new") == plan


def test_pods_with_gpus_read_an_entry_of_their_own() -> None:
    """Beside that of the pods without, which serve on while they are replaced; older documents know no GPUs."""
    pipeline = with_gpus(random_pipeline(4, stages=1), 2)
    (stage,) = pipeline.stages
    ((_, on_gpus), *_) = pipeline.on_gpus
    plan = {stage.name: (Allocation(on_gpus.name, 1, 2, 1, gpus=on_gpus.gpus),)}
    told = entries(pod_plans(pipeline, plan))
    without = PodPlan("v", 1, 1, 1, 0.0)
    text = plan_document({**told, stage.name: without})
    (entry,) = told
    assert gpus_of(entry) == pod_plan(text, entry).gpus == on_gpus.gpus
    assert pod_plan(text, entry).variant == on_gpus.name
    assert pod_plan(text, stage.name) == without
    assert sorted(entries_in(text)) == sorted([stage.name, entry])
    assert entries_in("no document") == []


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
        (
            {"stages": {"a": {"variant": "x", "version": 1, "cores": 1, "batch": 1, "delay": 0, "slo": 0}}},
            "slo above 0",
        ),
    ],
)
def test_a_bad_document_is_one_line(change: dict[str, object], words: str) -> None:
    """Whatever a hand wrote into the ConfigMap, a sidecar says what is wrong with it."""
    with pytest.raises(PlatformError, match=words) as raised:
        pod_plan(json.dumps({"format": 1, "stages": {}} | change), "a")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("spoilt", [{"pods": {}}, {"start": 1, "pods": ["b"]}, {"start": "many"}, "one"])
def test_spoilt_cores_are_one_line(spoilt: object) -> None:
    """A plan that says nothing sensible of the cores is not followed: it would be followed with too many threads."""
    plan = {"variant": "x", "version": 1, "cores": 4, "batch": 1, "delay": 0}
    with pytest.raises(PlatformError, match="no cores of stage 'a': ") as raised:
        pod_plan(json.dumps({"format": 1, "stages": {"a": plan}, "cores": {"a": spoilt}}), "a")
    assert "\n" not in str(raised.value)


def test_half_a_document_is_one_line() -> None:
    """A file that was cut is no plan."""
    with pytest.raises(PlatformError, match="not a plan document"):
        pod_plan('{"format": 1, "sta', "a")
