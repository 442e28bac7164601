"""A pipeline with variants on GPUs, from its file to the commands that take it, and those that do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from ipa_seldon.cli import cli
from ipa_seldon.doctor.findings import Status
from ipa_seldon.errors import ConfigError, PlatformError
from ipa_seldon.platforms.local import LocalPlatform
from ipa_seldon.platforms.triton_models import read_configuration
from ipa_seldon.specs.desired import pod_plan
from tests.cluster.test_gpus import pipeline_with_gpus
from tests.cluster.test_gpus import plan as toy_plan
from tests.doctor.conftest import examined
from tests.test_config import write

PROFILE = """stage,variant,cores,batch,latency,throughput
detect,small,1,1,0.1,10
detect,large,1,1,0.05,40
classify,small,1,1,0.1,10
classify,large,1,1,0.05,40
"""


def document() -> dict[str, Any]:
    """Two stages, each of which has a variant on processors and a better one on a GPU; there is one GPU."""
    variants = {
        "small": {"accuracy": 0.5, "version": 1},
        "large": {"accuracy": 0.9, "version": 2, "device": "gpu", "load_time": 5},
    }
    return {
        "apiVersion": "ipa.seldon.io/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": "video"},
        "spec": {
            "slo": {"latency": "1s"},
            "objective": {"alpha": 40, "beta": 0.5},
            "forecaster": {"name": "max"},
            "limits": {"batch": 1, "gpus": 1},
            "prices": {"cpu_hourly_cost": 0.05, "gpu_hourly_cost": 0.5},
            "graph": {"name": "detect", "children": [{"name": "classify"}]},
            "stages": {"detect": {"variants": variants}, "classify": {"variants": variants}},
            "profile": "video.csv",
            "repository": ".",
            "seldon": {"model_uri": "gs://bucket/video", "gpu_resource": "nvidia.com/mig-1g.10gb"},
        },
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The pipeline file."""
    return write(tmp_path, document(), PROFILE)


def run(*words: str) -> str:
    """What a command prints."""
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, (done.output, done.stderr)
    return done.output


def test_a_plan_uses_both_where_gpus_are_scarce(file: Path) -> None:
    """One stage has the only GPU, the other none; the cost counts it as ten cores, as their prices do, and the limit is
    what keeps a better plan out.
    """
    plan = json.loads(run("plan", "-f", str(file), "--rate", "20", "-o", "json"))
    devices = {stage: (one["variant"], one["gpus"]) for stage, (one,) in plan["stages"].items()}
    assert sorted(devices.values()) == [("large", 1), ("small", 0)]
    cores = sum(one["cores"] * one["replicas"] for (one,) in plan["stages"].values())
    assert plan["cost"] == pytest.approx(cores + 10)
    assert plan["why"]["binding"] == "gpus"
    table = run("plan", "-f", str(file), "--rate", "20")
    assert "GPUs" in table
    assert f"cost {cores + 10} cores ({cores} and 1 GPU)" in table
    assert "1 GPU" in run("plan", "-f", str(file), "--rate", "20", "--frontier")


def test_the_simulator_runs_it(file: Path) -> None:
    """Under a load that a GPU is worth it for, and then not: all is served, both devices are used, never more GPUs."""
    figures = json.loads(
        run(
            *("simulate", "-f", str(file), "--pattern", "steady-low", "--duration", "60", "--scale", "20"), "-o", "json"
        )
    )
    assert 0 < figures["mean_gpus"] <= 1
    assert figures["mean_cost"] >= 10 * figures["mean_gpus"]
    assert figures["failed"] == figures["degraded"] == 0
    assert 0.25 < figures["accuracy"] <= 0.45 + 1e-9  # of 0.5 * 0.5 without, and 0.9 * 0.9 with a GPU in both stages


def test_pods_ask_for_their_gpus_by_name(file: Path) -> None:
    """In the limits of the Triton that has one, and nowhere else; its sidecar reads the entry of pods with so many."""
    plan, _, deployment = yaml.safe_load_all(run("render", "-f", str(file), "--rate", "20"))
    found = {}
    for component in deployment["spec"]["predictors"][0]["componentSpecs"]:
        triton, sidecar = component["spec"]["containers"]
        resources = triton["resources"]
        assert "nvidia.com/mig-1g.10gb" not in resources["requests"]
        gpus = int(resources["limits"].get("nvidia.com/mig-1g.10gb", 0))
        entry = sidecar["args"][sidecar["args"].index("--entry") + 1] if gpus else triton["name"]
        told = pod_plan(plan["data"]["plan.json"], entry)
        assert told.gpus == gpus
        found[told.variant] = gpus
    assert found == {"large": 1, "small": 0}


