"""Model repositories are filled version by version, each whole or not at all, with a record of what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from safetensors.numpy import save_file

from ipa_seldon.cli.models import models
from ipa_seldon.cli.plan import plan
from ipa_seldon.errors import ConfigError, PlatformError
from ipa_seldon.weights.catalogue import CATALOGUE, Target, targets
from ipa_seldon.weights.fetch import fetch
from ipa_seldon.weights.origin import doubt
from ipa_seldon.weights.record import RECORD, read_record
from ipa_seldon.weights.sources import Folder, Random, Source
from tests.weights.repositories import ROOT, published

BUILDER = f"{__name__}:build"
BROKEN: set[str] = set()
"""Variants whose network cannot be built just now."""


def build(options: Mapping[str, Any], seed: int, target: Path) -> None:
    """A network of two files, the second of which may fail."""
    (target / "model.onnx").write_text(f"{dict(options)} {seed}")
    (target / "more").mkdir()
    if options["name"] in BROKEN:
        raise OSError(28, "No space left on device")
    (target / "more" / "tokens.txt").write_text("tokens")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty repository of the video pipeline, which is filled by ``build``."""
    folder = tmp_path / "repository"
    folder.mkdir()
    stages = {
        stage.name: {
            variant.name: {"builder": BUILDER, "options": {"name": variant.name}, "tiny": {"x": 1}, "licence": "MIT"}
            for variant in stage.variants
        }
        for stage in published("video").pipeline.stages
    }
    (folder / CATALOGUE).write_text(yaml.safe_dump({"stages": stages}))
    return folder


def some(repository: Path, *variants: str) -> tuple[Target, ...]:
    """Places of variants of the video pipeline there."""
    return targets(published("video"), repository, variants)


def told(repository: Path, source: Source, *variants: str) -> list[str]:
    """What a fetch says."""
    said: list[str] = []
    fetch(some(repository, *variants), source, said.append)
    return said


def test_random_weights_have_a_record(repository: Path) -> None:
    """The version's directory holds the builder's files and a record with seed, options, SHA-256 and size; every step
    is told.
    """
    said = told(repository, Random(seed=3, tiny=True), "yolov5s")
    directory = repository / "crop" / "2"
    assert said == ["crop/yolov5s: tiny random weights of seed 3", f"  {directory} (0.0 MB)"]
    assert (directory / "model.onnx").read_text() == "{'name': 'yolov5s', 'x': 1} 3"
    record = json.loads((directory / RECORD).read_text())
    assert record["origin"] == {
        "variant": "yolov5s",
        "source": "random",
        "tiny": True,
        "seed": 3,
        "options": {"name": "yolov5s", "x": 1},
    }
    assert record["files"]["more/tokens.txt"] == {
        "sha256": "c51e455b41df6c017327e16001dd064b8b6733faeaa69b23d9bd79c8079237d5",
        "size": 6,
    }


def test_what_is_there_and_intact_is_skipped(repository: Path) -> None:
    """A second fetch says nothing; another seed, a damaged file and a missing one are reasons to fetch that version."""
    assert len(told(repository, Random(), "yolov5n", "yolov5s")) == 4
    assert told(repository, Random(), "yolov5n", "yolov5s") == []
    model = repository / "crop" / "1" / "model.onnx"
    before = model.read_text()
    model.write_text(before[:-1] + "9")
    assert told(repository, Random(), "yolov5n", "yolov5s")[0].startswith("crop/yolov5n: ")
    assert model.read_text() == before
    (model.parent / "more" / "tokens.txt").unlink()
    assert len(told(repository, Random(), "yolov5n", "yolov5s")) == 2
    assert len(told(repository, Random(seed=1), "yolov5n", "yolov5s")) == 4


def test_a_version_is_whole_or_as_it_was(repository: Path) -> None:
    """Where a network cannot be written, what was there stays, nothing half done is left, those before it are kept and
    the next fetch goes on from there. So it does after one that was killed.
    """
    told(repository, Random(), "yolov5s")
    BROKEN.add("yolov5s")
    with pytest.raises(PlatformError, match=r"crop/yolov5s: cannot write to .*: No space left on device"):
        told(repository, Random(seed=1))
    BROKEN.clear()
    assert sorted(path.name for path in (repository / "crop").iterdir()) == ["1", "2"]
    for version, seed in (("1", 1), ("2", 0)):
        record = read_record(repository / "crop" / version)
        assert record is not None
        assert record.origin.seed == seed
    (repository / "crop" / ".fetch-2" / "new").mkdir(parents=True)
    assert told(repository, Random(seed=1), "yolov5n", "yolov5s")[0].startswith("crop/yolov5s")
    assert sorted(path.name for path in (repository / "crop").iterdir()) == ["1", "2"]


def test_weights_of_ones_own_come_from_a_directory(repository: Path, tmp_path: Path) -> None:
    """STAGE/VARIANT is copied as it is, and recorded with the folder and the licence; a variant without one, and one
    without a file, are named.
    """
    folder = tmp_path / "mine" / "crop" / "yolov5n"
    (folder / "more").mkdir(parents=True)
    with pytest.raises(PlatformError, match=r"crop/yolov5n: .*/mine/crop/yolov5n, licence MIT, has no file"):
        told(repository, Folder(tmp_path / "mine"), "yolov5n")
    (folder / "more" / "model.onnx").write_text("mine")
    said = told(repository, Folder(tmp_path / "mine"), "yolov5n")
    assert said[0] == f"crop/yolov5n: {folder}, licence MIT"
    assert (repository / "crop" / "1" / "more" / "model.onnx").read_text() == "mine"
    assert told(repository, Folder(tmp_path / "mine"), "yolov5n") == []
    (folder / "more" / "model.onnx").write_text("ours")
    told(repository, Folder(tmp_path / "mine"), "yolov5n")
    assert (repository / "crop" / "1" / "more" / "model.onnx").read_text() == "ours"
    with pytest.raises(
        ConfigError, match=r"mine/crop/yolov5s: no such directory; accepted: one folder for every stage"
    ):
        told(repository, Folder(tmp_path / "mine"), "yolov5s")


