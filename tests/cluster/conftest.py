"""A Kubernetes API for each test, and the official client. It states every field as optional, so here it is Any."""

from __future__ import annotations

from collections.abc import Iterator
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
