"""A Kubernetes API for each test, and the official client. It states every field as optional, so here it is Any."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from tests.cluster.emulator import Emulator


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """A server of its own."""
    with Emulator() as running:
        yield running


@pytest.fixture
def kubeconfig(emulator: Emulator, tmp_path: Path) -> Path:
    """How to reach it."""
    return emulator.kubeconfig(tmp_path / "kubeconfig")


@dataclass(frozen=True)
class Place:
    """A namespace of an API server."""

    kubeconfig: Path
    namespace: str


@pytest.fixture(params=["emulator", pytest.param("cluster", marks=pytest.mark.cluster)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An emulator's, and with ``-m cluster`` one that is made for the test on the cluster named by KUBECONFIG, where
    nothing but the API server and the SeldonDeployment CRD are needed.
    """
    if request.param == "emulator":
        emulator: Emulator = request.getfixturevalue("emulator")
        yield Place(emulator.kubeconfig(tmp_path / "kubeconfig"), "default")
        return
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG names no cluster")
    kubeconfig = Path(os.environ["KUBECONFIG"])
    with config.new_client_from_config(str(kubeconfig)) as connection:
        api = client.CoreV1Api(connection)
        name = api.create_namespace({"metadata": {"generateName": "ipa-seldon-test-"}}).metadata.name
        try:
            yield Place(kubeconfig, name)
        finally:
            api.delete_namespace(name)


@pytest.fixture
def core(kubeconfig: Path) -> Any:
    """The official client, configured the usual way."""
    config.load_kube_config(str(kubeconfig))
    return client.CoreV1Api()


@pytest.fixture
def apps(core: Any) -> Any:
    """Deployments."""
    return client.AppsV1Api()


@pytest.fixture
def custom(core: Any) -> Any:
    """Custom resources."""
    return client.CustomObjectsApi()
