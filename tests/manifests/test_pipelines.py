"""The pipelines' documents are ones that Seldon's operator runs as they read, and name what these manifests provide."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipa_seldon import __version__
from ipa_seldon.config import read_config, read_profiles
from ipa_seldon.schema import SeldonSpec
from ipa_seldon.specs.desired import SIDECAR
from ipa_seldon.specs.seldon_operator import containers, nodes, problems
from tests.manifests.documents import MANIFESTS, PIPELINES, ROOT, only, read
from tests.test_published_pipelines import profiles

FOLDER = MANIFESTS / "pipelines"
IMAGES = dict.fromkeys(("audio-qa", "audio-sent", "sum-qa", "nlp"), "ipa-seldon-triton-models:24.10")
DEMO = {"text": "text", "recognise": "text", "recognise-sponge": "text"}
"""The demo's pipelines, and the folder of the claim that holds their models."""


@pytest.fixture(params=PIPELINES, ids=lambda path: path.name)
def pipeline(request: pytest.FixtureRequest) -> Path:
    """Each pipeline's folder in turn."""
    folder: Path = request.param
    return folder


def test_all_published_pipelines_are_here() -> None:
    """IPA's five, InfAdapter's, Sponge's, and the demo's three, which share their models."""
    assert {path.name for path in PIPELINES} == {*profiles.PIPELINES, "resnet", "yolo-sponge", *DEMO}


def test_the_operator_runs_it_as_it_reads(pipeline: Path) -> None:
    """No problem by the operator's rules; the folder's name is the pipeline's."""
    deployment = only(read(pipeline / "seldondeployment.yaml"), "SeldonDeployment")
    assert problems(deployment) == []
    assert deployment["metadata"]["name"] == pipeline.name


def test_models_are_on_the_claim(pipeline: Path) -> None:
    """Every node's model is in the pipeline's folder of the claim, which the pod for filling mounts too."""
    claim = only(read(FOLDER / "models-pvc.yaml"), "PersistentVolumeClaim")["metadata"]["name"]
    (predictor,) = only(read(pipeline / "seldondeployment.yaml"), "SeldonDeployment")["spec"]["predictors"]
    assert {node["modelUri"] for node in nodes(predictor["graph"])} == {
        f"pvc://{claim}/{DEMO.get(pipeline.name, pipeline.name)}"
    }
    (volume,) = only(read(FOLDER / "models-fill.yaml"), "Pod")["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim


MEASURED = [
    path
    for path in sorted(ROOT.glob("profiling/results/*/*.csv"))
    if path.parent.name != "published" and path.stem in profiles.PIPELINES
]


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_was_measured_is_all_of_its_pipeline(path: Path) -> None:
    """Every variant of every stage, each on the same cores and batches, so that plans can be made of it."""
    stages = read_config(FOLDER / path.stem / "pipeline.yaml").pipeline.stages
    found = read_profiles(path)
    assert set(found) == {(stage.name, variant.name) for stage in stages for variant in stage.variants}
    assert {tuple(sorted(profile.points)) for profile in found.values()} == {
        tuple((cores, batch) for cores in (1, 2) for batch in (1, 2, 4, 8))
    }


def test_images_are_pinned(pipeline: Path) -> None:
    """The sidecar's is this version; Triton's has the tag of the default."""
    (predictor,) = only(read(pipeline / "seldondeployment.yaml"), "SeldonDeployment")["spec"]["predictors"]
    default = SeldonSpec(model_uri="pvc://models").triton_image
    for component in predictor["componentSpecs"]:
        triton, sidecar = containers(component)
        assert (sidecar["name"], sidecar["image"]) == (SIDECAR, f"ipa-seldon:{__version__}")
        assert triton["image"] == (
            "ipa-seldon-triton:24.10" if pipeline.name in DEMO else IMAGES.get(pipeline.name, default)
        )
