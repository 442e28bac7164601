"""The platform on a cluster: what it reads and writes, in which order, what it leaves alone, and what it survives."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ipa_seldon.cluster.api import AUTOSCALERS, CONFIG_MAPS, SCALED_OBJECTS, SELDON_DEPLOYMENTS, Cluster
from ipa_seldon.config import read_config
from ipa_seldon.errors import LoadReason, PlatformError, RecommendedError, RefusedError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Backlog, Decision, LoadFault, LoadHealth, Outcome, Proposal, Status, plan_words
from ipa_seldon.platforms.seldon.voice import RECOMMENDED
from ipa_seldon.specs.observed import PAUSED
from ipa_seldon.specs.seldon import plan_name
from tests.cluster.conftest import Place
from tests.cluster.emulator import Emulator
from tests.cluster.world import START, World, door, toy_plan, world_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bare(place: Place) -> Iterator[World]:
    """A world without a pipeline."""
    with world_of(door(place.kubeconfig, place.namespace), place.kubeconfig) as made:
        yield made


@pytest.fixture
def world(bare: World) -> World:
    """A pipeline that has come up: two pods of ``double``, one of ``increment``, all light."""
    bare.deploy()
    return bare


@pytest.fixture
def emulated(emulator: Emulator, kubeconfig: Path) -> Iterator[World]:
    """The same, on an emulator only: for faults."""
    with world_of(door(kubeconfig), kubeconfig) as made:
        made.deploy()
        emulator.clear_calls()
        yield made


def test_deadlines_are_observed_where_an_algorithm_goes_by_them(emulated: World) -> None:
    """What the load tells of the queue, and how many replicas of a plan serve while others are starting; pods are told
    the SLO. Other algorithms see none of it.
    """
    emulated.load.queue = Backlog((0.2, 0.3), (0.4,))
    more = toy_plan(("light", 3))
    emulated.apply(emulated.adapter(), more)
    plain = emulated.adapter().observe(emulated.now)
    assert (plain.remaining_slo, plain.budgets, dict(plain.ready)) == ((), (), {})
    emulated.pipeline = replace(emulated.pipeline, by_deadline=True, triton_orders=True)
    platform = emulated.adapter()
    seen = platform.observe(emulated.now)
    assert (seen.remaining_slo, seen.budgets, dict(seen.ready)) == ((0.2, 0.3), (0.4,), {"double": 2})
    emulated.arrive(platform)
    assert platform.observe(emulated.now).ready == {}
    assert emulated.plan_document()["stages"]["double"]["slo"] == emulated.pipeline.slo


def test_a_plan_on_cores_between_the_profiled_ones_is_known(emulated: World) -> None:
    """Sponge's, on cores of which a fitted model tells the latency: an adapter that starts anew goes on with it, as one
    that acts and as one that only reads, and replaces nothing. On cores of which nothing tells it is no plan.
    """
    service = read_config(ROOT / "manifests/pipelines/yolo-sponge/pipeline.yaml").pipeline.stages[0].variants[0]
    assert 6 not in service.cores
    double, increment = emulated.pipeline.stages

    def serving(latency: Callable[[int, int], float]) -> Pipeline:
        variant = replace(double.variants[0], cores=service.cores, latency=latency, throughput=service.throughput)
        return replace(emulated.pipeline, stages=(replace(double, variants=(variant,)), increment), by_deadline=True)

    def of_the_profile(cores: int, batch: int) -> float:
        return service.points[cores, batch]

    emulated.pipeline = serving(service.latency)
    between = toy_plan(("light", 2, 6, 3))
    first = emulated.adapter()
    emulated.apply(first, between)
    emulated.arrive(first)
    for acts in (True, False):
        again = emulated.adapter(acts=acts)
        emulated.tick(again, 15)
        assert dict(again.observe(emulated.now).plan) == dict(between)
    assert emulated.running()["double"] == ("light", 2, 6, 3)
    emulated.pipeline = serving(of_the_profile)
    assert dict(emulated.adapter().observe(emulated.now).plan) == {}


def test_what_runs_is_observed_with_four_reads(world: World) -> None:
    """The plan is what Deployments and the plan ConfigMap state; nothing is written while nothing is to change, and a
    round costs four calls at most.
    """
    platform = world.adapter()
    observation = platform.observe(world.now)
    assert dict(observation.plan) == dict(START)
    assert observation.arrivals == (10.0,) * 60
    world.apply(platform, toy_plan(("light", 2, 1, 2)))
    world.arrive(platform)
    world.tick(platform, 15)
    world.run_cluster()
    world.calls.clear()
    for _ in range(5):
        platform.observe(world.now)
    assert len(world.calls) <= 5 * 4
    assert world.written == set()


def test_replicas_go_through_the_scale_alone(world: World) -> None:
    """More and fewer replicas: a PATCH of the Deployment's scale; no pod that stays is replaced, and the
    SeldonDeployment's spec is not touched.
    """
    pods = {pod["metadata"]["name"] for pod in world.pod_documents("double")}
    generation = world.document()["metadata"]["generation"]
    platform = world.adapter()
    world.apply(platform, toy_plan(("light", 4)))
    world.arrive(platform)
    assert world.running()["double"] == ("light", 4, 1, 1)
    assert pods <= {pod["metadata"]["name"] for pod in world.pod_documents("double")}
    world.apply(platform, START)
    world.arrive(platform)
    assert world.running()["double"] == ("light", 2, 1, 1)
    assert world.document()["metadata"]["generation"] == generation
    assert world.written == {"deployments/scale", "configmaps", "seldondeployments", "events"}
    assert [call.code for call in world.calls if call.resource == "deployments/scale"] == [200, 200]


def test_every_write_carries_our_field_manager(emulated: World, emulator: Emulator) -> None:
    """So that `kubectl get --show-managed-fields` tells who it was."""
    platform = emulated.adapter()
    emulated.apply(platform, TARGET)
    emulated.arrive(platform)
    writes = [call for call in emulator.calls if call.verb in ("create", "update", "patch")]
    mine = [call for call in writes if call.resource != "configmaps" or call.verb == "patch"]
    assert {call.manager for call in mine} == {"ipa-seldon"}


def test_variant_and_batch_go_through_the_plan_alone(world: World) -> None:
    """One PATCH of the plan ConfigMap tells all sidecars; Deployments and pods are left as they are."""
    platform = world.adapter()
    world.apply(platform, toy_plan(("light", 2, 1, 4)))
    world.arrive(platform)
    assert world.running()["double"] == ("light", 2, 1, 4)
    assert world.written == {"configmaps", "seldondeployments", "events"}


def test_cores_are_changed_in_place(world: World) -> None:
    """Pods are resized before the plan tells them to use more; the same pods go on."""
    pods = {pod["metadata"]["name"] for pod in world.pod_documents("double")}
    platform = world.adapter()
    world.apply(platform, toy_plan(("heavy", 2, 4)))
    world.arrive(platform)
    assert world.running()["double"] == ("heavy", 2, 4, 1)
    assert pods == {pod["metadata"]["name"] for pod in world.pod_documents("double")}
    assert [call.code for call in world.calls if call.resource == "pods/resize"] == [200] * len(pods)
    assert world.events("RollingForCores") == []


def test_where_pods_cannot_be_resized_they_are_replaced_and_that_is_announced(
    emulated: World, emulator: Emulator
) -> None:
    """Before Kubernetes 1.33 the template's cores change: a Warning says so before it happens, the stage's pods are
    replaced one by one, and the plan arrives, up and down again.
    """
    world = emulated
    emulator.resize_supported = False
    pods = {pod["metadata"]["name"] for pod in world.pod_documents("double")}
    platform = world.adapter()
    for plan, expected in ((toy_plan(("light", 2, 2)), 2), (START, 1)):
        world.apply(platform, plan)
        world.arrive(platform, 60)
        assert world.running()["double"] == ("light", 2, expected, 1)
        assert not pods & {pod["metadata"]["name"] for pod in world.pod_documents("double")}
    assert len(world.events("RollingForCores")) == 2
    assert world.running()["increment"] == ("light", 1, 1, 1)


def test_a_heavier_variant_waits_for_its_replicas(world: World) -> None:
    """The scale first; the plan document changes once four pods are ready, and replicas fall once all serve."""
    platform = world.adapter()
    world.pods.hold()
    world.apply(platform, toy_plan(("heavy", 4)))
    world.tick(platform, 5)
    assert world.deployment("double")["spec"]["replicas"] == 4
    assert world.plan_document()["stages"]["double"]["variant"] == "light"
    assert platform.waiting == {"double": "2 of 4 pods are ready for heavy"}
    assert world.condition()["reason"] == "Progressing"
    world.pods.release()
    world.arrive(platform)
    assert world.running()["double"] == ("heavy", 4, 1, 1)
    world.pods.stuck = lambda _: True
    world.apply(platform, START)
    world.tick(platform, 5)
    assert world.plan_document()["stages"]["double"]["variant"] == "light"
    assert world.deployment("double")["spec"]["replicas"] == 4
    world.pods.stuck = lambda _: False
    world.arrive(platform)
    assert world.running()["double"] == ("light", 2, 1, 1)


def test_every_change_is_an_event_and_the_condition_follows(world: World) -> None:
    """Applied with both plans in words, then Progressing, then AsPlanned: each once, however many rounds it takes."""
    platform = world.adapter()
    world.apply(platform, toy_plan(("heavy", 3)))
    world.arrive(platform)
    world.tick(platform, 5)
    (event,) = world.events()
    assert event["reason"] == "Applied"
    assert event["type"] == "Normal"
    assert event["message"] == "double heavy x3 (1 core, batch 1); increment light x1 (1 core, batch 1)"
    condition = world.condition()
    assert (condition["type"], condition["status"], condition["reason"]) == ("Adapting", "True", "AsPlanned")
    assert condition["message"] == "double heavy x3 (1 core, batch 1); increment light x1 (1 core, batch 1)"


# ---- refusals


def _component(change: dict[str, object]) -> object:
    def edit(graph: dict[str, object]) -> None:
        graph["spec"]["predictors"][0]["componentSpecs"][0].update(change)  # type: ignore[index]

    return edit


REFUSED = {
    "hpa": (_component({"hpaSpec": {"maxReplicas": 3}}), "ReplicasInSpec", "componentSpecs[0].hpaSpec"),
    "keda": (_component({"kedaSpec": {"triggers": []}}), "ReplicasInSpec", "componentSpecs[0].kedaSpec"),
    "component": (_component({"replicas": 2}), "ReplicasInSpec", "componentSpecs[0].replicas"),
    "spec": (lambda graph: graph["spec"].update(replicas=2), "ReplicasInSpec", "spec.replicas"),
    "predictor": (
        lambda graph: graph["spec"]["predictors"][0].update(replicas=2),
        "ReplicasInSpec",
        "spec.predictors[0].replicas",
    ),
    "paused": (
        lambda graph: graph["metadata"].setdefault("annotations", {}).update({PAUSED: "night shift"}),
        "Paused",
        "night shift",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_graph_forbids_is_left_alone_and_told_once(bare: World, case: str) -> None:
    """No write to Deployments, pods or the plan; RefusedError, one Event, a condition, the reason for the metric; and
    it goes on once the hindrance is gone.
    """
    change, reason, words = REFUSED[case]
    world = bare
    world.deploy(change=change)  # type: ignore[arg-type]
    platform = world.adapter()
    for _ in range(3):
        world.tick(platform)
        with pytest.raises(RefusedError, match=reason):
            world.apply(platform, toy_plan(("light", 5)))
    assert platform.refusal is not None
    assert platform.refusal.reason == reason
    assert words in platform.refusal.message
    assert world.written == {"seldondeployments", "events"}
    (event,) = world.events()
    assert (event["type"], event["reason"]) == ("Warning", reason)
    assert words in event["message"]
    assert world.condition()["status"] == "False"
    whole = world.document()
    whole["metadata"]["annotations"].pop(PAUSED, None)
    for holder in (
        whole["spec"],
        *whole["spec"]["predictors"],
        whole["spec"]["predictors"][0]["componentSpecs"][0],
    ):
        for key in ("replicas", "hpaSpec", "kedaSpec"):
            holder.pop(key, None)
    world.cluster.update(SELDON_DEPLOYMENTS, "toy", whole)
    world.run_cluster()
    world.apply(platform, toy_plan(("light", 5)))
    world.arrive(platform)
    assert world.running()["double"][1] == 5


@pytest.mark.parametrize("kind", ["hpa", "keda"])
def test_a_foreign_autoscaler_is_not_fought(emulated: World, emulator: Emulator, kind: str) -> None:
    """Its Deployment is left alone, whether it has scaled already or not; deleting it lets the adapter go on."""
    world = emulated
    emulator.register("keda.sh", "v1alpha1", "scaledobjects")
    name = world.deployment("double")["metadata"]["name"]
    resource = AUTOSCALERS if kind == "hpa" else SCALED_OBJECTS
    target = {"kind": "Deployment", "name": name}
    scaler = {
        "apiVersion": f"{resource.group}/{resource.version}",
        "kind": "HorizontalPodAutoscaler" if kind == "hpa" else "ScaledObject",
        "metadata": {"name": "theirs"},
        "spec": {"scaleTargetRef": target},
    }
    platform = world.adapter()
    world.apply(platform, toy_plan(("light", 3)))
    world.arrive(platform)
    world.cluster.create(resource, scaler)
    with pytest.raises(RefusedError, match=r"ForeignAutoscaler: .* theirs scales toy-default-0-double"):
        world.apply(platform, toy_plan(("light", 5)))
    world.scale("double", 6)
    world.tick(platform, 3)
    assert world.deployment("double")["spec"]["replicas"] == 6
    assert len(world.events("ForeignAutoscaler")) == 1
    assert world.condition()["reason"] == "ForeignAutoscaler"
    world.delete(resource, "theirs")
    world.tick(platform, 2)
    assert platform.refusal is None
    assert dict(platform.observe(world.now).plan) == dict(toy_plan(("light", 6)))


def test_a_roll_of_somebody_elses_is_waited_for(world: World) -> None:
    """While pods are being replaced for a new image nothing is changed; afterwards the adapter goes on."""
    platform = world.adapter()
    world.tick(platform)
    graph = world.document()
    graph["spec"]["predictors"][0]["componentSpecs"][0]["spec"]["containers"][0]["image"] = "triton:2"
    world.cluster.update(SELDON_DEPLOYMENTS, "toy", graph)
    world.pods.hold()
    world.run_cluster()
    with pytest.raises(RefusedError, match="Rolling: the pods of double are being replaced"):
        world.apply(platform, toy_plan(("light", 4)))
    assert world.deployment("double")["spec"]["replicas"] == 2
    world.pods.release()
    world.run_cluster(8)
    world.apply(platform, toy_plan(("light", 4)))
    world.arrive(platform)
    assert world.running()["double"] == ("light", 4, 1, 1)


def test_what_is_scaled_to_zero_stays_there(world: World) -> None:
    """Somebody has switched the stage off: it is left so, and taken up where he scales it to."""
    platform = world.adapter()
    world.apply(platform, toy_plan(("light", 3)))
    world.arrive(platform)
    world.scale("double", 0)
    world.tick(platform, 3)
    assert platform.refusal is not None
    assert platform.refusal.reason == "ScaledToZero"
    assert world.deployment("double")["spec"]["replicas"] == 0
    world.scale("double", 2)
    world.tick(platform, 3)
    assert platform.refusal is None
    assert dict(platform.observe(world.now).plan) == dict(START)


def test_a_missing_graph_and_a_missing_deployment_are_told(world: World) -> None:
    """A SeldonDeployment that is not there is one line; one whose Deployments are not there yet is waited for."""
    with pytest.raises(PlatformError, match=r"no SeldonDeployment 'other' in namespace '.*'"):
        world.adapter(graph="other").observe(world.now)
    platform = world.adapter(predictor="absent")
    platform.observe(world.now)
    assert platform.refusal is not None
    assert platform.refusal.reason == "NotDeployed"


# ---- other hands


@pytest.mark.parametrize("edits", ["adopt", "pause"])
def test_a_manual_scale_becomes_the_plan_or_pauses(world: World, edits: str) -> None:
    """The edit is never undone. Adopted, it is the plan from now on; else the graph is paused with the reason, and goes
    on from the edit once the annotation is removed.
    """
    platform = world.adapter(edits=edits)
    world.apply(platform, toy_plan(("light", 3)))
    world.arrive(platform)
    world.scale("double", 5)
    world.tick(platform, 3)
    assert world.deployment("double")["spec"]["replicas"] == 5
    (event,) = world.events("Edited")
    assert "replicas were changed from 3 to 5" in event["message"]
    if edits == "pause":
        with pytest.raises(RefusedError, match=r"Paused: .*replicas were changed from 3 to 5"):
            world.apply(platform, START)
        world.annotate(PAUSED, None)
        world.tick(platform, 2)
    assert platform.refusal is None
    assert dict(platform.observe(world.now).plan) == dict(toy_plan(("light", 5)))
    world.apply(platform, START)
    world.arrive(platform)
    assert world.running()["double"] == ("light", 2, 1, 1)


def test_an_edited_plan_document_becomes_the_plan(world: World) -> None:
    """As does one that `kubectl apply` of the rendered documents brought back."""
    from ipa_seldon.specs.desired import KEY, plan_document, pod_plans
    from ipa_seldon.specs.seldon import plan_name

    platform = world.adapter()
    world.apply(platform, toy_plan(("heavy", 2)))
    world.arrive(platform)
    text = plan_document(pod_plans(world.pipeline, START))
    world.cluster.patch(CONFIG_MAPS, plan_name("toy"), {"data": {KEY: text}})
    world.tick(platform, 2)
    assert dict(platform.observe(world.now).plan) == dict(START)
    assert len(world.events("Edited")) == 1
    world.cluster.patch(CONFIG_MAPS, plan_name("toy"), {"data": {KEY: "spoilt"}})
    world.tick(platform, 2)
    assert platform.refusal is not None
    assert platform.refusal.reason == "Edited"


def test_a_scale_between_look_and_write_is_not_lost(world: World) -> None:
    """Somebody scales just before our PATCH: it is refused by its version, and the next look finds the edit."""
    platform = world.adapter()
    world.apply(platform, toy_plan(("light", 3)))
    world.arrive(platform)
    world.apply(platform, toy_plan(("light", 4)))
    stale = world.deployment("double")
    world.scale("double", 7)
    from ipa_seldon.cluster.api import ApiError
    from ipa_seldon.platforms.seldon.writes import write_replicas

    with pytest.raises(ApiError) as raised:
        write_replicas(world.cluster, stale, 4)
    assert raised.value.code == 409
    world.tick(platform, 3)
    assert world.deployment("double")["spec"]["replicas"] == 7
    assert len(world.events("Edited")) == 1


# ---- safe rollouts


def test_a_plan_that_does_not_become_ready_is_taken_back(world: World) -> None:
    """After its patience the last plan that ran is back, with a Warning that says why; it is not tried again at once,
    but another is, and in time the same too.
    """
    platform = world.adapter()
    world.pods.hold()
    world.apply(platform, toy_plan(("light", 5)))
    world.tick(platform, 60)
    (event,) = world.events("Reverted")
    assert event["type"] == "Warning"
    assert "not running after 100 s: double: 2 of 5 pods are ready for light" in event["message"]
    world.pods.release()
    world.arrive(platform)
    assert world.running()["double"] == ("light", 2, 1, 1)
    with pytest.raises(RefusedError, match=r"Reverted: .* was taken back and is not tried again yet"):
        world.apply(platform, toy_plan(("light", 5)))
    assert len(world.events("Reverted")) == 1
    world.apply(platform, toy_plan(("light", 4)))
    world.arrive(platform)
    world.now += 700
    platform.observe(world.now)
    world.apply(platform, toy_plan(("light", 5)))
    world.arrive(platform)
    assert world.running()["double"] == ("light", 5, 1, 1)


@pytest.mark.parametrize(("rate", "reverted"), [(150.0, True), (1000.0, False)])
def test_a_plan_under_which_violations_rise_is_taken_back(world: World, rate: float, reverted: bool) -> None:
    """At the end of its probation; but not where the load is beyond what the plan before would carry."""
    platform = world.adapter()
    world.apply(platform, toy_plan(("light", 2, 1, 2), ("light", 2)))
    world.arrive(platform)
    world.tick(platform, 15)
    world.apply(platform, toy_plan(("heavy", 2), ("light", 2)))
    world.arrive(platform)
    world.load.missed, world.load.rate = 0.3, rate
    world.tick(platform, 5)
    assert world.events("Reverted") == []
    world.tick(platform, 15)
    world.arrive(platform)
    events = world.events("Reverted")
    assert [("30.0% of the requests missed the SLO, 0.0% before" in e["message"]) for e in events] == [True] * reverted
    assert world.running()["double"] == (("light", 2, 1, 2) if reverted else ("heavy", 2, 1, 1))


def test_a_load_that_is_missing(world: World) -> None:
    """What runs is observed all the same, and the fault told; while the fallback is in force one Event says so, and one
    more that it ended. Where no Event can be posted, that is said, and nothing fails.
    """
    platform = world.adapter()
    world.apply(platform, toy_plan(("light", 4)))
    world.arrive(platform)
    world.load.fault = LoadFault(LoadReason.TIMEOUT, "no answer within 5 s")
    seen = platform.observe(world.now)
    assert (seen.arrivals, seen.fault) == ((), world.load.fault)
    assert seen.plan["double"][0].replicas == 4
    for failures in range(1, 6):
        platform.tell_load(LoadHealth(*world.load.fault, failures, failures >= 3))
    (missing,) = world.events("LoadMissing")
    assert (missing["type"], missing["message"]) == ("Warning", "no load for 3 rounds (timeout): no answer within 5 s")
    platform.tell_load(LoadHealth(LoadReason.GAP, "5 of the last 60 seconds were not measured"))
    assert [event["type"] for event in world.events("LoadMeasured")] == ["Normal"]
    world.delete(SELDON_DEPLOYMENTS, world.graph)
    platform.tell_load(LoadHealth(*world.load.fault, 3, True))
    assert "no Event could be posted: no SeldonDeployment" in world.said[-1]


def test_without_a_measure_of_violations_a_plan_proves_itself_by_running(world: World) -> None:
    """Prometheus away, or no request: no revert, and the next plan can fall back on this one."""
    world.load.missed = None
    platform = world.adapter()
    world.apply(platform, toy_plan(("heavy", 2)))
    world.arrive(platform)
    world.tick(platform, 15)
    world.pods.hold()
    world.apply(platform, toy_plan(("heavy", 5)))
    world.tick(platform, 60)
    world.pods.release()
    world.arrive(platform)
    assert world.running()["double"] == ("heavy", 2, 1, 1)


def test_only_recommended(world: World) -> None:
    """Nothing but an annotation and an Event for each new recommendation; what runs is observed as ever. Of the graph
    its annotations alone are written, and the plan that sidecars follow is not.
    """
    platform = world.adapter(acts=False)
    before, plan = world.document(), world.cluster.get(CONFIG_MAPS, plan_name(world.graph))
    for advised in (toy_plan(("heavy", 4)), toy_plan(("heavy", 4)), toy_plan(("light", 1))):
        with pytest.raises(RecommendedError, match="only recommended: double"):
            world.apply(platform, advised)
        world.tick(platform, 2)
    assert dict(platform.observe(world.now).plan) == dict(START)
    assert len(world.events("Recommended")) == 2
    assert world.written == {"seldondeployments", "events"}
    assert world.running()["double"] == ("light", 2, 1, 1)
    after = world.document()
    assert after["metadata"].pop("annotations").keys() - before["metadata"].pop("annotations", {}).keys() == {
        RECOMMENDED
    }
    assert after["spec"] == before["spec"]
    assert world.cluster.get(CONFIG_MAPS, plan_name(world.graph)) == plan


def test_a_recommendation_is_taken_back_once_it_is_what_runs(world: World) -> None:
    """Else it would be told for ever; and recommended again, it has an Event again. An adapter that acts takes nothing
    back.
    """
    platform, advised = world.adapter(acts=False), toy_plan(("heavy", 4))
    proposal = Proposal(START, Status.OPTIMAL, 0.0, 0.0, 0, 0.0, 0.0, "test")

    def recommended() -> str | None:
        annotations: dict[str, str] = world.document()["metadata"]["annotations"]
        return annotations.get(RECOMMENDED)

    for times in (1, 2):
        with pytest.raises(RecommendedError):
            world.apply(platform, advised)
        assert recommended() == plan_words(advised)
        agreeing = Decision(platform.observe(world.now), Outcome.UNCHANGED, 10.0, proposal)
        world.adapter().heard(agreeing)
        assert recommended() == plan_words(advised)
        platform.heard(agreeing)
        assert recommended() is None
        assert len(world.events("Recommended")) == times


# ---- faults


TARGET = toy_plan(("heavy", 3, 2), ("light", 2, 1, 2))
EXPECTED = {"double": ("heavy", 3, 2, 1), "increment": ("light", 2, 1, 2)}


@pytest.mark.parametrize(
    "fault",
    [
        {"code": 429, "retry_after": 0, "times": 3},
        {"code": 500, "times": 3},
        {"code": 503, "after": True},
        {"code": 409},
        {"code": 409, "times": 6},
        {"cut": True},
        {"cut": True, "after": True},
        {"delay": 1.5},
    ],
    ids=lambda fault: "-".join(f"{key}={value}" for key, value in fault.items()),
)
def test_faults_of_the_api_server_lose_and_double_nothing(
    emulated: World, emulator: Emulator, fault: dict[str, object]
) -> None:
    """Every kind of call fails on the way to a plan, before or after it was done, some for longer than it is tried
    again: the plan runs in the end, once; as many pods as planned, and one Applied.
    """
    world = emulated
    platform = world.adapter()
    for verb, resource in (
        ("get", "seldondeployments"),
        ("list", "deployments"),
        ("list", "pods"),
        ("get", "configmaps"),
        ("patch", "configmaps"),
        ("patch", "deployments/scale"),
        ("patch", "pods/resize"),
        ("patch", "seldondeployments"),
        ("get", "pods/proxy"),
    ):
        emulator.fail(verb=verb, resource=resource, **fault)  # type: ignore[arg-type]
    world.persist(lambda: world.apply(platform, TARGET))
    for _ in range(40):
        world.persist(lambda: world.tick(platform))
    assert world.running() == EXPECTED
    assert dict(platform.observe(world.now).plan) == dict(TARGET)
    assert len(world.events("Applied")) == 1
    assert world.events("Edited") == []


def test_killed_anywhere_another_adapter_goes_on(emulated: World) -> None:
    """The adapter dies at its k-th call, for every k on the way to a plan, each call done or not done; the next adapter
    brings the plan about. Between two deaths pods come and go as they please.
    """
    world = emulated
    counted = world.adapter()
    world.apply(counted, TARGET)
    world.arrive(counted)
    calls = len(world.calls)
    assert calls > 20
    for death, done in itertools.product(range(0, calls, 3), (False, True)):
        back = world.adapter()
        world.persist(lambda back=back: world.apply(back, START))  # type: ignore[misc]
        world.arrive(back)
        platform = world.adapter(Dying(world.cluster, death, done))  # type: ignore[arg-type]
        try:
            world.apply(platform, TARGET)
            for _ in range(30):
                world.tick(platform)
        except Killed:
            pass
        heir = world.adapter()
        plan = heir.observe(world.now).plan
        assert dict(plan) in (dict(START), dict(TARGET))
        world.apply(heir, TARGET)
        world.arrive(heir)
        assert world.running() == EXPECTED, (death, done)
        assert world.events("Edited") == []


class Killed(BaseException):
    """The process is gone: nothing catches this."""


class Dying:
    """A cluster door of an adapter that is killed at a call, before it is sent or after."""

    def __init__(self, cluster: Cluster, death: int, done: bool) -> None:
        self._cluster = cluster
        self._left = death
        self._done = done

    def __getattr__(self, name: str) -> object:
        found = getattr(self._cluster, name)
        if not callable(found):
            return found

        def call(*arguments: object, **options: object) -> object:
            self._left -= 1
            if self._left < 0 and not self._done:
                raise Killed
            answer = found(*arguments, **options)
            if self._left < 0:
                raise Killed
            return answer

        return call


def test_nothing_is_ever_deleted(emulated: World, emulator: Emulator) -> None:
    """Over scaling, switching, resizing, reverting and refusing: not one DELETE."""
    world = emulated
    platform = world.adapter()
    for plan in (TARGET, START, toy_plan(("heavy", 1))):
        world.apply(platform, plan)
        world.arrive(platform)
    assert "delete" not in {call.verb for call in emulator.calls}
