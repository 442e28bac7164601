"""What Seldon's operator will compute is predicted, and what it would refuse or break is named."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import pytest

from ipa_seldon.specs.seldon_operator import (
    SEPARATE_ENGINE,
    Endpoint,
    deployment_name,
    endpoints,
    node_service_name,
    predictor_service_name,
    problems,
)


def chain(*names: str, kind: str = "TRITON_SERVER") -> dict[str, Any]:
    """A graph in which every node is its predecessor's child."""
    graph: dict[str, Any] = {}
    for name in reversed(names):
        graph = {
            "name": name,
            "implementation": kind,
            "modelUri": "gs://b/m",
            **({"children": [graph]} if graph else {}),
        }
    return graph


def component(*names: str, **ports: int) -> dict[str, Any]:
    """A component of those containers, each with the ports given."""
    stated = [{"name": name, "containerPort": number} for name, number in ports.items()]
    return {"spec": {"containers": [{"name": name, **({"ports": stated} if stated else {})} for name in names]}}


def document(separate: bool = True) -> dict[str, Any]:
    """A sound graph of two Tritons in a pod each, with a sidecar beside either."""
    predictor = {
        "name": "default",
        "graph": chain("detect", "recognise"),
        "componentSpecs": [component("detect", "ipa-sidecar"), component("recognise", "ipa-sidecar")],
    }
    annotations = {SEPARATE_ENGINE: "true"} if separate else {}
    return {
        "metadata": {"name": "text", "namespace": "vision"},
        "spec": {"protocol": "v2", "annotations": annotations, "predictors": [predictor]},
    }


def test_names_are_joined() -> None:
    """Deployments are named after graph, predictor, index and containers; Services after graph, predictor, node."""
    assert deployment_name("text", "default", 1, component("recognise", "ipa-sidecar")) == (
        "text-default-1-recognise-ipa-sidecar"
    )
    named = {"metadata": {"name": "ocr"}, **component("recognise")}
    assert deployment_name("text", "default", 0, named) == "text-default-0-ocr"
    assert node_service_name("text", "default", "detect") == "text-default-detect"
    assert predictor_service_name("text", "default") == "text-default"


@pytest.mark.parametrize("length", [63, 64])
def test_a_name_over_63_characters_becomes_its_md5(length: int) -> None:
    """Up to 63 characters a name stays, above it is seldon- and the MD5 of the whole name."""
    graph = "g" * (length - len("-default"))
    full = f"{graph}-default"
    hashed = "seldon-" + hashlib.md5(full.encode(), usedforsecurity=False).hexdigest()
    assert predictor_service_name(graph, "default") == (full if length == 63 else hashed)
    assert deployment_name("g" * 60, "p", 0, component("n")) == "seldon-df061e2665e2620df96f6ca6247de7b2"


def test_ports_count_up_over_containers() -> None:
    """Each container's name takes the next number once, sidecars included; the hosts are the nodes' Services."""
    assert endpoints(document()) == {
        ("default", "detect"): Endpoint("text-default-detect.vision.svc.cluster.local.", 9000, 9500),
        ("default", "recognise"): Endpoint("text-default-recognise.vision.svc.cluster.local.", 9002, 9502),
    }


def test_stated_ports_are_kept() -> None:
    """A container with ports named http and grpc is called there, whatever its place."""
    made = document()
    made["spec"]["predictors"][0]["componentSpecs"][1] = component("recognise", http=9000, grpc=9500)
    found = endpoints(made)["default", "recognise"]
    assert (found.http, found.grpc) == (9000, 9500)


def test_ports_go_on_over_predictors() -> None:
    """A second predictor of other nodes continues the count; one of the same nodes shares their ports."""
    made = document()
    other = copy.deepcopy(made["spec"]["predictors"][0])
    other.update(name="canary", graph=chain("detect", "read"))
    other["componentSpecs"][1] = component("read")
    made["spec"]["predictors"].append(other)
    found = endpoints(made)
    assert found["canary", "detect"].http == found["default", "detect"].http == 9000
    assert found["canary", "read"].http == 9003


