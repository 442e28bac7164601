"""A stage that runs a set of variants on a cluster: a predictor for each, and requests shared by traffic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ipa_seldon.cluster.api import DEPLOYMENTS, SELDON_DEPLOYMENTS
from ipa_seldon.errors import PlatformError, RefusedError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.platforms.seldon.documents import known
from ipa_seldon.platforms.seldon.platform import DRAIN, SeldonPlatform
from ipa_seldon.specs.seldon_operator import problems
from tests.cluster.conftest import Place
from tests.cluster.world import World, door, set_plan, toy_plan, world_of

LIGHT = set_plan(light=(1.0, 1))
BOTH = set_plan(light=(0.67, 1), heavy=(0.33, 3))


@pytest.fixture
def world(place: Place) -> Iterator[World]:
    """One predictor, of the light variant, that has come up."""
    with world_of(door(place.kubeconfig, place.namespace), place.kubeconfig) as made:
        made.becomes_set()
        made.create(LIGHT)
        yield made


def traffic(world: World) -> dict[str, int | None]:
    """Predictor -> its per cent."""
    return {predictor["name"]: predictor.get("traffic") for predictor in world.document()["spec"]["predictors"]}


def replicas(world: World) -> dict[str, int]:
    """Predictor -> what its Deployment asks for."""
    found = world.cluster.list(DEPLOYMENTS, {"seldon-deployment-id": "toy"})
    return {deployment["metadata"]["name"].split("-")[1]: deployment["spec"]["replicas"] for deployment in found}


def serving(world: World) -> set[tuple[str, str]]:
    """(Predictor, variant) of every pod."""
    return {
        (name.split("-")[1], plan.variant)
        for name in list(world.pods.serving)
        for plan in [world.pods.report(name)["running"] and world.pods.serving[name]]
        if plan is not None
    }


def apply(world: World, plan: Plan) -> SeldonPlatform:
    """Until it runs."""
    platform = world.adapter()
    world.apply(platform, plan)
    world.arrive(platform)
    return platform


def test_a_variant_comes_before_requests_move(world: World) -> None:
    """Its predictor is added at the end without traffic; only when its three replicas serve it does it get its share;
    what the other predictor has is left as it is.
    """
    pods = set(world.pods.serving)
    platform = world.adapter()
    world.pods.hold()
    world.apply(platform, BOTH)
    world.tick(platform, 5)
    assert traffic(world) == {"light": 100, "heavy": 0}
    assert replicas(world) == {"light": 1, "heavy": 3}
    assert world.events("NotDeployed") == []
    world.pods.release()
    world.arrive(platform)
    assert traffic(world) == {"light": 67, "heavy": 33}
    assert serving(world) == {("light", "light"), ("heavy", "heavy")}
    assert pods <= set(world.pods.serving)
    assert problems(world.document()) == []
    assert world.adapter().observe(world.now).plan == BOTH


def test_a_variant_goes_after_requests_have_moved_and_ended(world: World) -> None:
    """The traffic first; replicas and the predictor DRAIN seconds later; the predictor that somebody else made stays,
    without traffic and with one replica.
    """
    apply(world, set_plan(light=(0.5, 2), heavy=(0.5, 3)))
    platform = world.adapter()
    world.apply(platform, set_plan(heavy=(1.0, 1)))
    moved = world.now
    while world.now - moved < DRAIN - 2:
        assert replicas(world) == {"light": 2, "heavy": 3}
        world.tick(platform)
    assert traffic(world) == {"light": 0, "heavy": 100}
    world.arrive(platform)
    assert traffic(world) == {"light": 0, "heavy": 100}
    assert replicas(world) == {"light": 1, "heavy": 1}
    apply(world, LIGHT)
    assert traffic(world) == {"light": 100}
    assert replicas(world) == {"light": 1}
    assert {predictor for predictor, _ in serving(world)} == {"light"}


def test_cores_and_shares_change_without_a_new_pod(world: World) -> None:
    """Pods are resized in place, the traffic is patched; the same pods serve."""
    apply(world, BOTH)
    pods = set(world.pods.serving)
    apply(world, set_plan(light=(0.2, 1, 2), heavy=(0.8, 3, 4)))
    assert traffic(world) == {"light": 20, "heavy": 80}
    assert set(world.pods.serving) == pods
    assert {(plan.variant, plan.cores) for plan in world.pods.serving.values() if plan} == {("light", 2), ("heavy", 4)}


def test_a_variant_that_does_not_come_up_gets_no_request(world: World) -> None:
    """After its patience the set before is back, and the predictor that was added for it is gone."""
    platform = apply(world, LIGHT)
    world.pods.hold()
    world.apply(platform, BOTH)
    for _ in range(60):
        world.tick(platform)
        assert traffic(world)["light"] == 100 or traffic(world) == {"light": None}
    assert len(world.events("Reverted")) == 1
    world.pods.release()
    world.arrive(platform)
    assert traffic(world) == {"light": 100}
    assert replicas(world) == {"light": 1}


def test_somebodys_traffic_is_adopted(world: World) -> None:
    """As with `kubectl edit`: the shares become the plan; they are not moved back."""
    platform = apply(world, BOTH)
    graph = world.document()
    for predictor in graph["spec"]["predictors"]:
        predictor["traffic"] = 50
    world.cluster.update(SELDON_DEPLOYMENTS, "toy", graph)
    world.tick(platform, 3)
    assert traffic(world) == {"light": 50, "heavy": 50}
    (event,) = world.events("Edited")
    assert "traffic was changed from {'light': 67, 'heavy': 33} to {'light': 50, 'heavy': 50}" in event["message"]
    assert platform.observe(world.now).plan == set_plan(light=(0.5, 1), heavy=(0.5, 3))


def test_an_adapter_killed_anywhere_leaves_no_half_set(world: World) -> None:
    """From either set to the other, the adapter replaced at every step: it arrives, and the traffic always sums to 100
    over predictors that have pods.
    """
    for plan in (BOTH, LIGHT, BOTH):
        world.apply(world.adapter(), plan)
        for _ in range(40):
            platform = world.adapter()
            world.tick(platform)
            shares = traffic(world)
            assert len(shares) == 1 or sum(share or 0 for share in shares.values()) == 100
            assert all(replicas(world)[name] for name, share in shares.items() if share)
        assert not platform.waiting
        assert platform.observe(world.now).plan == plan


def test_a_share_below_a_per_cent_moves_nothing(world: World) -> None:
    """Seldon Core gives whole per cent: the plan is what it can give, and one that rounds to the same is no change."""
    platform = apply(world, set_plan(light=(2 / 3, 1), heavy=(1 / 3, 3)))
    assert platform.observe(world.now).plan == BOTH
    before = world.written.copy()
    world.calls.clear()
    platform.apply(set_plan(light=(0.672, 1), heavy=(0.328, 3)))
    assert (world.written, "configmaps" in before) == (set(), True)


def test_variants_without_a_profile_are_known(world: World) -> None:
    """A set is planned by capacities, on any number of cores, one request at a time; where only a profile tells, it is
    known on the cores of that. A variant that the file does not name is none of it.
    """
    (stage,) = world.pipeline.stages

    def none(cores: int, batch: int) -> float:
        raise KeyError(cores, batch)

    def with_variants(**changes: Any) -> Pipeline:
        variants = tuple(replace(variant, latency=none, **changes) for variant in stage.variants)
        return replace(world.pipeline, stages=(replace(stage, variants=variants),))

    by_capacity, by_profile = with_variants(cores=(), core_rate=10.0), with_variants()
    assert known(by_capacity, set_plan(light=(1.0, 1, 7)))
    assert not known(by_capacity, {"double": (Allocation("light", 1, 7, 2),)})
    assert known(by_profile, set_plan(light=(1.0, 1, 4)))
    assert not known(by_profile, set_plan(light=(1.0, 1, 7)))
    assert not known(by_capacity, set_plan(gone=(1.0, 1)))


def test_sets_are_for_one_stage(world: World, place: Place) -> None:
    """A set where the graph has one predictor is refused in a line, and a recommended one is told with its shares."""
    with world_of(door(place.kubeconfig, place.namespace), place.kubeconfig, "other") as plain:
        plain.deploy()
        platform = plain.adapter()
        wanted = {**BOTH, "increment": toy_plan(("light", 1))["increment"]}
        with pytest.raises(PlatformError, match="stage 'double' has 2 allocations; a pod runs exactly one"):
            platform.apply(wanted)
    refused = world.adapter(acts=False)
    with pytest.raises(RefusedError, match=r"only recommended: double light x1 .*67%.* \+ heavy x3"):
        refused.apply(BOTH)
