"""A pipeline as Kubernetes documents: sound to Seldon's operator, and one Triton and one sidecar per stage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ipa_seldon.errors import PlatformError
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.specs.desired import ENTRY, KEY, SIDECAR, PodPlan, pod_plan
from ipa_seldon.specs.seldon import SeldonSettings, plan_config_map, seldon_deployment
from ipa_seldon.specs.seldon_operator import containers, deployment_name, endpoints, nodes, problems
from tests.factories import random_pipeline
from tests.specs.graphs import planned

SETTINGS = SeldonSettings("pvc://models/toy", "triton:1", "sidecar:1", "2Gi", "512Mi")
# What Seldon Core 1.17.1's custom resource has; anything else would be cut off without a word.
SPEC = {"name", "predictors", "annotations", "protocol", "transport"}
PREDICTOR = {"name", "graph", "componentSpecs"}
NODE = {"name", "children", "implementation", "modelUri"}
COMPONENT = {"metadata", "spec"}


def components(document: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document["spec"]["predictors"][0]["componentSpecs"]
    return found


@pytest.mark.parametrize("seed", range(10))
def test_the_graph_is_the_chain_and_sound(seed: int) -> None:
    """Nodes in the pipeline's order, every field known to Seldon Core, and nothing its operator would refuse."""
    pipeline, plan = planned(seed)
    document = seldon_deployment(pipeline, plan, SETTINGS)
    assert problems(document) == []
    (predictor,) = document["spec"]["predictors"]
    units = list(nodes(predictor["graph"]))
    assert [unit["name"] for unit in units] == [stage.name for stage in pipeline.stages]
    assert set(document["spec"]) <= SPEC
    assert set(predictor) <= PREDICTOR
    assert all(set(unit) <= NODE for unit in units)
    assert all(set(component) <= COMPONENT for component in components(document))


def test_pods_listen_where_the_executor_calls() -> None:
    """Triton's arguments and ports are those that the operator's rules give the executor, at each stage's Service."""
    pipeline, plan = planned(3)
    document = seldon_deployment(pipeline, plan, SETTINGS)
    places = endpoints(document)
    for stage, component in zip(pipeline.stages, components(document), strict=True):
        place = places["default", stage.name]
        triton, sidecar = containers(component)
        assert place.host == f"{pipeline.name}-default-{stage.name}.default.svc.cluster.local."
        assert {f"--http-port={place.http}", f"--grpc-port={place.grpc}"} <= set(triton["args"])
        assert f"localhost:{place.grpc}" in sidecar["args"]


def test_no_replicas_are_stated_anywhere() -> None:
    """A replicas value in the SeldonDeployment would undo every change of a Deployment's scale."""
    pipeline, plan = planned(5)

    def keys(part: Any) -> set[str]:
        if isinstance(part, dict):
            return set(part) | {key for value in part.values() for key in keys(value)}
        return {key for value in part for key in keys(value)} if isinstance(part, list) else set()

    assert not {"replicas", "hpaSpec", "kedaSpec", "svcOrchSpec"} & keys(seldon_deployment(pipeline, plan, SETTINGS))


