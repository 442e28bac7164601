"""A SeldonDeployment that serves already becomes one that can be adapted, keeps all it has, and can go back."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest

from ipa_seldon.errors import PlatformError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.specs.desired import SIDECAR
from ipa_seldon.specs.observed import refusal, stage_deployments
from ipa_seldon.specs.seldon import PIPELINE_LABEL, SeldonSettings, seldon_deployment
from ipa_seldon.specs.seldon_attach import (
    ANNOTATIONS_LIMIT,
    ATTACHED_FROM,
    attached,
    detached,
    is_attached,
    is_edited,
    rolled,
    same_spec,
)
from ipa_seldon.specs.seldon_operator import containers, endpoints, problems
from ipa_seldon.specs.traffic import Size, with_sizes
from tests.factories import random_pipeline
from tests.specs.graphs import SHAPES, Document, plain_graph, planned

SETTINGS = SeldonSettings("pvc://models/toy", "triton:1", "sidecar:1", "2Gi", "512Mi")
LONG = next(seed for seed in range(50) if len(random_pipeline(seed, chain=True).stages) > 2)
every_graph = pytest.mark.parametrize(("seed", "shape"), [(seed, shape) for seed in range(20) for shape in SHAPES])


def attach(seed: int, shape: str = "none") -> tuple[Pipeline, Document, Document]:
    """A pipeline, a graph of it, and the graph attached; the first is left as it was."""
    pipeline, plan = planned(seed)
    graph = plain_graph(pipeline, seed, shape)
    before = deepcopy(graph)
    made = attached(graph, pipeline, plan, SETTINGS)
    assert graph == before
    return pipeline, graph, made


def components(graph: Document) -> dict[str, Document]:
    """Stage -> its component."""
    found = graph["spec"]["predictors"][0].get("componentSpecs") or []
    return {c["name"]: component for component in found for c in containers(component)}


@every_graph
def test_detaching_gives_back_what_was_attached(seed: int, shape: str) -> None:
    """Whatever it had, to the letter; and attaching again changes nothing."""
    pipeline, graph, made = attach(seed, shape)
    assert detached(made) == graph
    assert (is_attached(graph), is_attached(made), is_edited(made)) == (False, True, False)
    again = attached(made, pipeline, planned(seed)[1], SETTINGS)
    assert again == made
    assert same_spec(made, again)


@every_graph
def test_it_is_sound_and_every_stage_is_found_in_a_pod_of_its_own(seed: int, shape: str) -> None:
    """No rule of the operator is broken; a Deployment per stage; the executor calls Services, on Triton's ports."""
    pipeline, _, made = attach(seed, shape)
    stages = [stage.name for stage in pipeline.stages]
    assert problems(made) == []
    assert made["spec"]["protocol"] == "v2"
    deployments = stage_deployments(made, "default", stages)
    assert len(set(deployments.values())) == len(stages)
    placed = [c["name"] for one in made["spec"]["predictors"][0]["componentSpecs"] for c in containers(one)]
    assert sorted(name for name in placed if name in stages) == sorted(stages)
    assert refusal(made, "default", {stage: {"spec": {}} for stage in stages}) is None
    for stage in stages:
        place = endpoints(made)["default", stage]
        (triton,) = (c for c in containers(components(made)[stage]) if c["name"] == stage)
        assert place.host == f"{pipeline.name}-default-{stage}.shop.svc.cluster.local."
        assert {f"--http-port={place.http}", f"--grpc-port={place.grpc}"} <= set(triton["args"])
        assert "command" not in triton
        assert containers(components(made)[stage])[-1]["name"] == SIDECAR


