"""What fills a model repository is read strictly, and agrees with the pipeline file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipa_seldon.errors import ConfigError
from ipa_seldon.platforms.triton_models import read_configuration
from ipa_seldon.weights.catalogue import CATALOGUE, read_catalogue, targets
from tests.weights.repositories import ROOT, published

REPOSITORIES = sorted(path.parent.name for path in (ROOT / "model_repository").glob(f"*/{CATALOGUE}"))


@pytest.mark.parametrize("pipeline", REPOSITORIES)
def test_every_repository_has_what_its_pipeline_names(pipeline: str) -> None:
    """Catalogue and pipeline file list the same stages and variants; each stage has a complete configuration of a model
    of that name, and takes what its parent gives.
    """
    config = published(pipeline)
    repository = ROOT / "model_repository" / pipeline
    assert config.repository == repository
    catalogue = read_catalogue(repository).stages
    assert catalogue.keys() == config.spec.stages.keys()
    for stage in config.pipeline.stages:
        assert catalogue[stage.name].keys() == {variant.name for variant in stage.variants}
        model = read_configuration(repository, stage.name)
        assert model["name"] == stage.name
        assert model["version_policy"]["specific"]["versions"] == ["1"]
        assert "dynamic_batching" in model
    for parent, child in config.pipeline.edges:
        given = read_configuration(repository, parent)["output"]
        taken = read_configuration(repository, child)["input"]
        wanted = [tensor for tensor in taken if not tensor.pop("optional", False) or tensor in given]
        assert given == wanted, f"{child} does not take what {parent} gives"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- stages", "accepted: a mapping with stages"),
        ("stages: {crop: {yolov5n: {builder: yolov5}}}", r"stages\.crop\.yolov5n\.licence: missing"),
        (
            "stages: {crop: {yolov5n: {builder: yolov5, licence: X, version: 1}}}",
            r"stages\.crop\.yolov5n\.version: unknown key; accepted: builder, options, tiny, hub, files, revision, lic",
        ),
        (
            "stages: {crop: {yolov5n: {builder: yolov5, licence: X, hub: yolov5n}}}",
            r"stages\.crop\.yolov5n\.hub: 'yolov5n': ",
        ),
        ("stages: {crop: {yolov5n: {builder: yolov5, licence: X}}}", r"stages\.crop\.yolov5s: missing"),
    ],
)
def test_wrong_catalogues_are_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    """File, key and what is accepted are named."""
    (tmp_path / CATALOGUE).write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        targets(published("video"), tmp_path)
    assert str(caught.value).startswith(str(tmp_path / CATALOGUE))
    assert "\n" not in str(caught.value)


def test_variants_are_chosen_by_name() -> None:
    """Those alone are targets; their place is the version that the pipeline file states; another name is refused."""
    config, repository = published("video"), ROOT / "model_repository" / "video"
    (target,) = targets(config, repository, ["resnet50"])
    assert (target.name, target.directory) == ("classification/resnet50", repository / "classification" / "3")
    with pytest.raises(ConfigError, match=r"variant 'resnet51': accepted: yolov5n, .*, resnet152"):
        targets(config, repository, ["resnet51"])


def test_a_mapping_may_take_over_another_and_still_has_no_key_twice(tmp_path: Path) -> None:
    """``<<`` is a way to write catalogues shorter; a key that appears twice is told as everywhere."""
    entry = "a: &a {builder: resnet, licence: X}\n    b: {<<: *a, licence: Y}"
    (tmp_path / CATALOGUE).write_text(f"stages:\n  s:\n    {entry}\n")
    stage = read_catalogue(tmp_path).stages["s"]
    assert (stage["b"].builder, stage["b"].licence) == ("resnet", "Y")
    (tmp_path / CATALOGUE).write_text(f"stages:\n  s:\n    {entry}\n    a: {{}}\n")
    with pytest.raises(ConfigError, match="key 'a' appears twice"):
        read_catalogue(tmp_path)
