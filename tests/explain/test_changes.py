"""What could have been other than it was: only what means something to the algorithm, as the file would have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ipa_seldon.config import read_config
from ipa_seldon.explain.changes import Change, changes, edited
from tests.explain.logs import published
from tests.test_config import changed, write

LOAD_AND_SLO = {"load", "SLO"}


def found(config: Any) -> dict[str, Change]:
    """Every change by name."""
    return {change.name: change for change in changes(config)}


def kinds(config: Any) -> set[str]:
    """The changes, without by how much."""
    return {name.rsplit(maxsplit=2)[0] if name.endswith((" %", " core")) else name for name in found(config)}


@pytest.mark.parametrize(
    ("pipeline", "algorithm", "more"),
    [
        ("video", "ipa", {"alpha", "beta", "without damping", "without a price on switches"}),
        ("video", "rim", {"without damping"}),
        ("video", "hpa", set()),
        ("yolo-sponge", "sponge", set()),
        ("yolo-sponge", "sponge-hv", {"without waiting to scale down"}),
        ("resnet", "infadapter", {"alpha", "beta", "budget", "without waiting to scale down"}),
        ("resnet", "vpa", {"budget"}),
        ("video", "ipa_seldon.algorithms.ipa:Ipa", {"alpha", "beta", "without damping", "without a price on switches"}),
    ],
)
def test_only_what_an_algorithm_goes_by(pipeline: str, algorithm: str, more: set[str]) -> None:
    """Weights of those that trade accuracy for cost, a budget where there is one, and what holds plans back."""
    assert kinds(published(pipeline, algorithm)) == LOAD_AND_SLO | more


def test_a_budget_of_gpus_changes_by_one(tmp_path: Path) -> None:
    """Where there are variants on them; not below none."""
    content = changed("spec.stages.crop.variants.yolov5s", {"accuracy": 0.568, "version": 2, "device": "gpu"})
    content["spec"] |= {"objective": {"gpu_cores": 8}, "limits": {"gpus": 0}}
    config = read_config(write(tmp_path, content))
    assert [c.edits for name, c in found(config).items() if "GPU" in name] == [{"limits.gpus": 1}]
    assert edited(config, {"limits.gpus": 1}).pipeline.gpus == 1
    content["spec"]["stages"]["crop"]["variants"]["yolov5s"]["device"] = "cpu"
    assert not any("GPU" in name for name in found(read_config(write(tmp_path, content))))


def test_an_slo_takes_those_of_the_stages_along() -> None:
    """Each by the same part, as base allocations go by theirs; what the file says of nothing else changes."""
    video = published("video")
    change = found(video)["SLO +10 %"]
    assert change.edits == pytest.approx(
        {"slo.latency": 6.89 * 1.1, "stages.crop.slo": 4.62 * 1.1, "stages.classification.slo": 2.27 * 1.1}
    )
    other = edited(video, change.edits)
    assert other.pipeline.slo == pytest.approx(6.89 * 1.1)
    assert [stage.slo for stage in other.pipeline.stages] == pytest.approx([4.62 * 1.1, 2.27 * 1.1])
    assert other.spec.model_copy(update={"slo": video.spec.slo, "stages": video.spec.stages}) == video.spec


@pytest.mark.parametrize(
    ("spec", "edits"),
    [
        ({"limits": {"cores": 9}}, {"limits.cores": 10}),
        ({"limits": {"cores": None}}, None),
        ({"limits": {"cores": 9}, "objective": {"maximise": "accuracy", "cost_at_most": 6}},
         {"objective.cost_at_most": 7}),
        ({"limits": {"cores": 6}, "objective": {"maximise": "accuracy", "cost_at_most": 6}},
         {"limits.cores": 7, "objective.cost_at_most": 7}),
    ],
)  # fmt: skip
def test_the_budget_that_counts_is_changed(tmp_path: Path, spec: dict[str, Any], edits: dict[str, int] | None) -> None:
    """The tightest of those there are, and both where they are equal."""
    content = changed("spec.limits", {})
    content["spec"] |= spec
    config = read_config(write(tmp_path, content))
    change = found(config).get("budget +1 core")
    assert (change and change.edits) == edits


def test_a_limit_takes_the_place_of_weights(tmp_path: Path) -> None:
    """A least accuracy is changed in place of alpha and beta; with a cost that is held, the budget is all there is."""
    content = changed("spec.objective", {"minimise": "cost", "accuracy_at_least": 0.3})
    config = read_config(write(tmp_path, content))
    assert kinds(config) == LOAD_AND_SLO | {"least accuracy"}
    assert edited(config, found(config)["least accuracy -10 %"].edits).spec.objective.accuracy_at_least == 0.27
    content = changed("spec.objective", {"maximise": "accuracy", "cost_at_most": 6})
    assert kinds(read_config(write(tmp_path, content))) == LOAD_AND_SLO | {"budget"}
