"""The loops that an adapter makes of pipeline files."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipa_seldon.adapter.run import Adapter, AdapterSettings
from ipa_seldon.config import read_config
from ipa_seldon.telemetry.audit import read_audit_log

RESNET = Path(__file__).parents[2] / "manifests" / "pipelines" / "resnet" / "pipeline.yaml"
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: none
contexts: [{name: none, context: {cluster: none, user: none, namespace: models}}]
clusters: [{name: none, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: none, user: {}}]
"""


def test_an_audit_log_holds_all_that_a_set_is_decided_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Capacities too, so that the log of a pipeline that runs sets decides again."""
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    adapter = Adapter(AdapterSettings((RESNET,), None, "http://127.0.0.1:1", audit=tmp_path), lambda _: None)
    (source,) = adapter.sources()
    assert adapter.loop(source) is not None
    adapter.close()
    config, _, _ = read_audit_log(tmp_path / "resnet.jsonl")
    assert config.capacities == read_config(RESNET).capacities