def test_tensors_of_another_network_are_refused_in_one_line(repository: Path, tmp_path: Path) -> None:
    """What is converted is named by variant and file; so are files that are none of what can be served."""
    path = repository / CATALOGUE
    path.write_text(path.read_text().replace(BUILDER, "resnet").replace("name: resnet18", "layers: 18"))
    folder = tmp_path / "mine" / "classification" / "resnet18"
    folder.mkdir(parents=True)
    (folder / "weights.pt").write_text("")
    with pytest.raises(
        PlatformError, match=r"^classification/resnet18: found none of model\.onnx, model\.safetensors$"
    ):
        told(repository, Folder(tmp_path / "mine"), "resnet18")
    save_file({"fc.bias": np.zeros(3)}, folder / "model.safetensors")
    with pytest.raises(
        PlatformError, match=r"^classification/resnet18: model\.safetensors: tensor conv1\.weight is miss"
    ):
        told(repository, Folder(tmp_path / "mine"), "resnet18")
    (folder / "model.safetensors").write_text("no tensors")
    with pytest.raises(PlatformError, match=r"^classification/resnet18: model\.safetensors: cannot be read: "):
        told(repository, Folder(tmp_path / "mine"), "resnet18")


def test_doubt_names_what_accuracies_are_not_about(repository: Path, tmp_path: Path) -> None:
    """Random weights and weights of one's own are named by variant; without a record, or a repository, there is nothing
    to say.
    """
    pipeline = published("video").pipeline
    assert doubt(pipeline, None) is None
    assert doubt(pipeline, repository) is None
    told(repository, Random(), "resnet18", "resnet34")
    mine = tmp_path / "mine" / "crop" / "yolov5n"
    mine.mkdir(parents=True)
    (mine / "model.onnx").write_text("mine")
    told(repository, Folder(tmp_path / "mine"), "yolov5n")
    words = doubt(pipeline, repository)
    assert words is not None
    assert words.endswith("(from a local directory: yolov5n; random: resnet18, resnet34)")


def test_plan_says_that_accuracies_were_not_measured(repository: Path, tmp_path: Path) -> None:
    """In one line on stderr, beside the plan; without random weights stderr stays empty."""
    path = tmp_path / "pipeline.yaml"
    spec = {**yaml.safe_load(published("video").path.read_text())["spec"], "repository": str(repository)}
    spec["profile"] = str(ROOT / "profiling" / "results" / "published" / "video.csv")
    head = {"apiVersion": "ipa.seldon.io/v1alpha1", "kind": "Pipeline", "metadata": {"name": "video"}}
    path.write_text(yaml.safe_dump({**head, "spec": spec}))
    words = ["-f", str(path), "--rate", "5", "-o", "json"]
    assert CliRunner().invoke(plan, words).stderr == ""
    told(repository, Random(), "yolov5n")
    result = CliRunner().invoke(plan, words)
    assert json.loads(result.stdout)["status"] == "optimal"
    assert result.stderr == (
        "video: accuracies are published figures, not measured with the weights in use (random: yolov5n)\n"
    )


@pytest.mark.parametrize(
    ("builder", "options", "words"),
    [
        ("yolo", {}, r"\.builder: 'yolo' is unknown; accepted: yolov5, resnet, transformers, or"),
        ("yolov5", {"width": 1}, r"\.options: depth: missing"),
        ("yolov5", {"depth": 1, "width": 1, "size": 9}, r"\.options: size: unknown key; accepted: depth, width, crop"),
        ("resnet", {"layers": 51}, r"\.options: layers: 51: accepted: 18, 34, 50, 101 or 152"),
    ],
)
def test_wrong_builders_and_options_are_refused_in_one_line(
    repository: Path, builder: str, options: dict[str, int], words: str
) -> None:
    """File, key and what is accepted are named."""
    path = repository / CATALOGUE
    catalogue = yaml.safe_load(path.read_text())
    catalogue["stages"]["crop"]["yolov5n"] |= {"builder": builder, "options": options, "tiny": {}}
    path.write_text(yaml.safe_dump(catalogue))
    with pytest.raises(ConfigError, match=rf"^{path}: stages\.crop\.yolov5n{words}") as caught:
        told(repository, Random(), "yolov5n")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--tiny"], "--tiny: accepted: with a PIPELINE"),
        (["video", "--cache", "x"], "--cache: accepted: without a PIPELINE"),
        (["video", "--seed", "1"], "--seed: accepted: with --source random"),
    ],
)
def test_options_that_mean_nothing_are_refused(words: list[str], expected: str) -> None:
    """Rather than passed over in silence."""
    result = CliRunner().invoke(models, ["fetch", *words])
    assert (result.exit_code, expected in result.output) == (2, True), result.output


def test_the_command_fills_a_repository(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of a pipeline in this checkout; progress goes to stderr, the sum to stdout."""
    monkeypatch.chdir(ROOT)
    words = ["fetch", "video", "--repository", str(repository), "--source", "random", "--variant", "resnet18"]
    result = CliRunner().invoke(models, words)
    assert result.stderr.startswith("classification/resnet18: random weights of seed 0\n")
    assert result.stdout == f"1 variant, 0 MB, verified, in {repository}\n"
