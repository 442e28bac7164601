"""The text pipeline's models: the shared modules themselves, outside Triton, on real weights."""

import base64
import csv
import importlib.util
import itertools
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

from ipa_seldon.demo.models import fetch, models_directory
from ipa_seldon.demo.snippets import Snippet, matched, snippet

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = ROOT / "model_repository" / "text"
SNIPPETS = tuple(snippet(11, index) for index in range(16))
LINES = sum(len(one.lines) for one in SNIPPETS)


def load(file: Path) -> Any:
    """A module by its path, newly executed."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # where dataclasses look for the names in their annotations
    spec.loader.exec_module(module)
    return module


accuracy = load(ROOT / "profiling" / "text_accuracy.py")


@pytest.fixture(scope="session")
def weights() -> Path:
    """The real weights, fetched where they are not yet."""
    directory = models_directory()
    fetch(directory)
    return directory


@pytest.fixture(scope="session")
def stages(weights: Path) -> dict[str, Any]:
    """Every variant by name, on one thread."""
    variants = [v for stage in ("detect", "recognise") for v in accuracy.served_variants(REPOSITORY, stage)]
    return {variant.name: variant.make(weights, 1) for variant in variants}


def encoded(one: Snippet) -> list[bytes]:
    """A snippet as one row of the first stage's input."""
    return [base64.b64encode(one.png)]


def through(rows: list[list[bytes]], *stages: Any) -> list[list[bytes]]:
    """Rows through the stages, each stage working on all of them as one batch."""
    for stage in stages:
        rows = stage.run([stage.parse(row) for row in rows])
    return rows


def lines_read(detect: Any, recognise: Any) -> int:
    """Lines of SNIPPETS that a pair of variants reads exactly."""
    rows = through([encoded(one) for one in SNIPPETS], detect, recognise)
    return sum(matched(one.lines, [text.decode() for text in row]) for one, row in zip(SNIPPETS, rows, strict=True))


def test_the_heaviest_pair_reads_most_lines_and_the_lightest_fewer(stages: dict[str, Any]) -> None:
    """Real text goes in as pictures and comes out as text, and heavier variants are worth their cost."""
    best = lines_read(stages["v6-320x128"], stages["v6-384"])
    assert best >= 0.75 * LINES
    assert 0 < lines_read(stages["v3-160x64"], stages["v6-160"]) < best
    assert lines_read(stages["v3-160x64"], stages["v6-384"]) < best
    assert lines_read(stages["v6-320x128"], stages["v6-160"]) < best


def test_a_batch_reads_what_single_requests_read(stages: dict[str, Any]) -> None:
    """Batching changes the time, not the answer, for any mixture of one and two lines."""
    pair = stages["v3-192x96"], stages["v6-224"]
    rows = [encoded(one) for one in SNIPPETS[:6]]
    assert through(rows, *pair) == [through([row], *pair)[0] for row in rows]


def test_a_picture_without_text_gives_empty_lines(stages: dict[str, Any]) -> None:
    """Nothing found is an answer of four empty strings, which the next stage takes and passes on."""
    images = sys.modules["images"]
    blank = [images.encode(np.full((160, 480), 200, np.uint8))]
    found = through([blank], stages["v3-160x64"])
    assert found == [[b""] * 4]
    assert through(found, stages["v6-160"]) == [[b""] * 4]


@pytest.mark.parametrize("text", [b"no base64!", base64.b64encode(b"no picture"), b""])
def test_a_row_that_is_no_picture_is_refused(stages: dict[str, Any], text: bytes) -> None:
    """The reason is a ValueError that names what is accepted."""
    with pytest.raises(ValueError, match="base64 text of a PNG"):
        stages["v3-160x64"].parse([text])


def test_detected_lines_are_upright_and_of_one_height(stages: dict[str, Any]) -> None:
    """Every line handed on is a picture 48 pixels high, and at most LINE_WIDTH wide."""
    detector, decode = stages["v6-320x128"], sys.modules["images"].decode
    for row in through([encoded(one) for one in SNIPPETS], detector):
        for line in filter(None, row):
            height, width = decode(line).shape
            assert height == 48
            assert 0 < width <= sys.modules["detector"].LINE_WIDTH


