"""The graph with bridges is one that Seldon's operator runs, over a stage that there is."""

from __future__ import annotations

from typing import Any

import pytest

from ipa_seldon import __version__
from ipa_seldon.bridge.settings import Settings, read_settings
from ipa_seldon.config import read_config
from ipa_seldon.specs.seldon_operator import containers, nodes, predictor_service_name, problems
from tests.manifests.documents import BRIDGE, MANIFESTS, built, only

OF_PARAMETERS = {"STRING": str, "FLOAT": float}
ADAPTED = "recognise-sponge"


@pytest.fixture
def predictor() -> dict[str, Any]:
    """The only one of the graph ``read``."""
    (found,) = only(built(BRIDGE), "SeldonDeployment")["spec"]["predictors"]
    made: dict[str, Any] = found
    return made


def settings(predictor: dict[str, Any], name: str) -> Settings:
    """As the bridge of a node reads its parameters."""
    (node,) = (node for node in nodes(predictor["graph"]) if node["name"] == name)
    return read_settings({p["name"]: OF_PARAMETERS[p["type"]](p["value"]) for p in node["parameters"]})


def test_the_operator_runs_it_as_it_reads() -> None:
    """No problem by the operator's rules."""
    assert problems(only(built(BRIDGE), "SeldonDeployment")) == []


def test_bridges_ask_for_stages_that_there_are(predictor: dict[str, Any]) -> None:
    """One by the executor of a pipeline of this repository, one by the Triton in its pod, which loads it."""
    config = read_config(MANIFESTS / "pipelines" / ADAPTED / "pipeline.yaml")
    assert config.spec.seldon is not None
    host = predictor_service_name(config.name, str(config.spec.seldon.predictor))
    adapted, fixed = settings(predictor, "adapted"), settings(predictor, "fixed")
    assert adapted.url == f"http://{host}:8000"
    assert {adapted.stage, fixed.stage} == set(config.spec.stages)
    (triton,) = (c for s in predictor["componentSpecs"] for c in containers(s) if c["name"] == "triton")
    ports = {port["name"]: port["containerPort"] for port in triton["ports"]}
    assert fixed.url == f"http://localhost:{ports['http']}"
    assert f"--load-model={fixed.stage}" in triton["args"]
    assert triton["image"] == config.spec.seldon.triton_image


def test_nodes_run_this_version(predictor: dict[str, Any]) -> None:
    """Each node has a container with the image of the bridge, which is ready when its stage is; what the router mounts
    is generated.
    """
    placed = {c["name"]: c for component in predictor["componentSpecs"] for c in containers(component)}
    units = {node["name"]: node["type"] for node in nodes(predictor["graph"])}
    for name, kind in units.items():
        assert placed[name]["image"] == f"ipa-seldon-bridge:{__version__}"
        ready = placed[name]["readinessProbe"]["httpGet"]["path"]
        assert ready == ("/health/status" if kind == "MODEL" else "/health/ping")
    (volume,) = (v for s in predictor["componentSpecs"] for v in s["spec"]["volumes"] if "configMap" in v)
    assert "by_tag.py" in only(built(BRIDGE), "ConfigMap", volume["configMap"]["name"])["data"]