def test_a_pod_gets_its_cores_and_serves_only_when_it_is_ready() -> None:
    """Cores of the plan as request and limit; model and sidecar say when it is ready; shared memory to spare."""
    pipeline, plan = planned(7)
    for stage, component in zip(pipeline.stages, components(seldon_deployment(pipeline, plan, SETTINGS)), strict=True):
        triton, sidecar = containers(component)
        assert triton["resources"] == {key: {"cpu": "2", "memory": "2Gi"} for key in ("requests", "limits")}
        assert triton["readinessProbe"]["httpGet"] == {"path": f"/v2/models/{stage.name}/ready", "port": "http"}
        assert sidecar["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert "--model-control-mode=explicit" in triton["args"]
        assert f"--load-model={stage.name}" in triton["args"]
        volumes = {volume["name"]: volume for volume in component["spec"]["volumes"]}
        mounted = {mount["name"]: mount["mountPath"] for mount in (*triton["volumeMounts"], *sidecar["volumeMounts"])}
        assert set(mounted) == set(volumes)
        assert mounted["shared-memory"] == "/dev/shm"  # noqa: S108  # the container's
        assert volumes["shared-memory"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "512Mi"}
        assert volumes["plan"]["configMap"]["name"] == plan_config_map(pipeline, plan)["metadata"]["name"]


def test_what_a_pod_is_promised_is_what_it_may_use() -> None:
    """Every container's requests equal its limits: the pod is of the class Guaranteed, as cores of its own need it."""
    pipeline, plan = planned(7)
    for component in components(seldon_deployment(pipeline, plan, SETTINGS)):
        for container in containers(component):
            assert container["resources"]["requests"] == container["resources"]["limits"]
            assert set(container["resources"]["limits"]) == {"cpu", "memory"}


def test_a_pod_that_goes_has_time_to_answer() -> None:
    """Triton is told to end only once nobody sends any more, and is killed only after both waits that it is given."""
    pipeline, plan = planned(7)
    for component in components(seldon_deployment(pipeline, plan, SETTINGS)):
        triton, _ = containers(component)
        program, seconds = triton["lifecycle"]["preStop"]["exec"]["command"]
        (timeout,) = (a.partition("=")[2] for a in triton["args"] if a.startswith("--exit-timeout-secs="))
        assert program == "sleep"
        assert 1 < int(seconds) < 30
        assert int(seconds) + int(timeout) < component["spec"]["terminationGracePeriodSeconds"]


def test_sidecars_find_their_plan() -> None:
    """The file a sidecar is told of is the ConfigMap's key, and holds its stage."""
    pipeline, plan = planned(9)
    data = plan_config_map(pipeline, plan)["data"]
    for stage, component in zip(pipeline.stages, components(seldon_deployment(pipeline, plan, SETTINGS)), strict=True):
        _, sidecar = containers(component)
        told = dict(zip(sidecar["args"][1::2], sidecar["args"][2::2], strict=True))
        directory, _, key = told["--plan"].rpartition("/")
        assert directory == sidecar["volumeMounts"][0]["mountPath"]
        wanted = pod_plan(data[key], told["--stage"])
        variant = stage.variants[-1]
        assert isinstance(wanted, PodPlan)
        assert (wanted.variant, wanted.version, wanted.cores, wanted.batch) == (variant.name, variant.version, 2, 4)


def test_changing_the_plan_changes_nothing_that_rolls_pods_but_cores() -> None:
    """Variant, batch and replicas are not in the SeldonDeployment at all."""
    pipeline, plan = planned(3)
    light = {s.name: (Allocation(s.variants[0].name, 7, 2, 1),) for s in pipeline.stages}
    assert seldon_deployment(pipeline, plan, SETTINGS) == seldon_deployment(pipeline, light, SETTINGS)
    assert plan_config_map(pipeline, plan) != plan_config_map(pipeline, light)


def test_deployments_are_named_after_stage_and_sidecar() -> None:
    """The names under which replicas are set can be predicted."""
    pipeline, plan = planned(3)
    for index, component in enumerate(components(seldon_deployment(pipeline, plan, SETTINGS))):
        stage = pipeline.stages[index].name
        name = deployment_name(pipeline.name, "default", index, component)
        assert name == f"{pipeline.name}-default-{index}-{stage}-{SIDECAR}"


def test_what_the_executor_cannot_run_is_refused() -> None:
    """A stage with two children, whose second answer would be lost, and a stage without an allocation."""
    pipeline = next(
        made for made in map(random_pipeline, range(200)) if len({p for p, _ in made.edges}) < len(made.edges)
    )
    plan = {s.name: (Allocation(s.variants[0].name, 1, 1, 1),) for s in pipeline.stages}
    with pytest.raises(PlatformError, match="the answer of the first alone; accepted: a chain"):
        seldon_deployment(pipeline, plan, SETTINGS)
    pipeline, plan_of_all = planned(3)
    with pytest.raises(PlatformError, match="has 0 allocations"):
        seldon_deployment(pipeline, dict(list(plan_of_all.items())[1:]), SETTINGS)


def test_a_set_of_variants_has_a_predictor_for_each() -> None:
    """Named after it, with its share in per cent, its own cores, and a sidecar that follows its entry of the plan."""
    pipeline = next(p for p in (random_pipeline(s, stages=1) for s in range(50)) if len(p.stages[0].variants) > 1)
    (stage,) = pipeline.stages
    first, second = stage.variants[0], stage.variants[1]
    plan: Plan = {stage.name: (Allocation(first.name, 2, 1, 1, 0.7), Allocation(second.name, 1, 2, 1, 0.3))}
    settings = replace(SETTINGS, predictor=None)
    made = seldon_deployment(pipeline, plan, settings)
    assert problems(made) == []
    assert [(p["name"], p["traffic"]) for p in made["spec"]["predictors"]] == [(first.name, 70), (second.name, 30)]
    document = plan_config_map(pipeline, plan, None)["data"][KEY]
    for predictor, allocation in zip(made["spec"]["predictors"], plan[stage.name], strict=True):
        (component,) = predictor["componentSpecs"]
        triton, sidecar = component["spec"]["containers"]
        assert triton["resources"]["limits"]["cpu"] == str(allocation.cores)
        entry = sidecar["args"][sidecar["args"].index(ENTRY) + 1]
        assert pod_plan(document, entry).variant == allocation.variant == predictor["name"]
    lone = seldon_deployment(pipeline, {stage.name: plan[stage.name][:1]}, settings)
    assert [(p["name"], p.get("traffic")) for p in lone["spec"]["predictors"]] == [(first.name, None)]


def test_a_set_needs_a_pipeline_of_one_stage() -> None:
    """Seldon Core splits requests between whole graphs."""
    pipeline = random_pipeline(1, stages=2)
    plan = {s.name: (Allocation(s.variants[0].name, 1, 1, 1),) for s in pipeline.stages}
    with pytest.raises(PlatformError, match="a set of variants needs a pipeline of one stage; stages are: "):
        seldon_deployment(pipeline, plan, replace(SETTINGS, predictor=None))
