"""The doctor as a whole: what it prints, and that nothing keeps it from the checks that can be made."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ipa_seldon.adapter.permissions import PERMISSIONS
from ipa_seldon.cli import cli
from ipa_seldon.cluster.api import ACCESS_REVIEWS, DEFINITIONS, SELDON_DEPLOYMENTS
from ipa_seldon.doctor.findings import Finding, Status, attempt
from ipa_seldon.errors import PlatformError
from tests.doctor.conftest import VideoWorld, examined

OFFLINE = ["cluster", "prometheus", "pipeline", "quota", "solver", "highs", "gurobi"]


def test_all_is_well(world: VideoWorld) -> None:
    """Every check of the cluster and the pipeline is made, and finds nothing wrong; reading changes nothing."""
    before = {plural: world.emulator.objects(plural) for plural in ("seldondeployments", "configmaps", "pods")}
    found = world.examined()
    assert found.code == 0
    of_cluster = ["cluster", "seldon", "permissions"]
    of_pipeline = ["pipeline", "deployed", "attached", "changeable", "autoscaler", "plan", "pods"]
    for check in (*of_cluster, *of_pipeline, "quota", "solver", "highs"):
        assert found[check].status is Status.OK, found[check]
    for check in of_pipeline:
        assert found[check].message.startswith("video: ")
    assert before == {plural: world.emulator.objects(plural) for plural in before}


def test_without_a_cluster_the_rest_is_checked(world: VideoWorld, tmp_path: Path) -> None:
    """No kubeconfig: one finding says so; files and solvers are checked all the same."""
    found = examined(tmp_path / "absent", "-f", str(world.file))
    assert [finding.check for finding in found.findings] == OFFLINE
    assert found.failed() == ["cluster"]
    assert "KUBECONFIG" in found["cluster"].message


def test_it_asks_for_no_more_than_the_adapter_may(world: VideoWorld) -> None:
    """So that it runs in the adapter's pod: beside the adapter's calls, reviews, and a definition, which may fail."""
    world.emulator.clear_calls()
    world.examined()
    asked = {(call.group, call.resource, call.verb) for call in world.emulator.calls}
    assert asked - {(permission.group, permission.resource, permission.verb) for permission in PERMISSIONS} == {
        (kind.group, kind.plural, verb) for kind, verb in ((DEFINITIONS, "get"), (ACCESS_REVIEWS, "create"))
    }


@pytest.mark.parametrize("text", ["[]", "a: [", "\x00", "kind: Config"])
def test_what_is_no_kubeconfig_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    """Whatever the file holds."""
    (tmp_path / "kubeconfig").write_text(text)
    found = examined(tmp_path / "kubeconfig")
    assert found["cluster"].message.startswith("no cluster: ")
    assert found.failed() == ["cluster"]


def test_without_the_client_it_is_told_what_to_install(world: VideoWorld) -> None:
    """An installation without the extra: one finding, no traceback."""
    script = "import sys; sys.modules['kubernetes'] = None; from ipa_seldon.cli import main; main(['doctor'])"
    environment = {**os.environ, "KUBECONFIG": str(world.kubeconfig)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60, env=environment
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "fail  cluster      no cluster: needs the package 'kubernetes'" in done.stdout


def test_a_check_that_breaks_off_stops_no_other(world: VideoWorld) -> None:
    """A document as no API server gives it: the finding of that check says so, the others are made."""
    name = "seldondeployments.machinelearning.seldon.io"
    world.change(DEFINITIONS, name, lambda found: found["spec"].pop("versions"))
    found = world.examined()
    assert found.failed() == ["seldon"]
    assert found["seldon"].message == "the check broke off: KeyError: 'versions'"
    assert found["pods"].status is Status.OK


def test_an_attempt_gives_what_was_found_or_why_not() -> None:
    """An expected error in its own words, any other by its name."""

    def raising(error: Exception) -> Finding:
        raise error

    assert attempt("it", lambda: raising(PlatformError("not\nthere"))).message == "not there"
    broken = attempt("it", lambda: raising(IndexError("3")))
    assert (broken.status, broken.message) == (Status.FAIL, "the check broke off: IndexError: 3")


def test_a_line_per_finding_where_nobody_watches(world: VideoWorld) -> None:
    """Status, check and message in one line however long, the remedy under it; exit code 1 for what failed."""
    world.emulator.denied.add(("patch", "pods/resize"))
    result = CliRunner().invoke(
        cli, ["doctor"], env={"KUBECONFIG": str(world.kubeconfig), "COLUMNS": "40"}, standalone_mode=False
    )
    assert result.return_value == 1
    lines = result.stdout.splitlines()
    place = lines.index("fail  permissions  not allowed in namespace 'default': patch pods/resize")
    assert lines[place + 1].strip() == "-> kubectl apply -k manifests/adapter/base"
    assert not [line for line in lines if not line.startswith(("ok  ", "warn  ", "fail  ", "     "))]


def test_a_table_on_a_terminal(world: VideoWorld) -> None:
    """The same in columns, brackets of keys included."""
    world.cluster.patch(SELDON_DEPLOYMENTS, "video", {"spec": {"replicas": 2}})
    master, slave = pty.openpty()
    environment = {**os.environ, "KUBECONFIG": str(world.kubeconfig), "TERM": "xterm", "COLUMNS": "250"}
    with subprocess.Popen([sys.executable, "-m", "ipa_seldon", "doctor"], stdout=slave, env=environment) as running:
        os.close(slave)
        said = b""
        try:
            while piece := os.read(master, 65536):
                said += piece
        except OSError:  # Linux tells the other side's end so
            pass
        os.close(master)
    assert running.returncode == 1
    text = said.decode()
    assert "\x1b[1;31mfail" in text
    assert "video: ReplicasInSpec: spec.replicas" in text
    assert "-> kubectl -n default edit sdep video" in text
