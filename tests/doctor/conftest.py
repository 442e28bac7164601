"""A cluster with a pipeline on it, whose sidecars answer; and what the doctor says of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ipa_seldon.bootstrap import build_algorithm, first_plan, seldon_documents
from ipa_seldon.cli import cli
from ipa_seldon.cluster.api import CONFIG_MAPS, PODS, SELDON_DEPLOYMENTS, Cluster, Kind
from ipa_seldon.config import read_config
from ipa_seldon.doctor.findings import Finding, Status
from ipa_seldon.specs.desired import KEY
from tests.cluster.emulator import Emulator
from tests.cluster.sidecars import SidecarPods
from tests.cluster.world import World, door
from tests.test_config import document, write

KINDS = {"ConfigMap": CONFIG_MAPS, "SeldonDeployment": SELDON_DEPLOYMENTS}


class Examined:
    """What a run of ``ipa-seldon doctor`` said."""

    def __init__(self, code: int, findings: list[Finding]) -> None:
        self.code = code
        self.findings = findings

    def __getitem__(self, check: str) -> Finding:
        """The one finding of a check."""
        (found,) = (finding for finding in self.findings if finding.check == check)
        return found

    def __contains__(self, check: str) -> bool:
        """Whether there is a finding of that check."""
        return any(finding.check == check for finding in self.findings)

    def failed(self) -> list[str]:
        """The checks that failed."""
        return [finding.check for finding in self.findings if finding.status is Status.FAIL]


def examined(kubeconfig: Path | str, *words: str) -> Examined:
    """Run it, in this process; the exit code is 1 just where a check failed, and every trouble has a remedy."""
    result = CliRunner().invoke(cli, ["doctor", "-o", "json", *words], env={"KUBECONFIG": str(kubeconfig)})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    said: dict[str, Any] = json.loads(result.stdout)
    findings = [Finding(**{**found, "status": Status(found["status"])}) for found in said["findings"]]
    made = Examined(0 if said["ok"] else 1, findings)
    assert said["ok"] == (not made.failed())
    for finding in findings:
        assert bool(finding.remedy) == (finding.status is not Status.OK), finding
        assert "\n" not in finding.message + finding.remedy
    return made


class ReportingPods(SidecarPods):
    """Their sidecars report all that is served as planned, but for those in ``reports``, by pods' names."""

    def __init__(self, document: Callable[[], str]) -> None:
        super().__init__(document)
        self.reports: dict[str, Any] = {}

    def report(self, name: str) -> Any:
        """See SidecarPods."""
        served = super().report(name)
        return self.reports.get(name, {**served, "wanted": served["running"], "error": ""})

    def hang_up(self, name: str) -> None:
        """Let the sidecar of a pod answer no more."""
        self._close(name)


class VideoWorld(World):
    """The pipeline ``video``, of stages ``crop`` and ``classification``, as ``ipa-seldon render`` deploys it."""

    pods: ReportingPods

    def __init__(self, emulator: Emulator, cluster: Cluster, kubeconfig: Path) -> None:
        super().__init__(cluster, kubeconfig, ReportingPods(self._plan_text), "video")
        self.emulator = emulator
        content = document()
        content["spec"]["seldon"] = {"model_uri": "gs://bucket/video"}
        self.file = write(kubeconfig.parent, content)
        config = read_config(self.file)
        for made in seldon_documents(config, first_plan(build_algorithm(config))):
            cluster.create(KINDS[made["kind"]], made)
        self.run_cluster()

    def examined(self, *words: str) -> Examined:
        """What the doctor says of it."""
        return examined(self.kubeconfig, *words)

    def plan(self, stage: str) -> dict[str, Any]:
        """What the pods of a stage are told."""
        found: dict[str, Any] = self.plan_document()["stages"][stage]
        return found

    def pod(self, stage: str) -> str:
        """The name of a stage's one pod."""
        (found,) = self.pod_documents(stage)
        return str(found["metadata"]["name"])

    def name(self, stage: str) -> str:
        """Of a stage's Deployment."""
        return str(self.deployment(stage)["metadata"]["name"])

    def change(self, kind: Kind, name: str, edit: Callable[[dict[str, Any]], object]) -> None:
        """Replace an object by what ``edit`` makes of it."""
        found = self.cluster.get(kind, name)
        assert found is not None
        edit(found)
        self.cluster.update(kind, name, found)

    def report(self, pod: str, **status: Any) -> None:
        """Have a pod's status say something else."""
        self.cluster.patch(PODS, pod, {"status": status}, "status")

    def _plan_text(self) -> str:
        found = self.cluster.get(CONFIG_MAPS, "video-plan")
        return str(((found or {}).get("data") or {}).get(KEY, ""))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[VideoWorld]:
    """All is well on it."""
    with Emulator() as emulator:
        kubeconfig = emulator.kubeconfig(tmp_path / "kubeconfig")
        made = VideoWorld(emulator, door(kubeconfig), kubeconfig)
        with closing(made.pods):
            yield made
