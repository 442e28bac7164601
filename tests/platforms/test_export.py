"""A plan leaves as a model repository that a real Triton serves unchanged, and that reads back to the plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from ipa_seldon.cli.plan import plan
from ipa_seldon.cli.render import render
from ipa_seldon.config import read_config
from ipa_seldon.errors import ConfigError, PlatformError
from ipa_seldon.plan import Allocation, plan_to_json
from ipa_seldon.platforms.export import export_repository
from ipa_seldon.platforms.triton_models import TritonModels, read_configuration
from ipa_seldon.platforms.triton_server import TritonServer
from ipa_seldon.queueing import queue_delay
from ipa_seldon.specs.triton import allocation_of, batch_delay
from tests.conftest import write_toy_repository
from tests.platforms.load import Client, body
from tests.platforms.test_local import toy_pipeline

PIPELINE_FILE = """
apiVersion: ipa.seldon.io/v1alpha1
kind: Pipeline
metadata: {{name: toy}}
spec:
  slo: {{latency: 1}}
  limits: {{batch: 4}}
  graph: {{name: double, children: [{{name: increment}}]}}
  stages:
    double: {{variants: {{light: {{accuracy: 0.5, version: 1}}, heavy: {{accuracy: 0.9, version: 3}}}}}}
    increment: {{variants: {{light: {{accuracy: 0.5, version: 1}}, heavy: {{accuracy: 0.9, version: 3}}}}}}
  repository: {repository}
  profile: toy.csv
"""
PROFILE = "stage,variant,cores,batch,latency,throughput\n" + "".join(
    f"{stage},{variant},1,{batch},{0.05 * batch**0.5},{20 * batch**0.5}\n"
    for stage in ("double", "increment")
    for variant in ("light", "heavy")
    for batch in (1, 2, 4)
)
NAMES = {1: "light", 2: "middle", 3: "heavy"}
GPUS = {"double.1": [0, 1, 2, 3], "double.3": [4], "increment": [5, 6]}


@pytest.mark.triton
def test_a_rendered_plan_is_what_triton_serves(toy_repository: Path, tmp_path: Path) -> None:
    """Every stage as `ipa-seldon plan` prints it, with batches that wait as long as planned, read back from a real
    Triton that was given nothing but the directory.
    """
    path, target = tmp_path / "toy.yaml", tmp_path / "exported"
    path.write_text(PIPELINE_FILE.format(repository=toy_repository))
    (tmp_path / "toy.csv").write_text(PROFILE)
    asked = ["-f", str(path), "--rate", "70"]
    printed = yaml.safe_load(CliRunner().invoke(plan, [*asked, "-o", "yaml"], catch_exceptions=False).stdout)["stages"]
    done = CliRunner().invoke(render, [*asked, "--triton", str(target)], catch_exceptions=False)
    assert (done.exit_code, done.output) == (0, "")
    pipeline = read_config(path).pipeline
    with TritonServer(target, models=tuple(printed)) as server, TritonModels(server.grpc_url) as models:
        serves = {stage: models.configuration(stage) for stage in printed}
        assert models.ready_versions() == {stage: {3} for stage in printed}
        client = Client(server.http_url)
        assert client.infer("double", body(20)) == {"number": 40, "trace": 3}
        client.close()
    running = {stage: (allocation_of(configuration, NAMES),) for stage, configuration in serves.items()}
    assert plan_to_json(running) == printed
    for stage, (allocation,) in running.items():
        assert allocation.batch > 1
        delay = queue_delay(pipeline.stage(stage).variant(allocation.variant), allocation)
        assert batch_delay(serves[stage]) == pytest.approx(delay, abs=1e-6) != 0


def test_a_set_is_a_model_for_each_variant(tmp_path: Path) -> None:
    """Named as the local platform names them; what the plan does not decide stays, and what models share is there."""
    repository = write_toy_repository(tmp_path / "models")
    (repository / "shared.py").touch()
    allocations = (Allocation("light", 2, 1, 8, 0.25), Allocation("heavy", 1, 2, 4, 0.75))
    export_repository(toy_pipeline(), {"double": allocations}, repository, tmp_path / "out")
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {"double.1", "double.3", "shared.py"}
    for name, allocation in zip(("double.1", "double.3"), allocations, strict=True):
        made = read_configuration(tmp_path / "out", name)
        assert allocation_of(made, NAMES) == replace(allocation, share=1.0)
        assert made["name"] == name
        assert made["input"] == read_configuration(repository, "double")["input"]
        assert (tmp_path / "out" / name / "3" / "model.py").is_file()


def test_every_replica_has_gpus_of_its_own(tmp_path: Path) -> None:
    """Over stages and variants; Triton's count is of each GPU. Models on processors have none."""
    repository = write_toy_repository(tmp_path / "models")
    plan = {
        "double": (Allocation("light", 2, 1, 8, 0.5, gpus=2), Allocation("heavy", 1, 1, 4, 0.5, gpus=1)),
        "increment": (Allocation("light", 2, 1, 8, gpus=1),),
    }
    export_repository(toy_pipeline(), plan, repository, tmp_path / "out")
    groups = {name: read_configuration(tmp_path / "out", name)["instance_group"] for name in GPUS}
    assert groups == {name: [{"kind": "KIND_GPU", "count": 1, "gpus": gpus}] for name, gpus in GPUS.items()}
    export_repository(toy_pipeline(), {"double": (Allocation("light", 3, 1, 8),)}, repository, tmp_path / "plain")
    assert read_configuration(tmp_path / "plain", "double")["instance_group"] == [{"kind": "KIND_CPU", "count": 3}]


def test_an_export_is_whole_or_not_there(tmp_path: Path) -> None:
    """A directory that holds something stays as it is, and a repository without a configuration leaves nothing."""
    repository, out = write_toy_repository(tmp_path / "models", versions=1), tmp_path / "out"
    plan = {stage: (Allocation("light", 1, 1, 1),) for stage in ("double", "increment")}
    out.mkdir()
    (out / "mine.txt").touch()
    with pytest.raises(ConfigError, match=r"out: cannot be written: Directory not empty; accepted: a new or empty"):
        export_repository(toy_pipeline(), plan, repository, out)
    (out / "mine.txt").unlink()
    (repository / "increment" / "config.pbtxt").unlink()
    with pytest.raises(PlatformError, match=r"increment/config\.pbtxt: cannot be read"):
        export_repository(toy_pipeline(), plan, repository, out)
    assert list(out.iterdir()) == []
    assert {entry.name for entry in tmp_path.iterdir()} == {"models", "out"}