@pytest.mark.parametrize("stage", ["detect", "recognise"])
def test_configurations_are_complete(stage: str, stages: dict[str, Any]) -> None:
    """The server runs without completing configurations: each names the tensors of its stage, and allows batches."""
    text = (REPOSITORY / stage / "config.pbtxt").read_text()
    first = stages[accuracy.served_variants(REPOSITORY, stage)[0].name]
    names = re.findall(r'name: "(\w+)"', text)
    assert names == [stage, first.input_name, first.output_name]
    assert int(re.findall(r"max_batch_size: (\d+)", text)[0]) > 1
    assert "dynamic_batching" in text


def test_the_stages_fit_together(stages: dict[str, Any]) -> None:
    """The first stage's output is the second one's input, by name and by length."""
    assert stages["v3-160x64"].output_name == stages["v6-160"].input_name
    detect, recognise = ((REPOSITORY / s / "config.pbtxt").read_text() for s in ("detect", "recognise"))
    lines = str(sys.modules["detector"].LINES)
    assert re.findall(r"dims: \[ (\d+) \]", detect) == ["1", lines]
    assert re.findall(r"dims: \[ (\d+) \]", recognise) == [lines, lines]


def test_missing_weights_name_the_remedy(tmp_path: Path) -> None:
    """Triton's log then says what to run."""
    variant = accuracy.served_variants(REPOSITORY, "detect")[0]
    with pytest.raises(FileNotFoundError, match="ipa-seldon models fetch"):
        variant.make(tmp_path, 1)


@dataclass
class Tensor:
    """Triton's tensor, as far as a model uses it."""

    name: str
    array: Any

    def as_numpy(self) -> Any:
        """The content."""
        return self.array


@dataclass
class Response:
    """Triton's response: tensors, or an error."""

    output_tensors: Sequence[Tensor] = ()
    error: str | None = None


