"""``ipa-seldon attach`` and ``detach`` against an API server: what they print, write, refuse and leave alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from ipa_seldon.adapter.sources import config_maps
from ipa_seldon.cli import main
from ipa_seldon.cluster.api import CONFIG_MAPS, SELDON_DEPLOYMENTS, Cluster
from ipa_seldon.cluster.changes import ATTEMPTS
from ipa_seldon.cluster.connection import connect
from ipa_seldon.config import read_config
from ipa_seldon.platforms.seldon.documents import look
from ipa_seldon.specs.observed import refusal
from ipa_seldon.specs.seldon_attach import ATTACHED_FROM
from ipa_seldon.specs.traffic import Size, with_sizes
from tests.cluster.controllers import Operator
from tests.cluster.emulator import Emulator
from tests.specs.graphs import plain_graph
from tests.test_config import document, write

DRY = ("--dry-run", "client")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An API server of the test's own."""
    with Emulator() as running:
        yield running


@pytest.fixture
def cluster(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A way to it, which commands that the test runs find too."""
    monkeypatch.setenv("KUBECONFIG", str(emulator.kubeconfig(tmp_path / "kubeconfig")))
    return connect()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A pipeline file of two stages."""
    made = document()
    made["spec"]["seldon"] = {"model_uri": "gs://bucket/video", "triton_image": "triton:1"}
    return write(tmp_path, made)


@pytest.fixture
def graph(cluster: Cluster, file: Path) -> dict[str, Any]:
    """Its SeldonDeployment as somebody wrote it, stored: both Tritons in one pod, three of it."""
    made = plain_graph(read_config(file).pipeline)
    made["spec"]["predictors"][0] |= {
        "replicas": 3,
        "componentSpecs": [{"spec": {"containers": [{"name": "crop", "image": "mine:1"}, {"name": "classification"}]}}],
    }
    made["metadata"] = {"name": "video", "labels": {"team": "x"}}
    return cluster.create(SELDON_DEPLOYMENTS, made)


class Run(Protocol):
    """Runs a command; its exit code, standard output and standard error."""

    def __call__(self, *words: str) -> tuple[int, str, str]: ...


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line, in this process."""

    def called(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(words)
        code = caught.value.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return called


def writes(emulator: Emulator) -> list[tuple[str, str]]:
    """Verb and object of every write since the graph was made."""
    reads = ("get", "list", "watch")
    return [(call.verb, call.name) for call in emulator.calls if call.verb not in reads][1:]


def test_a_graph_is_attached_and_given_back(
    run: Run, emulator: Emulator, cluster: Cluster, file: Path, graph: dict[str, Any]
) -> None:
    """The diff is printed, then the plan, the graph and the pipeline are written, so that an adapter can begin; and
    detach restores the graph and leaves the ConfigMaps, which it says how to delete.
    """
    code, out, err = run("attach", "sdep/video", "-f", str(file))
    assert code == 0, err
    assert out.startswith("--- sdep/video\n+++ sdep/video\n@@ ")
    for line in ("-    replicas: 3", "+    seldon.io/engine-separate-pod: 'true'", "+          name: ipa-sidecar"):
        assert any(found.startswith(line) for found in out.splitlines()), line
    assert "this replaces the pods of predictor default once" in err
    assert writes(emulator) == [("create", "video-plan"), ("update", "video"), ("create", "video-pipeline")]
    assert {found["metadata"]["name"] for found in emulator.objects("configmaps")} == {"video-plan", "video-pipeline"}

    (source,) = config_maps(cluster)()
    pipeline = source.read().pipeline
    Operator(Path(os.environ["KUBECONFIG"])).step()
    view = look(cluster, pipeline, "video", "default")
    assert view.told.keys() == {"crop", "classification"}
    assert refusal(view.graph, "default", view.deployments) is None
    assert view.graph["metadata"]["labels"]["team"] == "x"

    code, out, err = run("detach", "seldondeployment/video")
    assert code == 0, err
    assert "+    replicas: 3" in out
    assert "kubectl delete configmap -n default video-pipeline video-plan" in err
    back = emulator.object("seldondeployments", "video")
    assert back["spec"] == graph["spec"]
    assert back["metadata"]["labels"] == {"team": "x"}
    assert not back["metadata"].get("annotations")
    assert len(emulator.objects("configmaps")) == 2


@pytest.mark.parametrize("mode", ["client", "server"])
def test_a_dry_run_prints_the_diff_and_stores_nothing(
    run: Run, emulator: Emulator, file: Path, graph: dict[str, Any], mode: str
) -> None:
    """The client's just reads; the server's asks it to check the change."""
    code, out, err = run("attach", "video", "-f", str(file), "--dry-run", mode)
    assert code == 0, err
    assert "+          name: ipa-sidecar" in out
    assert writes(emulator) == ([("update", "video")] if mode == "server" else [])
    assert emulator.object("seldondeployments", "video") == graph
    assert emulator.objects("configmaps") == []
    assert run("attach", "sdep/video", "-f", str(file))[0] == 0
    stored = emulator.object("seldondeployments", "video")
    code, out, err = run("detach", "sdep/video", "--dry-run", mode)
    assert code == 0, err
    assert "-          name: ipa-sidecar" in out
    assert emulator.object("seldondeployments", "video") == stored


@pytest.mark.usefixtures("graph")
def test_attaching_again_writes_at_most_the_pipeline(
    run: Run, emulator: Emulator, cluster: Cluster, file: Path
) -> None:
    """Nothing where all is as it was, whatever cores an adapter has set since; else the file that changed, unless the
    graph would change with it, which is refused with a diff.
    """
    assert run("attach", "sdep/video", "-f", str(file))[0] == 0
    stored = emulator.object("seldondeployments", "video")
    cluster.update(SELDON_DEPLOYMENTS, "video", with_sizes(stored, {"crop": Size(5)}, "nvidia.com/gpu"))
    emulator.clear_calls()
    code, out, err = run("attach", "sdep/video", "-f", str(file))
    assert (code, out) == (0, "")
    assert err == "sdep/video: attached already, and as it should be: nothing changes\n"
    assert {call.verb for call in emulator.calls} == {"get"}

    text = file.read_text()
    file.write_text(text.replace("latency: 6.89", "latency: 5"))
    code, out, err = run("attach", "sdep/video", "-f", str(file))
    assert code == 0
    assert err.endswith("sdep/video: ConfigMap video-pipeline written\n")
    assert "latency: 5" in emulator.object("configmaps", "video-pipeline")["data"]["pipeline.yaml"]

    file.write_text(text.replace("model_uri", "sidecar_image: other:1\n    model_uri"))
    code, out, err = run("attach", "sdep/video", "-f", str(file))
    assert code == 2
    assert "+          image: other:1" in out
    assert "accepted: first ipa-seldon detach sdep/video" in err


@pytest.mark.usefixtures("graph")
def test_edits_are_not_lost_by_detaching(run: Run, emulator: Emulator, cluster: Cluster, file: Path) -> None:
    """It is refused, and they are shown as the message says; an adapter's cores are none. --force drops all."""
    assert run("attach", "sdep/video", "-f", str(file))[0] == 0
    stored = emulator.object("seldondeployments", "video")
    stored = cluster.update(SELDON_DEPLOYMENTS, "video", with_sizes(stored, {"crop": Size(5)}, "nvidia.com/gpu"))
    assert run("detach", "sdep/video", *DRY)[0] == 0
    stored["spec"]["predictors"][0]["graph"]["modelUri"] = "gs://bucket/new"
    cluster.update(SELDON_DEPLOYMENTS, "video", stored)
    code, out, err = run("detach", "sdep/video")
    assert (code, out) == (2, "")
    assert "its spec was edited since it was attached" in err
    assert "ipa-seldon attach sdep/video -f FILE --dry-run client; accepted: --force" in err
    _, out, _ = run("attach", "sdep/video", "-f", str(file), *DRY)
    assert "-      modelUri: gs://bucket/new" in out
    assert ATTACHED_FROM in emulator.object("seldondeployments", "video")["metadata"]["annotations"]
    assert run("detach", "sdep/video", "--force")[0] == 0
    back = emulator.object("seldondeployments", "video")
    assert back["spec"]["predictors"][0]["graph"]["modelUri"] == "gs://models/crop"


@pytest.mark.usefixtures("graph")
def test_a_graph_that_changes_meanwhile_is_read_again(run: Run, emulator: Emulator, file: Path) -> None:
    """It says so, tries again a few times, and then says what the server said."""
    emulator.fail(ATTEMPTS, verb="update", resource="seldondeployments", code=409)
    code, _, err = run("attach", "sdep/video", "-f", str(file))
    assert code == 1
    assert err.splitlines()[-1].startswith("Error: update seldondeployments/video: 409: ")
    for command, expected in ((("attach", "sdep/video", "-f", str(file)), True), (("detach", "sdep/video"), False)):
        emulator.fail(verb="update", resource="seldondeployments", code=409)
        code, _, err = run(*command)
        assert code == 0, err
        assert err.count("sdep/video: was changed by somebody else meanwhile: read again\n") == 1
        annotations = emulator.object("seldondeployments", "video")["metadata"].get("annotations") or {}
        assert (ATTACHED_FROM in annotations) is expected


@pytest.mark.usefixtures("graph")
def test_a_plan_that_was_left_is_replaced_and_a_strangers_is_not(
    run: Run, emulator: Emulator, cluster: Cluster, file: Path
) -> None:
    """What an adapter remembers of a graph before it was detached is forgotten; a ConfigMap without our label is
    refused before the graph is touched.
    """
    plan = {"metadata": {"name": "video-plan"}, "data": {"record.json": "old"}}
    cluster.create(CONFIG_MAPS, plan)
    code, _, err = run("attach", "sdep/video", "-f", str(file))
    assert code == 1
    assert "ConfigMap video-plan: is there already, and not ours" in err
    assert ("update", "video") not in writes(emulator)
    cluster.patch(CONFIG_MAPS, "video-plan", {"metadata": {"labels": {"ipa.seldon.io/pipeline": "video"}}})
    assert run("attach", "sdep/video", "-f", str(file))[0] == 0
    assert emulator.object("configmaps", "video-plan")["data"].keys() == {"plan.json"}


@pytest.mark.usefixtures("graph")
def test_a_load_beyond_every_plan_is_exit_code_3(run: Run, emulator: Emulator, file: Path) -> None:
    """The graph is attached on the degraded plan all the same, and why is said."""
    file.write_text(file.read_text().replace("replicas: 100", "replicas: 2"))
    code, _, err = run("attach", "sdep/video", "-f", str(file), "--rate", "5000")
    assert code == 3
    assert "5000" in err.splitlines()[-1]
    assert ATTACHED_FROM in emulator.object("seldondeployments", "video")["metadata"]["annotations"]


@pytest.mark.usefixtures("graph")
def test_refusals_are_one_line(run: Run, emulator: Emulator, file: Path) -> None:
    """A graph that is not there, another kind, a file of another name, one whose stages run sets, nothing to detach."""
    other = file.with_name("other.yaml")
    other.write_text(file.read_text().replace("name: video", "name: audio"))
    sets = file.with_name("sets.yaml")
    sets.write_text(file.read_text().replace("algorithm: ipa", "algorithm: ipa-sets"))
    for words, expected_code, expected in (
        (("attach", "sdep/none", "-f", str(file)), 1, "no SeldonDeployment 'none' in namespace 'default'"),
        (("attach", "video", "-f", str(file), "--namespace", "shop"), 1, "'video' in namespace 'shop'"),
        (("attach", "sdep/video", "-f", str(other)), 2, f"{other}: sdep/video: the pipeline file's metadata.name: "),
        (
            ("attach", "sdep/video", "-f", str(sets)),
            2,
            f"{sets}: spec.algorithm: 'ipa-sets': accepted under Seldon Core",
        ),
        (("detach", "sdep/video"), 1, f"sdep/video: not attached: it has no annotation {ATTACHED_FROM}"),
    ):
        code, out, err = run(*words)
        assert (code, out) == (expected_code, "")
        assert err.startswith("Error: ")
        assert expected in err
        assert err.count("\n") == 1
    code, out, err = run("detach", "pod/video")
    assert code == 2
    assert "'pod/video': accepted: sdep/NAME, seldondeployment/NAME, NAME" in err
    assert writes(emulator) == []