@every_graph
def test_everything_else_stays(seed: int, shape: str) -> None:
    """Metadata, the graph, other predictors, and of each pod all that has nothing to do with adapting."""
    pipeline, graph, made = attach(seed, shape)
    theirs, ours = graph["spec"]["predictors"], made["spec"]["predictors"]
    for key in ("labels", "annotations"):
        assert (graph["metadata"].get(key) or {}).items() <= made["metadata"][key].items()
    assert made["metadata"]["labels"][PIPELINE_LABEL] == pipeline.name
    adapted = {"componentSpecs", "replicas", "svcOrchSpec"}
    assert {k: v for k, v in ours[0].items() if k not in adapted} == {
        k: v for k, v in theirs[0].items() if k not in adapted
    }
    assert [{**other, "replicas": 0} for other in ours[1:]] == [{**other, "replicas": 0} for other in theirs[1:]]
    given = theirs[0].get("componentSpecs") or [{}]
    for stage, component in components(made).items():
        if stage not in {found.name for found in pipeline.stages}:
            continue
        before = components(graph).get(stage, given[0])
        pod, old_pod = component["spec"], before.get("spec") or {}
        scaled = {"spec", "metadata", "replicas", "hpaSpec"}
        assert {k: v for k, v in component.items() if k not in scaled} == {
            k: v for k, v in before.items() if k not in scaled
        }
        built = {"containers", "volumes", "terminationGracePeriodSeconds"}
        assert {k: v for k, v in pod.items() if k not in built} == {k: v for k, v in old_pod.items() if k not in built}
        assert pod["terminationGracePeriodSeconds"] == old_pod.get("terminationGracePeriodSeconds", 45)
        assert [v for v in old_pod.get("volumes", ()) if v not in pod["volumes"]] == []
        assert [c for c in containers(before) if c["name"] == "logger"] == [
            c for c in pod["containers"] if c["name"] == "logger"
        ]


@every_graph
def test_a_triton_keeps_its_image_environment_memory_and_mounts(seed: int, shape: str) -> None:
    """Where it has them; else they are those of the file. Cores are the plan's, and /dev/shm is mounted once."""
    pipeline, graph, made = attach(seed, shape)
    for stage in (found.name for found in pipeline.stages):
        (triton,) = (c for c in containers(components(made)[stage]) if c["name"] == stage)
        own = next((c for c in containers(components(graph).get(stage, {})) if c["name"] == stage), {})
        assert triton["image"] == own.get("image", "triton:1")
        assert triton.get("env") == own.get("env")
        limits = own.get("resources", {}).get("limits", {"memory": "2Gi"})
        assert triton["resources"]["limits"] == {**limits, "cpu": "2"}
        assert triton["resources"]["requests"]["cpu"] == "2"
        assert [m for m in own.get("volumeMounts", ()) if m not in triton["volumeMounts"]] == []
        assert [m["mountPath"].rstrip("/") for m in triton["volumeMounts"]].count("/dev/shm") == 1  # noqa: S108


def test_executors_and_other_predictors_keep_their_number() -> None:
    """What spec.replicas and a predictor's own said holds for them on, by the precedence of Seldon Core."""
    pipeline, plan = planned(LONG)
    for of_spec, of_predictor, of_component, expected in ((2, None, None, 2), (2, 3, None, 3), (2, 3, 4, 4)):
        graph = plain_graph(pipeline)
        graph["spec"] |= {"protocol": "v2", "replicas": of_spec}
        predictor = graph["spec"]["predictors"][0]
        predictor |= {"replicas": of_predictor, "componentSpecs": [{"replicas": of_component, "spec": {}}]}
        graph["spec"]["predictors"] = [predictor, {"name": "mirror", "shadow": True, "graph": predictor["graph"]}]
        made = attached(graph, pipeline, plan, SETTINGS)
        adapted, mirror = made["spec"]["predictors"]
        assert adapted["svcOrchSpec"] == {"replicas": expected}
        assert mirror["replicas"] == of_spec
        assert "replicas" not in made["spec"]