def test_a_plan_on_gpus_leaves_as_a_model_repository(file: Path) -> None:
    """For a Triton elsewhere: this machine has no part in it."""
    for stage in ("detect", "classify"):
        (file.parent / stage).mkdir()
        (file.parent / stage / "config.pbtxt").write_text(f'name: "{stage}" backend: "onnxruntime" max_batch_size: 1')
    run("render", "-f", str(file), "--rate", "20", "--triton", str(file.parent / "out"))
    groups = [read_configuration(file.parent / "out", stage)["instance_group"] for stage in ("detect", "classify")]
    assert sorted(group["kind"] for (group,) in groups) == ["KIND_CPU", "KIND_GPU"]
    assert [group["gpus"] for (group,) in groups if "gpus" in group] == [[0]]


def refusal(*words: str) -> str:
    """The one line that a command ends with."""
    error = CliRunner().invoke(cli, words).exception
    assert isinstance(error, ConfigError), error
    assert "\n" not in str(error)
    return str(error)


@pytest.mark.parametrize("command", ["run", "profile", "demo", "validate"])
def test_a_triton_on_this_machine_is_refused(file: Path, command: str) -> None:
    """By one line, before anything has begun: no file is written."""
    before = sorted(file.parent.iterdir())
    output = {"profile": "--output", "demo": "--directory", "run": "--audit"}.get(command)
    beside = [output, str(file.parent / "new")] if output else []
    line = refusal(command, "-f", str(file), *beside)
    place = f"{file}: spec.stages.detect.variants.large.device: 'gpu'"
    assert line.startswith(f"{place}: accepted: cpu, for a Triton on this machine")
    assert sorted(file.parent.iterdir()) == before


def test_the_doctor_says_so_before(file: Path, tmp_path: Path) -> None:
    """Which variants, and what the nodes of a cluster have to have."""
    found = examined(tmp_path / "absent", "-f", str(file))["gpus"]
    assert found.status is Status.WARN
    assert "video: detect large, classify large: with device: gpu" in found.message
    assert "nvidia.com/mig-1g.10gb" in found.remedy


def test_a_plan_on_gpus_is_refused_by_the_local_platform(toy_repository: Path) -> None:
    """Whoever made it: before the server starts, with stage, variant and what is accepted."""
    platform = LocalPlatform(pipeline_with_gpus(), toy_repository, lambda _: [])
    with pytest.raises(PlatformError, match="stage 'double': variant 'quick': 1 GPU; accepted: none, on this machine"):
        platform.start(toy_plan("quick", 1))
    assert platform.server.pid is None


@pytest.mark.parametrize("algorithm", ["ipa-sets", "infadapter", "sponge"])
def test_algorithms_that_decide_on_cores_alone_say_so(tmp_path: Path, algorithm: str) -> None:
    """Sets of variants and deadlines: one line with the variant."""
    made = document()
    made["spec"] |= {"graph": {"name": "detect"}, "stages": {"detect": made["spec"]["stages"]["detect"]}}
    made["spec"]["sponge"] = {"variant": "large"}
    path = write(tmp_path, made, PROFILE)
    words = "spec.stages.detect.variants.large.device: 'gpu': accepted: cpu, for this algorithm"
    assert refusal("plan", "-f", str(path), "--rate", "5", "--algorithm", algorithm) == f"{path}: {words}"


def test_budgets_that_hold_no_plan(tmp_path: Path) -> None:
    """Not together, though each does by itself: the least that is accepted is told."""
    made = document()
    made["spec"]["limits"] |= {"gpus": 0, "cores": 2}
    profile = PROFILE.replace("detect,small,1,1", "detect,small,2,1")
    words = "spec.limits.gpus: 0: accepted: at least 1, what the fewest replicas of every stage are allocated"
    assert refusal("plan", "-f", str(write(tmp_path, made, profile)), "--rate", "5").endswith(words)
    made["spec"]["limits"] |= {"gpus": 1}
    run("plan", "-f", str(write(tmp_path, made, profile)), "--rate", "5")