@dataclass
class Upper:
    """A stage that shouts, refuses the word "bad", and remembers the sizes of its batches."""

    input_name: str = "image"
    output_name: str = "lines"
    batches: list[int] = field(default_factory=list)
    warm: bool = False

    def warm_up(self) -> None:
        """Remember that it was asked for."""
        self.warm = True

    def parse(self, row: list[bytes]) -> bytes:
        """The only string of the row."""
        if row == [b"bad"]:
            raise ValueError("refused")
        return row[0]

    def run(self, items: list[bytes]) -> list[list[bytes]]:
        """Each in capitals."""
        self.batches.append(len(items))
        return [[item.upper()] for item in items]


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module between Triton and the stages, over a stand-in for Triton's own module."""
    triton = ModuleType("triton_python_backend_utils")
    triton.__dict__.update(
        Tensor=Tensor,
        TritonError=str,
        InferenceResponse=Response,
        get_input_tensor_by_name=lambda request, name: request[name],
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", triton)
    monkeypatch.setitem(sys.modules, "serving", ModuleType("serving"))
    return load(REPOSITORY / "serving.py")


def request(*texts: bytes) -> dict[str, Tensor]:
    """A request of as many rows as texts."""
    return {"image": Tensor("image", np.array([[text] for text in texts], dtype=np.object_))}


def test_requests_of_a_batch_are_one_run_and_a_bad_one_spoils_no_other(serving: Any) -> None:
    """Rows of all requests go through the stage together and return to whom they belong."""
    stage = Upper()
    answers = serving.execute(stage, [request(b"a", b"b"), request(b"bad"), request(b"c")])
    assert stage.batches == [3]
    assert [answer.error for answer in answers] == [None, "refused", None]
    assert [tensor.array.tolist() for answer in answers for tensor in answer.output_tensors] == [
        [[b"A"], [b"B"]],
        [[b"C"]],
    ]
    assert {tensor.name for answer in answers for tensor in answer.output_tensors} == {"lines"}


def test_weights_and_threads_come_from_the_configuration(serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parameters of the configuration decide; without them the environment, then one thread. A stage is warm
    before Triton calls it ready.
    """
    made: list[tuple[Path, int]] = []

    def make(weights: Path, threads: int) -> Upper:
        made.append((weights, threads))
        return Upper()

    def initialize(**parameters: str) -> None:
        values = {key: {"string_value": value} for key, value in parameters.items()}
        instance = serving.serve(make)()
        instance.initialize({"model_config": json.dumps({"parameters": values})})
        assert instance.stage.warm

    monkeypatch.setenv("IPA_SELDON_MODELS", "/from/environment")
    initialize(weights_dir="/from/config", intra_op_num_threads="2")
    initialize()
    monkeypatch.delenv("IPA_SELDON_MODELS")
    initialize()
    assert made == [
        (Path("/from/config"), 2),
        (Path("/from/environment"), 1),
        (models_directory(), 1),
    ]


def test_the_accuracy_script_measures_every_pair(weights: Path) -> None:
    """Sixteen pairs, stage accuracies relative to the best pair, and one YAML line per variant."""
    pairs, medians = accuracy.measure(weights, 3)
    assert len(pairs) == 16
    assert len(medians) == 8
    stage_accuracies = accuracy.stage_accuracies(pairs)
    assert max(stage_accuracies["detect"].values()) == 1.0
    assert max(stage_accuracies["recognise"].values()) == max(pair.accuracy for pair in pairs)
    versions = re.findall(
        r"(\S+): \{accuracy: [01]\.\d{3}, version: ([1-4])\}", "\n".join(accuracy.yaml_lines(stage_accuracies))
    )
    assert [version for _, version in versions] == ["1", "2", "3", "4"] * 2


def test_the_product_of_stage_accuracies_estimates_every_pair() -> None:
    """On the committed measurement of the served variants the product rule, by which plans are made, holds."""
    with (ROOT / "profiling" / "results" / "text-accuracy.csv").open(encoding="utf-8") as file:
        pairs = [
            accuracy.Pair(row["detect"], row["recognise"], float(row["accuracy"]), float(row["margin"]))
            for row in csv.DictReader(file)
        ]
    served = {stage: {v.name for v in accuracy.served_variants(REPOSITORY, stage)} for stage in ("detect", "recognise")}
    assert {stage: set(variants) for stage, variants in accuracy.stage_accuracies(pairs).items()} == served
    assert np.mean(accuracy.product_errors(pairs)) < 0.02


def test_the_accuracy_script_measures_recognisers_alone(weights: Path, tmp_path: Path) -> None:
    """On cut lines: one result per variant, more accurate with width, and a CSV and YAML lines of them."""
    measured = accuracy.measure_alone(weights, 25)
    assert [one.recognise for one in measured] == ["v6-160", "v6-224", "v6-288", "v6-384"]
    assert measured[0].accuracy < measured[2].accuracy <= 1
    accuracy.write_results(measured, tmp_path / "alone.csv")
    with (tmp_path / "alone.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["accuracy"]) for row in rows] == pytest.approx([one.accuracy for one in measured], abs=1e-4)


def test_the_pipeline_of_the_recogniser_states_what_was_measured() -> None:
    """Its accuracies are those of the committed measurement, which lie more than two intervals apart."""
    with (ROOT / "profiling" / "results" / "recognise-accuracy.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    document = yaml.safe_load((ROOT / "manifests" / "pipelines" / "recognise" / "pipeline.yaml").read_text())
    variants = document["spec"]["stages"]["recognise"]["variants"]
    assert {name: variant["accuracy"] for name, variant in variants.items()} == {
        row["recognise"]: round(float(row["accuracy"]), 3) for row in rows
    }
    for lower, higher in itertools.pairwise(rows):
        margin = float(lower["margin"]) + float(higher["margin"])
        assert float(higher["accuracy"]) - float(lower["accuracy"]) > 2 * margin