def test_without_an_executor_of_its_own_every_triton_is_sought_on_localhost() -> None:
    """The trap of separate pods: without the annotation the second stage's host is localhost, and that is a problem;
    a container of one's own in a later component is found by its Service.
    """
    made = document(separate=False)
    assert {endpoint.host for endpoint in endpoints(made).values()} == {"localhost"}
    (problem,) = problems(made)
    assert "'recognise'" in problem
    assert SEPARATE_ENGINE in problem
    made["spec"]["predictors"][0]["graph"] = {"name": "detect", "type": "MODEL", "children": [{"name": "recognise"}]}
    assert [endpoint.host for endpoint in endpoints(made).values()] == [
        "localhost",
        "text-default-recognise.vision.svc.cluster.local.",
    ]
    assert problems(made) == []


def test_a_triton_without_a_component_joins_the_first_pod() -> None:
    """Its port is counted after those of the components."""
    made = document(separate=False)
    made["spec"]["predictors"][0]["componentSpecs"] = [component("detect")]
    assert endpoints(made)["default", "recognise"] == Endpoint("localhost", 9001, 9501)
    assert problems(made) == []


def _twice(made: dict[str, Any], **traffic: int | None) -> None:
    first = made["spec"]["predictors"][0]
    made["spec"]["predictors"] = [
        {**copy.deepcopy(first), "name": name, **({} if share is None else {"traffic": share})}
        for name, share in traffic.items()
    ]


def _graph(made: dict[str, Any], *names: str) -> None:
    predictor = made["spec"]["predictors"][0]
    predictor["graph"] = chain(*names)
    predictor["componentSpecs"] = [component(name) for name in names]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda made: made["spec"].update(protocol="v3"), "spec.protocol: 'v3': accepted: seldon, tensorflow"),
        (lambda made: made["spec"].update(transport="udp"), "spec.transport: 'udp': accepted: rest, grpc"),
        (lambda made: made["spec"].update(predictors=[]), "spec.predictors: accepted: at least one"),
        (lambda made: _twice(made, a=60, b=30), "traffic sums to 90: accepted: 100"),
        (lambda made: _twice(made, a=None, b=None), "traffic sums to 0: accepted: 100"),
        (lambda made: _twice(made, a=50), "traffic sums to 50: accepted: 100"),
        (lambda made: made["spec"]["predictors"].append({**made["spec"]["predictors"][0], "traffic": 100}), "twice"),
        (lambda made: made["spec"]["predictors"][0].update(shadow=True), "a shadow beside another predictor"),
        (lambda made: made["spec"]["predictors"][0]["graph"].pop("modelUri"), "node 'detect': modelUri: missing"),
        (lambda made: made["spec"]["predictors"][0].update(graph=chain("x", kind="")), "no container of that name"),
        (lambda made: _graph(made, "Detect"), "node 'Detect': accepted: a DNS-1123 label"),
        (lambda made: _graph(made, "a" * 64), "accepted: a DNS-1123 label"),
        (lambda made: _graph(made, "a", "b", "a"), "node 'a' appears twice"),
        (lambda made: _graph(made, *(f"n{index}" for index in range(11))), "nested deeper than 10"),
    ],
)
def test_what_the_operator_refuses_is_named(change: Any, words: str) -> None:
    """Each rule alone: the sound graph has no problem, the changed one exactly that."""
    made = document()
    assert problems(made) == []
    change(made)
    found = problems(made)
    assert len(found) == 1, found
    assert words in found[0]


def test_shares_that_sum_to_100_are_sound() -> None:
    """Two predictors that share the load, and one that takes all of it."""
    made = document()
    _twice(made, a=60, b=40)
    assert problems(made) == []
    _twice(made, a=100)
    assert problems(made) == []
    _graph(made, *(f"n{index}" for index in range(10)))
    assert problems(made) == []