def test_what_was_changed_since_is_seen_but_for_cores_and_gpus() -> None:
    """The adapter itself changes the cores and GPUs that pods start with; every other change of the spec counts."""
    pipeline, _, made = attach(LONG)
    made = with_sizes(made, {pipeline.stages[0].name: Size(7, 2)}, "nvidia.com/gpu")
    component = made["spec"]["predictors"][0]["componentSpecs"][0]
    triton, sidecar = containers(component)
    assert triton["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert not is_edited(made)
    sidecar["resources"]["limits"]["cpu"] = "7"
    assert is_edited(made)


def test_pods_that_are_replaced_are_told_by_predictor() -> None:
    """All where the executor leaves the pods, the adapted one else; none where only replicas change."""
    pipeline, plan = planned(LONG)
    graph = plain_graph(pipeline)
    first = graph["spec"]["predictors"][0]
    graph["spec"]["predictors"] = [first, {"name": "mirror", "shadow": True, "graph": first["graph"]}]
    made = attached(graph, pipeline, plan, SETTINGS)
    assert rolled(graph, made) == ["default", "mirror"]
    graph["spec"] |= {"protocol": "v2", "annotations": made["spec"]["annotations"], "replicas": 3}
    assert rolled(graph, attached(graph, pipeline, plan, SETTINGS)) == ["default"]
    assert rolled(made, {**made, "spec": {**made["spec"], "replicas": 5}}) == []


def test_gpus_are_neither_taken_in_silence_nor_kept_for_nothing() -> None:
    """Of a stage that has no variant on GPUs in the pipeline file they are an obstacle; else the plan says how many."""
    pipeline, plan = planned(LONG)
    first = pipeline.stages[0]
    graph = plain_graph(pipeline)
    graph["spec"]["protocol"] = "v2"
    container = {"name": first.name, "resources": {"limits": {"nvidia.com/gpu": 4}}}
    graph["spec"]["predictors"][0]["componentSpecs"] = [{"spec": {"containers": [container]}}]
    with pytest.raises(
        PlatformError, match=f"container '{first.name}': nvidia.com/gpu: 4; accepted: where the pipeline"
    ):
        attached(graph, pipeline, plan, SETTINGS)
    twin = replace(first.variants[-1], name="twin", gpus=2)
    knowing = replace(pipeline, stages=(replace(first, variants=(*first.variants, twin)), *pipeline.stages[1:]))
    for variant, gpus in ((first.variants[0], None), (twin, "2")):
        allocation = Allocation(variant.name, 1, 1, 1, gpus=variant.gpus)
        made = attached(graph, knowing, {**plan, first.name: (allocation,)}, SETTINGS)
        triton, _ = containers(made["spec"]["predictors"][0]["componentSpecs"][0])
        assert triton["resources"]["limits"].get("nvidia.com/gpu") == gpus
        assert "nvidia.com/gpu" not in triton["resources"]["requests"]


def broken(change: Callable[[Document, Document], object]) -> str:
    """The refusal of a graph of at least three nodes, of whose spec and predictor ``change`` made another."""
    pipeline, plan = planned(LONG)
    graph = plain_graph(pipeline, shape="one")
    graph["spec"].pop("transport", None)
    change(graph["spec"], graph["spec"]["predictors"][0])
    with pytest.raises(PlatformError) as caught:
        attached(graph, pipeline, plan, SETTINGS)
    words = str(caught.value)
    assert words.startswith(f"sdep/{pipeline.name}: ")
    assert "\n" not in words
    return words


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda spec, _: spec.pop("protocol"), "spec.protocol: 'seldon': accepted: v2, kfserving"),
        (lambda spec, _: spec.update(protocol="tensorflow"), "spec.protocol: 'tensorflow': accepted: v2, kfserving"),
        (lambda spec, _: spec.update(transport="grpc"), "spec.transport: 'grpc': accepted: rest"),
        (lambda _, one: one.update(name="main"), "spec.seldon.predictor: 'default': accepted: main"),
        (lambda _, one: one.update(shadow=True), "spec.predictors[0].shadow: true: accepted"),
        (lambda _, one: one.update(explainer={"type": "AnchorText"}), "spec.predictors[0].explainer: accepted: none"),
        (
            lambda _, one: one["graph"].update(implementation="SKLEARN_SERVER"),
            "node 's0': implementation: 'SKLEARN_SERVER': accepted: TRITON_SERVER",
        ),
        (
            lambda _, one: one["graph"]["children"].append({"name": "x", "implementation": "TRITON_SERVER"}),
            "node 's0': children: s1, x: accepted: one",
        ),
        (lambda _, one: one["graph"].pop("children"), "graph: nodes s0: accepted: the pipeline's stages, in their"),
        (lambda _, one: one["graph"].update(name="s9"), "graph: nodes s9, s1"),
        (
            lambda _, one: one["componentSpecs"].append({"spec": {"containers": [{"name": "s0"}]}}),
            "container 's0' appears twice",
        ),
        (
            lambda _, one: one["componentSpecs"][0]["spec"].update(volumes=[{"name": "plan", "emptyDir": {}}]),
            "componentSpecs[0].spec.volumes: 'plan' is there already",
        ),
        (lambda _, one: one["graph"].pop("modelUri"), "as attached: spec.predictors[0].graph: node 's0': modelUri"),
    ],
)
def test_what_cannot_be_adapted_is_refused(change: Callable[[Document, Document], object], expected: str) -> None:
    """In one line that names the key and what is accepted."""
    assert expected in broken(change)


