"""``ipa-seldon render``: documents to apply, and one line for what cannot be rendered."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

from ipa_seldon.config import read_config
from ipa_seldon.specs.seldon_operator import containers, problems
from tests.test_config import PROFILE, document, document_of_a_set, write


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ipa_seldon", *words], capture_output=True, text=True, check=False, timeout=60
    )


def test_it_writes_what_kubectl_applies(tmp_path: Path) -> None:
    """The plan's ConfigMap and the pipeline's, which reads as the file did, then a sound SeldonDeployment, its cores
    those of the plan for the rate.
    """
    made = document()
    made["spec"]["seldon"] = {"model_uri": "gs://bucket/video", "triton_image": "triton:1"}
    path = write(tmp_path, made)
    done = run("render", "-f", str(path), "--rate", "20")
    assert (done.returncode, done.stderr) == (0, "")
    plan, pipeline, deployment = yaml.safe_load_all(done.stdout)
    assert (plan["kind"], pipeline["kind"], deployment["kind"]) == ("ConfigMap", "ConfigMap", "SeldonDeployment")
    assert problems(deployment) == []
    for name, text in pipeline["data"].items():
        (tmp_path / name).write_text(text)
    there, here = read_config(tmp_path / "pipeline.yaml"), read_config(path)
    assert there.profiles == here.profiles
    assert there.spec.model_copy(update={"profile": None}) == here.spec.model_copy(update={"profile": None})
    decided = yaml.safe_load(run("plan", "-f", str(path), "--rate", "20", "-o", "yaml").stdout)["stages"]
    for component in deployment["spec"]["predictors"][0]["componentSpecs"]:
        triton, _ = containers(component)
        assert triton["image"] == "triton:1"
        assert triton["resources"]["limits"]["cpu"] == str(decided[triton["name"]][0]["cores"])


def test_a_set_is_written_with_its_capacities(tmp_path: Path) -> None:
    """A predictor for each variant of the plan, with whole per cent; the pipeline's ConfigMap reads as the file did."""
    made = document_of_a_set()
    made["spec"]["seldon"] = {"model_uri": "gs://bucket/video", "predictor": None}
    path = write(tmp_path, made)
    done = run("render", "-f", str(path), "--rate", "30")
    assert (done.returncode, done.stderr) == (0, "")
    _, pipeline, deployment = yaml.safe_load_all(done.stdout)
    assert set(pipeline["data"]) == {"pipeline.yaml", "capacity.csv"}
    apart = tmp_path / "apart"
    apart.mkdir()
    for name, text in pipeline["data"].items():
        (apart / name).write_text(text)
    assert read_config(apart / "pipeline.yaml").capacities == read_config(path).capacities
    predictors = deployment["spec"]["predictors"]
    assert [predictor["name"] for predictor in predictors] == ["heavy", "light"]
    assert sum(predictor["traffic"] for predictor in predictors) == 100


def test_a_set_of_replicas_in_batches_is_written(tmp_path: Path) -> None:
    """What `ipa-sets` plans for one stage: a predictor for each variant, its traffic, and the batches for sidecars."""
    made = document_of_a_set()
    made["spec"] |= {"algorithm": "ipa-sets", "profile": "video.csv", "objective": {"alpha": 100, "beta": 1}}
    made["spec"]["seldon"] = {"model_uri": "gs://bucket/video", "predictor": None}
    made["spec"]["limits"]["cores"] = 4
    del made["spec"]["capacity"]
    rows = ("heavy,9,1,0.1,", "light,19,1,0.05,")
    path = write(tmp_path, made, PROFILE + "".join(f"1,classification,{row}\n" for row in rows))
    done = run("render", "-f", str(path), "--rate", "40")
    assert (done.returncode, done.stderr) == (0, "")
    document_of_plan, _, deployment = yaml.safe_load_all(done.stdout)
    assert problems(deployment) == []
    planned = yaml.safe_load(run("plan", "-f", str(path), "--rate", "40", "-o", "yaml").stdout)["stages"][
        "classification"
    ]
    assert len(planned) == 2
    predictors = deployment["spec"]["predictors"]
    assert [(p["name"], p["traffic"]) for p in predictors] == [(a["variant"], round(100 * a["share"])) for a in planned]
    told = json.loads(document_of_plan["data"]["plan.json"])["stages"]
    assert {name: pod["batch"] for name, pod in told.items()} == {a["variant"]: a["batch"] for a in planned}


def test_sets_in_several_stages_cannot_be_written(tmp_path: Path) -> None:
    """One line that names the key and where such a plan runs, exit code 2; nothing on standard output."""
    made = document()
    made["spec"]["seldon"] = {"model_uri": "gs://bucket/video"}
    path = write(tmp_path, made)
    done = run("render", "-f", str(path), "--algorithm", "ipa-sets")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"Error: {path}: spec.algorithm: 'ipa-sets': accepted under Seldon Core: for a pipeline of one stage, or ipa; "
        "the local platform and the simulator run sets of variants in every stage\n"
    )


def test_a_file_without_a_cluster_is_told_what_is_missing(tmp_path: Path) -> None:
    """One line that names file and key, exit code 2; nothing on standard output."""
    path = write(tmp_path, document())
    done = run("render", "-f", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"Error: {path}: spec.seldon: missing; accepted: at least model_uri\n"


def test_a_bad_value_is_told_by_its_key(tmp_path: Path) -> None:
    """The Kubernetes quantity that is none."""
    made = document()
    made["spec"]["seldon"] = {"model_uri": "gs://bucket/video", "memory": "lots"}
    done = run("render", "-f", str(write(tmp_path, made)))
    assert done.returncode == 2
    assert "spec.seldon.memory: 'lots': " in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_load_beyond_every_plan_is_exit_code_3(tmp_path: Path) -> None:
    """The documents of the degraded plan all the same, the reason beside them."""
    made = document()
    made["spec"]["seldon"] = {"model_uri": "gs://bucket/video"}
    made["spec"]["limits"]["replicas"] = 2
    done = run("render", "-f", str(write(tmp_path, made)), "--rate", "5000")
    assert done.returncode == 3
    assert len(list(yaml.safe_load_all(done.stdout))) == 3
    assert "5000" in done.stderr
