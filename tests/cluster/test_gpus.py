"""Variants on GPUs on a cluster: pods that have one take the place of those that have none, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.platforms.seldon.platform import SeldonPlatform
from ipa_seldon.specs.observed import is_ready
from ipa_seldon.specs.seldon_operator import problems
from tests.cluster.conftest import Place
from tests.cluster.world import SECONDS, START, World, door, toy_pipeline, world_of

QUICK = 10
"""Times what the light variant serves: on a GPU."""


def pipeline_with_gpus(name: str = "toy") -> Pipeline:
    """The toy pipeline whose first stage has a third variant, on a GPU."""
    plain = toy_pipeline(name)
    double, increment = plain.stages
    light = double.variant("light")
    quick = replace(
        light,
        name="quick",
        version=3,
        gpus=1,
        latency=lambda cores, batch: light.latency(cores, batch) / QUICK,
        throughput=lambda cores, batch: light.throughput(cores, batch) * QUICK,
    )
    return replace(plain, stages=(replace(double, variants=(*double.variants, quick)), increment), gpus=1)


def plan(variant: str, replicas: int, cores: int = 1) -> Plan:
    """Of the first stage; the second runs what it does from the beginning."""
    gpus = 1 if variant == "quick" else 0
    return {**START, "double": (Allocation(variant, replicas, cores, 1, gpus=gpus),)}


@pytest.fixture
def world(place: Place) -> Iterator[World]:
    """A pipeline that has come up on a node with one GPU: two pods of ``double``, one of ``increment``, all light."""
    with world_of(door(place.kubeconfig, place.namespace), place.kubeconfig) as made:
        made.pipeline = pipeline_with_gpus()
        made.kubelet.gpus = 1
        made.deploy()
        yield made


def pods(world: World) -> list[tuple[str, str | None, str]]:
    """Variant, GPUs and cores of every pod of ``double`` that is ready."""
    found = []
    for pod in world.pod_documents("double"):
        name, limits = pod["metadata"]["name"], pod["spec"]["containers"][0]["resources"]["limits"]
        if is_ready(pod) and world.pods.report(name)["running"]:
            serving = world.pods.serving[name]
            assert serving is not None
            assert serving.gpus == int(limits.get("nvidia.com/gpu", 0)), (serving, limits)
            found.append((serving.variant, limits.get("nvidia.com/gpu"), limits["cpu"]))
    return found


def served(world: World) -> float:
    """Requests/s that the pods of ``double`` take."""
    rates = {"light": 1 / SECONDS["light"], "heavy": 1 / SECONDS["heavy"], "quick": QUICK / SECONDS["light"]}
    return sum(rates[variant] * int(cores) for variant, _, cores in pods(world))


def arrive(world: World, platform: SeldonPlatform, least: float) -> None:
    """Until the plan under way runs; ``least`` requests/s are taken all the time. A pod takes longer to start than an
    adapter to look again.
    """
    for _ in range(40):
        world.pods.hold()
        world.tick(platform)
        world.pods.release()
        world.run_cluster(1)
        assert served(world) >= least
        if not platform.waiting:
            return
    raise AssertionError(f"not arrived: {platform.waiting} {platform.refusal} {world.said}")


def test_one_pod_on_a_gpu_takes_the_place_of_three_without(world: World) -> None:
    """And three that of the one, on a node with a single GPU: what serves always takes the lesser of what both do, pods
    have the GPUs of the variant that they serve, an Event says that they are replaced, and nothing is taken back. An
    adapter that takes over midway goes on.
    """
    platform = world.adapter()
    world.apply(platform, plan("light", 3))
    arrive(world, platform, 200.0)
    world.apply(platform, plan("quick", 1, 2))
    world.tick(platform)
    assert platform.waiting["double"]
    arrive(world, world.adapter(), 300.0)
    assert pods(world) == [("quick", "1", "2")]
    assert len(world.events("RollingForGpus")) == 1
    assert world.adapter().observe(world.now).plan == plan("quick", 1, 2)
    platform = world.adapter()
    world.apply(platform, plan("light", 3))
    arrive(world, platform, 300.0)
    assert pods(world) == [("light", None, "1")] * 3
    assert (len(world.events("RollingForGpus")), world.events("Reverted")) == (2, [])


def test_a_gpu_that_is_not_there_takes_the_plan_back(world: World) -> None:
    """What ran serves on, and is the plan again after the time that a plan has; the other one is not tried at once."""
    world.kubelet.gpus = 0
    platform = world.adapter()
    world.apply(platform, plan("quick", 1))
    for _ in range(55):
        world.tick(platform)
        assert served(world) >= 200.0
    (event,) = world.events("Reverted")
    assert "double quick x1 (1 core, 1 GPU, batch 1)" in event["message"]
    arrive(world, platform, 200.0)
    assert pods(world) == [("light", None, "1")] * 2
    assert platform.observe(world.now).plan == START


@pytest.fixture
def set_world(place: Place) -> Iterator[World]:
    """The first stage alone, a predictor for each variant that it runs, of which there is none yet."""
    with world_of(door(place.kubeconfig, place.namespace), place.kubeconfig) as made:
        whole = pipeline_with_gpus()
        made.pipeline = replace(whole, stages=whole.stages[:1], edges=())
        made.options = replace(made.options, predictor=None)
        made.kubelet.gpus = 1
        yield made


def test_each_variant_of_a_set_has_pods_of_its_own(set_world: World) -> None:
    """On a predictor with its GPUs, which is made of one without, and the other way round."""
    world = set_world
    wanted: list[Plan] = [{"double": plan(name, 1)["double"]} for name in ("light", "quick", "heavy")]
    world.create(wanted[0])
    for one, gpus in zip(wanted, (None, "1", None), strict=True):
        platform = world.adapter()
        world.apply(platform, one)
        world.arrive(platform)
        assert problems(world.document()) == []
        variant = one["double"][0].variant
        predictor = world.document()["spec"]["predictors"][-1]
        assert predictor["name"] == variant
        triton, sidecar = predictor["componentSpecs"][0]["spec"]["containers"]
        assert triton["resources"]["limits"].get("nvidia.com/gpu") == gpus
        assert sidecar["args"][-2:] == ["--entry", f"{variant}.1" if gpus else variant]
        assert world.adapter().observe(world.now).plan == one
