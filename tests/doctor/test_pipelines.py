"""What is found of a pipeline on the cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ipa_seldon.cluster.api import AUTOSCALERS, CONFIG_MAPS, DEPLOYMENTS, SCALED_OBJECTS, SELDON_DEPLOYMENTS
from ipa_seldon.doctor.findings import Status
from ipa_seldon.specs.desired import KEY
from ipa_seldon.specs.observed import PAUSED
from ipa_seldon.specs.seldon import PIPELINE_FILE
from ipa_seldon.specs.seldon_operator import SEPARATE_ENGINE
from tests.doctor.conftest import VideoWorld
from tests.test_config import document, write


def predictor(graph: dict[str, Any]) -> dict[str, Any]:
    """A SeldonDeployment's one predictor."""
    found: dict[str, Any] = graph["spec"]["predictors"][0]
    return found


def test_pipelines_of_the_namespace(world: VideoWorld) -> None:
    """Without files those of the ConfigMaps; files, where they are named, instead."""
    assert world.examined()["pipeline"].message == "video: video-pipeline can be read"
    assert world.examined("-f", str(world.file))["pipeline"].message == f"video: {world.file} can be read"
    other = world.examined("--namespace", "other")
    assert other["pipeline"].status is Status.WARN
    assert "'other'" in other["pipeline"].message
    assert "deployed" not in other
    assert other.code == 0


def test_a_file_that_cannot_be_used(world: VideoWorld, tmp_path: Path) -> None:
    """What is wrong by file and key; the next file is looked at all the same."""
    (tmp_path / "plain").mkdir()
    plain = write(tmp_path / "plain", document())
    found = world.examined("-f", str(plain), "-f", str(tmp_path / "absent"), "-f", str(world.file))
    messages = [finding.message for finding in found.findings if finding.check == "pipeline"]
    assert messages[0] == f"{plain}: spec.seldon: missing; accepted: at least model_uri"
    assert messages[1] == f"{tmp_path / 'absent'}: cannot be read: No such file or directory"
    assert found["pods"].status is Status.OK


def test_a_config_map_that_cannot_be_used(world: VideoWorld) -> None:
    """By its name and key."""
    world.cluster.patch(CONFIG_MAPS, "video-pipeline", {"data": {PIPELINE_FILE: "kind: Pipeline\nspec: {}\n"}})
    found = world.examined()
    assert found.failed() == ["pipeline"]
    assert found["pipeline"].message.startswith("ConfigMap video-pipeline: pipeline.yaml: ")


def test_a_pipeline_that_is_not_deployed(world: VideoWorld) -> None:
    """One finding with the command that deploys it; nothing else is asked of it."""
    world.delete(SELDON_DEPLOYMENTS, "video")
    found = world.examined()
    assert found.failed() == ["deployed"]
    assert found["deployed"].message == "video: no SeldonDeployment 'video' in namespace 'default'"
    assert "ipa-seldon render" in found["deployed"].remedy
    assert "pods" not in found


def test_a_pipeline_that_cannot_be_read(world: VideoWorld) -> None:
    """A refusal is told as one, not as an absence."""
    world.emulator.fail(verb="get", resource="seldondeployments", code=403)
    found = world.examined()
    assert found.failed() == ["deployed"]
    assert "403" in found["deployed"].message
    assert "kubectl apply -k manifests/adapter/base" in found["deployed"].remedy


def without_engine(graph: dict[str, Any]) -> None:
    graph["spec"]["annotations"] = {}


def without_sidecar(graph: dict[str, Any]) -> None:
    predictor(graph)["componentSpecs"][0]["spec"]["containers"].pop()


def with_another_predictor(graph: dict[str, Any]) -> None:
    predictor(graph)["name"] = "main"


def without_a_component(graph: dict[str, Any]) -> None:
    predictor(graph)["componentSpecs"].pop()


def with_half_the_traffic(graph: dict[str, Any]) -> None:
    predictor(graph)["traffic"] = 50


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_engine, f"spec.annotations: no {SEPARATE_ENGINE}: 'true'"),
        (without_sidecar, "predictor 'default': no container 'ipa-sidecar' beside 'crop'"),
        (with_another_predictor, "spec.predictors: no 'default'"),
        (without_a_component, "predictor 'default': no componentSpec with a container 'classification'"),
        (with_half_the_traffic, "spec.predictors: traffic sums to 50: accepted: 100"),
    ],
)
def test_a_graph_that_is_not_attached(world: VideoWorld, spoil: Callable[[dict[str, Any]], None], words: str) -> None:
    """What it lacks, by its key, and the command that writes it."""
    world.change(SELDON_DEPLOYMENTS, "video", spoil)
    found = world.examined()["attached"]
    assert found.status is Status.FAIL
    assert found.message.startswith("video: SeldonDeployment video: ")
    assert words in found.message
    assert found.remedy == "ipa-seldon attach sdep/video -f pipeline.yaml --namespace default"


