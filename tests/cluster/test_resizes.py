"""Cores in place: every answer that a node or the API server gives to a pod's wish, and what becomes of the plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ipa_seldon.cluster.api import PODS
from ipa_seldon.errors import RefusedError
from ipa_seldon.platforms.seldon.platform import SeldonPlatform
from ipa_seldon.specs.observed import granted_cores
from tests.cluster.emulator import Emulator
from tests.cluster.nodes import Answer, deferred, failing, granted, in_progress, infeasible
from tests.cluster.resources import Document
from tests.cluster.world import World, door, set_plan, toy_plan, world_of

LARGER = toy_plan(("light", 2, 4))
FULL = "Node didn't have enough resource: cpu, requested: 4000, used: 3000, capacity: 6000"
SMALL = "Node didn't have enough capacity: cpu, requested: 4000, capacity: 2000"


@pytest.fixture
def world(kubeconfig: Path) -> Iterator[World]:
    """A pipeline that has come up: two pods of ``double``, one of ``increment``, all light, of one core each."""
    with world_of(door(kubeconfig), kubeconfig) as made:
        made.deploy()
        yield made


def check_threads(world: World) -> dict[str, tuple[int | None, int]]:
    """Pod of ``double`` -> the cores that its node has granted, and the threads that it serves with, of which there
    are no more.
    """
    found = {}
    for pod in world.pod_documents("double"):
        name = pod["metadata"]["name"]
        world.pods.report(name)
        plan, cores = world.pods.serving.get(name), granted_cores(pod, "double")
        if plan is not None:
            assert cores is None or plan.cores <= cores, (name, plan, cores)
            found[name] = (cores, plan.cores)
    return found


def tick(world: World, platform: SeldonPlatform, times: int = 1) -> None:
    """Time passes, and no pod ever has more threads than cores."""
    for _ in range(times):
        world.tick(platform)
        check_threads(world)


def asked(world: World) -> set[str]:
    """The cores that the pods of ``double`` ask for."""
    return {pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] for pod in world.pod_documents("double")}


def names(world: World) -> set[str]:
    """The pods of ``double``."""
    return {pod["metadata"]["name"] for pod in world.pod_documents("double")}


@pytest.mark.parametrize("answer", [granted, in_progress(), deferred(FULL), failing("cgroup: device busy")])
def test_cores_that_are_granted_late_are_waited_for(world: World, answer: Answer) -> None:
    """At once, in progress, deferred, or failing at first: the plan runs once all have them, and is told only then;
    each pod was asked once, and none was replaced.
    """
    pods = names(world)
    platform = world.adapter()
    world.kubelet.answer = answer
    world.apply(platform, LARGER)
    if answer is not granted:
        tick(world, platform, 10)
        assert world.plan_document()["stages"]["double"]["cores"] == 1
        assert platform.waiting["double"].startswith("2 of 2 pods have less than 4 cores")
    world.kubelet.answer = granted
    world.arrive(platform)
    assert set(check_threads(world).values()) == {(4, 4)}
    assert names(world) == pods
    assert [call.code for call in world.calls if call.resource == "pods/resize"] == [200, 200]
    assert world.events("Reverted") == []
    assert world.condition()["reason"] == "AsPlanned"


@pytest.mark.parametrize(
    ("answer", "words", "seconds"),
    [
        (infeasible(SMALL), f"Infeasible: {SMALL}", 4),
        (deferred(FULL), f"Deferred: {FULL}", 66),
        (failing("cgroup: device busy"), "Error: cgroup: device busy", 66),
        (in_progress(), "its node has not given it 4 cores in 60 s", 66),
    ],
    ids=["infeasible", "deferred", "error", "silent"],
)
def test_cores_that_are_not_granted_take_the_plan_back(world: World, answer: Answer, words: str, seconds: int) -> None:
    """What no waiting changes at once, all else after its time: the plan before is back, with what pods ask for; an
    Event, the condition and the refusal of the same plan say why. Nothing is replaced, and threads are as they were.
    """
    pods = names(world)
    platform = world.adapter()
    world.kubelet.answer = answer
    world.apply(platform, LARGER)
    begun = world.now
    while not world.events("Reverted"):
        tick(world, platform)
        assert world.now - begun <= seconds
    assert world.now - begun >= seconds - 6
    (event,) = world.events("Reverted")
    assert event["type"] == "Warning"
    assert "is taken back for double light x2 (1 core, batch 1)" in event["message"]
    assert "cores not granted: double: toy-default-0-double-" in event["message"]
    assert event["message"].endswith(words)
    world.arrive(platform)
    assert asked(world) == {"1"}
    assert set(check_threads(world).values()) == {(1, 1)}
    assert names(world) == pods
    assert world.condition()["message"].endswith(words)
    with pytest.raises(RefusedError, match=r"Reverted: .* was taken back .*: cores not granted: double: toy-"):
        world.apply(platform, LARGER)


def test_one_node_of_two_is_too_small(world: World) -> None:
    """The pod that has got its cores gives them back."""
    small = min(names(world))
    platform = world.adapter()
    world.kubelet.answer = lambda pod: infeasible(SMALL)(pod) if pod["metadata"]["name"] == small else None
    world.apply(platform, LARGER)
    tick(world, platform, 3)
    assert len(world.events("Reverted")) == 1
    world.arrive(platform)
    assert asked(world) == {"1"}
    assert set(check_threads(world).values()) == {(1, 1)}


def test_what_a_node_said_of_an_earlier_wish_does_not_count(world: World) -> None:
    """A condition about four cores is still there when two are asked for: it is not taken for the answer."""
    platform = world.adapter()
    world.kubelet.answer = infeasible(SMALL)
    world.apply(platform, LARGER)
    world.run_cluster()
    name, plan = min(names(world)), toy_plan(("light", 2, 2))
    platform.apply(plan)
    assert asked(world) == {"2"}
    conditions = (world.cluster.get(PODS, name) or {})["status"]["conditions"]
    assert "Infeasible" in {condition.get("reason") for condition in conditions}
    platform.observe(world.now)
    assert world.events("Reverted") == []
    world.kubelet.answer = granted
    world.arrive(platform)
    assert set(check_threads(world).values()) == {(2, 2)}


def test_a_wait_outlasts_changes_of_the_plan(world: World) -> None:
    """A loop that wants other cores every few seconds does not begin to wait anew with each of them."""
    platform = world.adapter()
    world.kubelet.answer = deferred(FULL)
    begun = world.now
    for round_ in range(40):
        if world.events("Reverted"):
            break
        world.apply(platform, toy_plan(("light", 2, 4 if round_ % 2 else 2)))
        tick(world, platform, 2)
    assert len(world.events("Reverted")) == 1
    assert world.now - begun <= 70


@pytest.mark.parametrize("code", [403, 422])
def test_a_wish_that_the_api_server_refuses_takes_the_plan_back(world: World, emulator: Emulator, code: int) -> None:
    """No permission or quota, or a node that resizes no pods: no round fails, nothing rolls, and it is told why."""
    pods = names(world)
    platform = world.adapter()
    emulator.fail(verb="patch", resource="pods/resize", code=code, times=2)
    world.apply(platform, LARGER)
    tick(world, platform)
    (event,) = world.events("Reverted")
    assert f"Refused: patch pods/{min(pods)}/resize: {code}: " in event["message"]
    world.arrive(platform)
    assert asked(world) == {"1"}
    assert names(world) == pods
    assert world.events("RollingForCores") == []


# ---- replicas instead


def proved(world: World) -> SeldonPlatform:
    """An adapter that may add replicas, under which what runs has proved itself."""
    platform = world.adapter(resize_fallback="replica")
    world.apply(platform, toy_plan(("light", 2), ("light", 1, 1, 2)))
    world.arrive(platform)
    world.tick(platform, 15)
    return platform


def test_replicas_carry_the_load_instead(world: World) -> None:
    """Eight cores on two replicas become eight of one core, as many as serve the same; the pods there are stay, and ask
    for no more than they have; the Event says so, and the plan that it replaces is not tried again at once.
    """
    platform = proved(world)
    pods = names(world)
    world.kubelet.answer = infeasible(SMALL)
    wanted = toy_plan(("light", 2, 4), ("light", 1, 1, 2))
    world.apply(platform, wanted)
    tick(world, platform, 2)
    (event,) = world.events("ReplicasInstead")
    assert event["type"] == "Warning"
    assert "double light x2 (4 cores, batch 1)" in event["message"]
    assert "is taken back for double light x8 (1 core, batch 1)" in event["message"]
    world.arrive(platform)
    assert world.running()["double"] == ("light", 8, 1, 1)
    assert pods <= names(world)
    assert world.events("Reverted") == []
    with pytest.raises(RefusedError, match="was taken back"):
        world.apply(platform, wanted)


@pytest.mark.parametrize("limit", ["replicas", "cores"])
def test_replicas_beyond_the_limits_are_none(world: World, limit: str) -> None:
    """Eight replicas where seven are the most of a stage, or nine cores where the budget is eight: taken back."""
    stages = tuple(replace(stage, max_replicas=7) for stage in world.pipeline.stages)
    limited = {"replicas": {"stages": stages}, "cores": {"cores": 8}}[limit]
    world.pipeline = replace(world.pipeline, **limited)  # type: ignore[arg-type]
    platform = proved(world)
    world.kubelet.answer = infeasible(SMALL)
    world.apply(platform, toy_plan(("light", 2, 4), ("light", 1, 1, 2)))
    tick(world, platform, 2)
    assert world.events("ReplicasInstead") == []
    assert len(world.events("Reverted")) == 1


# ---- pods that come later


def restarted(world: World) -> str:
    """A pod of ``double`` is lost; the name of the one that its Deployment makes in its place."""
    before = names(world)
    world.delete(PODS, min(before))
    world.run_cluster()
    (name,) = names(world) - before
    return name


def test_a_pod_that_is_replaced_gets_the_plans_cores(world: World) -> None:
    """It begins with the template's, on as many threads, is resized at the next look, and then uses them; the plan, the
    template and the other pod stay as they are.
    """
    platform = world.adapter()
    world.apply(platform, LARGER)
    world.arrive(platform)
    generation = world.document()["metadata"]["generation"]
    name = restarted(world)
    assert check_threads(world)[name] == (1, 1)
    platform.observe(world.now)
    world.run_cluster(1)
    assert check_threads(world)[name] == (4, 1)
    world.arrive(platform)
    assert set(check_threads(world).values()) == {(4, 4)}
    assert world.document()["metadata"]["generation"] == generation
    assert dict(platform.observe(world.now).plan) == dict(LARGER)


def test_a_new_replica_gets_the_plans_cores(world: World) -> None:
    """As a pod that is replaced does."""
    platform = world.adapter()
    world.apply(platform, LARGER)
    world.arrive(platform)
    world.apply(platform, toy_plan(("light", 3, 4)))
    for _ in range(8):
        tick(world, platform)
    assert platform.waiting == {}
    assert set(check_threads(world).values()) == {(4, 4)}
    assert len(names(world)) == 3


@pytest.mark.parametrize(("answer", "ticks"), [(infeasible(SMALL), 3), (deferred(FULL), 40)])
def test_a_later_pod_that_does_not_get_them_serves_with_less(world: World, answer: Answer, ticks: int) -> None:
    """A plan that ran is not taken back for it: one Event and the condition tell, the pod serves with the cores it has,
    and gets the others when they are there.
    """
    platform = world.adapter()
    world.apply(platform, LARGER)
    world.arrive(platform)
    name = restarted(world)
    world.kubelet.answer = answer
    tick(world, platform, ticks + 5)
    (event,) = world.events("NotResized")
    assert event["type"] == "Warning"
    assert event["message"].startswith(f"double: {name}: ")
    assert world.condition()["reason"] == "Repairing"
    assert name in world.condition()["message"]
    assert check_threads(world)[name] == (1, 1)
    assert world.events("Reverted") == []
    world.kubelet.answer = granted
    world.arrive(platform)
    assert set(check_threads(world).values()) == {(4, 4)}


def test_cores_that_somebody_takes_away_take_threads_along(world: World) -> None:
    """`kubectl edit --subresource resize` to two: the pod is told to use two at the next look, and asked for four."""
    platform = world.adapter()
    world.apply(platform, LARGER)
    world.arrive(platform)
    name = min(names(world))
    quantity = {"cpu": "2"}
    resources = {"requests": quantity, "limits": quantity}
    body: Document = {"spec": {"containers": [{"name": "double", "resources": resources}]}}
    world.cluster.patch_strategic(PODS, name, body, "resize")
    world.run_cluster(1)
    world.kubelet.answer = deferred(FULL)
    tick(world, platform, 2)
    assert check_threads(world)[name] == (2, 2)
    world.kubelet.answer = granted
    world.arrive(platform)
    assert check_threads(world)[name] == (4, 4)


# ---- sets of variants


@pytest.fixture
def world_of_set(kubeconfig: Path) -> Iterator[World]:
    """One predictor, of the light variant, that has come up."""
    with world_of(door(kubeconfig), kubeconfig) as made:
        made.becomes_set()
        made.create(set_plan(light=(1.0, 1)))
        yield made


def test_a_set_is_taken_back_too(world_of_set: World) -> None:
    """Before requests move: the variant that does not get its cores keeps its share as it was."""
    world = world_of_set
    platform = world.adapter()
    world.kubelet.answer = infeasible(SMALL)
    world.apply(platform, set_plan(light=(1.0, 1, 4)))
    world.tick(platform, 3)
    (event,) = world.events("Reverted")
    assert "cores not granted: light: toy-light-0-double-" in event["message"]
    world.arrive(platform)
    assert dict(platform.observe(world.now).plan) == dict(set_plan(light=(1.0, 1)))
