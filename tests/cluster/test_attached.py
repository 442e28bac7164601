"""A graph that was attached is adapted as one that render wrote, through the API alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ipa_seldon.cluster.api import CONFIG_MAPS, DEPLOYMENTS, SELDON_DEPLOYMENTS
from ipa_seldon.specs.seldon import plan_config_map
from ipa_seldon.specs.seldon_attach import attached, detached, is_edited
from tests.cluster.world import SETTINGS, START, World, door, toy_plan, world_of
from tests.specs.graphs import plain_graph


@pytest.fixture
def world(kubeconfig: Path) -> Iterator[World]:
    """A cluster with nothing on it."""
    with world_of(door(kubeconfig), kubeconfig) as made:
        yield made


def test_an_attached_graph_is_adapted_and_goes_back(world: World) -> None:
    """Both Tritons in one pod, three of it: attached, a plan arrives; detached, the three are back."""
    graph = plain_graph(world.pipeline, shape="one")
    graph["metadata"] = {"name": world.graph}
    graph["spec"]["predictors"] = graph["spec"]["predictors"][:1]
    graph["spec"]["predictors"][0] |= {
        "replicas": 3,
        "componentSpecs": [{"spec": {"containers": [{"name": "double"}, {"name": "increment"}]}}],
    }
    before = world.cluster.create(SELDON_DEPLOYMENTS, graph)
    world.operator.step()
    world.cluster.create(CONFIG_MAPS, plan_config_map(world.pipeline, START))
    world.cluster.update(SELDON_DEPLOYMENTS, world.graph, attached(world.document(), world.pipeline, START, SETTINGS))
    world.run_cluster()

    platform = world.adapter()
    world.apply(platform, toy_plan(("heavy", 3, 2, 4), ("light", 2)))
    world.arrive(platform)
    assert world.running() == {"double": ("heavy", 3, 2, 4), "increment": ("light", 2, 1, 1)}

    there = world.document()
    assert not is_edited(there)
    world.cluster.update(SELDON_DEPLOYMENTS, world.graph, detached(there))
    world.operator.step()
    assert world.document()["spec"] == before["spec"]
    (deployment,) = world.cluster.list(DEPLOYMENTS)
    assert deployment["spec"]["replicas"] == 3