def test_a_pause_is_a_warning(world: VideoWorld) -> None:
    """Somebody wants it so; the command that ends it."""
    world.cluster.patch(SELDON_DEPLOYMENTS, "video", {"metadata": {"annotations": {PAUSED: "a test"}}})
    found = world.examined()
    assert found["changeable"].status is Status.WARN
    assert "Paused: annotation ipa.seldon.io/paused: a test" in found["changeable"].message
    assert found["changeable"].remedy == "kubectl -n default annotate sdep video ipa.seldon.io/paused-"
    assert found.code == 0


def test_replicas_in_the_spec_are_a_failure(world: VideoWorld) -> None:
    """They would undo every change of scale."""
    world.change(SELDON_DEPLOYMENTS, "video", lambda graph: predictor(graph).update(replicas=2))
    found = world.examined()["changeable"]
    assert found.status is Status.FAIL
    assert "ReplicasInSpec: spec.predictors[0].replicas" in found.message


def test_no_deployments_are_a_failure(world: VideoWorld) -> None:
    """The operator has made none."""
    world.delete(DEPLOYMENTS, world.name("crop"))
    found = world.examined()["changeable"]
    assert found.status is Status.FAIL
    assert "NotDeployed: no Deployment yet for crop" in found.message


def test_no_replicas_are_a_warning(world: VideoWorld) -> None:
    """Scaled to zero by somebody; its missing pods are not another trouble."""
    world.cluster.patch(DEPLOYMENTS, world.name("crop"), {"spec": {"replicas": 0}}, "scale")
    world.run_cluster()
    found = world.examined()
    assert found["changeable"].status is Status.WARN
    assert "ScaledToZero: crop" in found["changeable"].message
    assert found.code == 0


def test_a_rollout_is_a_warning(world: VideoWorld) -> None:
    """It passes."""
    status = {"replicas": 2, "updatedReplicas": 1}
    world.cluster.patch(DEPLOYMENTS, world.name("crop"), {"status": status}, "status")
    found = world.examined()["changeable"]
    assert found.status is Status.WARN
    assert "Rolling: the pods of crop" in found.message


def test_other_autoscalers_are_failures(world: VideoWorld) -> None:
    """Kubernetes' own, and KEDA's; the command that removes it. One of something else's is none."""
    target = {"kind": "Deployment", "name": world.name("crop")}
    world.cluster.create(
        AUTOSCALERS,
        {"metadata": {"name": "other"}, "spec": {"scaleTargetRef": {**target, "name": "web"}}},
    )
    assert world.examined()["autoscaler"].status is Status.OK
    world.cluster.create(AUTOSCALERS, {"metadata": {"name": "hpa"}, "spec": {"scaleTargetRef": target}})
    found = world.examined()["autoscaler"]
    assert found.status is Status.FAIL
    assert found.remedy == "kubectl -n default delete horizontalpodautoscaler hpa"
    world.delete(AUTOSCALERS, "hpa")
    world.emulator.register("keda.sh", "v1alpha1", "scaledobjects")
    world.cluster.create(SCALED_OBJECTS, {"metadata": {"name": "keda"}, "spec": {"scaleTargetRef": target}})
    found = world.examined()["autoscaler"]
    assert found.status is Status.FAIL
    assert found.remedy == "kubectl -n default delete scaledobject keda"


def test_no_plan_is_a_failure(world: VideoWorld) -> None:
    """Pods mount it."""
    world.delete(CONFIG_MAPS, "video-plan")
    found = world.examined()["plan"]
    assert (found.status, found.message) == (
        Status.FAIL,
        "video: no ConfigMap video-plan: its pods cannot start without",
    )


def test_a_spoilt_plan_is_a_warning(world: VideoWorld) -> None:
    """Pods serve on; which stages it says nothing of."""
    world.cluster.patch(CONFIG_MAPS, "video-plan", {"data": {KEY: "{}"}})
    world.pods.reports = {
        world.pod(stage): {"wanted": None, "running": None, "error": ""} for stage in ("crop", "classification")
    }
    found = world.examined()
    assert found["plan"].status is Status.WARN
    assert "says nothing of crop, classification" in found["plan"].message
    assert found.code == 0