def test_the_pipeline_has_the_graphs_name() -> None:
    """An adapter looks for the SeldonDeployment of its pipeline's name."""
    pipeline, plan = planned(LONG)
    graph = plain_graph(pipeline)
    graph["metadata"]["name"] = "other"
    with pytest.raises(PlatformError, match=rf"metadata.name: '{pipeline.name}': accepted: 'other'"):
        attached(graph, pipeline, plan, SETTINGS)


def test_a_single_node_may_speak_grpc() -> None:
    """Only between nodes are outputs lost."""
    pipeline = random_pipeline(3, stages=1, chain=True)
    plan: Plan = {"s0": (Allocation(pipeline.stages[0].variants[0].name, 1, 1, 1),)}
    graph = plain_graph(pipeline)
    graph["spec"]["transport"] = "grpc"
    assert attached(graph, pipeline, plan, SETTINGS)["spec"]["transport"] == "grpc"


def test_what_render_wrote_need_not_be_attached() -> None:
    """It has its sidecars already."""
    pipeline, plan = planned(LONG)
    with pytest.raises(PlatformError, match="container 'ipa-sidecar' is there already: it can be adapted as it is"):
        attached(seldon_deployment(pipeline, plan, SETTINGS), pipeline, plan, SETTINGS)


def test_annotations_have_a_limit() -> None:
    """A spec that does not fit beside the others' annotations is refused before the API server does."""
    pipeline, plan = planned(LONG)
    graph = plain_graph(pipeline)
    graph["metadata"]["annotations"] = {"mine": "x" * (ANNOTATIONS_LIMIT - 200)}
    with pytest.raises(PlatformError, match=rf"metadata.annotations: \d+ bytes .* accepted: {ANNOTATIONS_LIMIT}"):
        attached(graph, pipeline, plan, SETTINGS)


def test_detaching_drops_what_the_adapter_said_and_wants_something_to_go_back_to() -> None:
    """Its own annotations and label go, others stay; without the kept spec, or with a spoilt one, it is refused."""
    _, graph, made = attach(LONG)
    graph["metadata"]["annotations"] = {"mine": "kept"}
    made["metadata"]["annotations"] |= {"ipa.seldon.io/condition": "{}", "mine": "kept"}
    assert detached(made) == graph
    with pytest.raises(PlatformError, match=f"not attached: it has no annotation {ATTACHED_FROM}"):
        detached(graph)
    for spoilt in ("", "[]", json.dumps({"spec": {}})):
        made["metadata"]["annotations"][ATTACHED_FROM] = spoilt
        with pytest.raises(PlatformError, match="not as attach wrote it"):
            detached(made)
