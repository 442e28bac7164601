"""The roles that are shipped allow what is done, and nothing else."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import yaml

from ipa_seldon.adapter.sources import config_maps
from ipa_seldon.cluster.lease import Lease
from ipa_seldon.cluster.watched import WatchedDocument
from ipa_seldon.errors import RefusedError
from ipa_seldon.specs.observed import PAUSED
from tests.cluster.emulator import Emulator
from tests.cluster.world import START, World, door, toy_plan, world_of
from tests.waiting import wait_for

ROLES = Path(__file__).parents[2] / "manifests" / "adapter" / "base" / "role.yaml"
Rights = set[tuple[str, str, str]]


def shipped(name: str) -> Rights:
    """(group, resource, verb) that a role in the manifests allows."""
    (role,) = (r for r in yaml.safe_load_all(ROLES.read_text()) if r["metadata"]["name"] == name)
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(emulator: Emulator) -> Rights:
    """What was asked of the API server."""
    return {(call.group, call.resource, call.verb) for call in emulator.calls}


def do_everything(world: World, emulator: Emulator) -> None:
    """All that an adapter can come to do."""
    world.deploy()
    emulator.clear_calls()
    list(config_maps(world.cluster)())
    lease = Lease(world.cluster, "adapter", "me")
    for _ in range(2):
        lease.round()
    lease.release()
    platform = world.adapter()
    for resizable in (True, False):
        emulator.resize_supported = resizable
        for plan in (toy_plan(("heavy", 3, 2)), START):
            world.apply(platform, plan)
            world.arrive(platform, 60)
    world.annotate(PAUSED, "")
    with pytest.raises(RefusedError):
        world.apply(platform, toy_plan(("heavy", 1)))
    world.annotate(PAUSED, None)
    # A pod that is gone between two calls is looked up by its name.
    emulator.resize_supported = True
    emulator.fail(1, resource="pods/resize", code=404)
    world.apply(platform, toy_plan(("light", 2, 4)))


def test_the_adapter_needs_what_its_role_has(emulator: Emulator, kubeconfig: Path) -> None:
    """From the calls really made: no permission is lacking, none is given that is not used. The plan ConfigMap of a
    graph that has none is made.
    """
    own = Emulator()
    emulator.register("keda.sh", "v1alpha1", "scaledobjects")
    with world_of(door(kubeconfig), kubeconfig) as world:
        do_everything(world, emulator)
        calls = used(emulator)
    with own, world_of(door(own.kubeconfig(kubeconfig.with_name("other"))), kubeconfig.with_name("other")) as world:
        world.deploy()
        world.delete_plan()
        own.clear_calls()
        world.apply(world.adapter(), START)
        calls |= used(own)
    assert calls == shipped("ipa-seldon-adapter")


def test_a_sidecar_needs_what_its_role_has(emulator: Emulator, kubeconfig: Path) -> None:
    """It reads and watches its plan, and writes nothing."""
    document = WatchedDocument(door(kubeconfig), "toy-plan", "plan.json", lambda _: None)
    stopping = threading.Event()
    thread = threading.Thread(target=document.run, args=(stopping,), daemon=True)
    thread.start()
    wait_for(lambda: any(call.verb == "watch" for call in emulator.calls), 10)
    stopping.set()
    emulator.cut_watches()
    thread.join(10)
    assert used(emulator) == shipped("ipa-seldon-sidecar")
