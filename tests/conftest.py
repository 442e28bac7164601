"""Shared fixtures: a real Triton over the toy repository (stages ``double`` and ``increment``, versions 1 to 3)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from ipa_seldon.platforms.triton_server import TritonServer
from tests import alone

REPOSITORIES = Path(__file__).parent / "repositories"
TOY = REPOSITORIES / "toy"


def pytest_configure(config: pytest.Config) -> None:
    """How tests are shared among workers, where there are any."""
    config.pluginmanager.register(alone)


def write_toy_repository(target: Path, versions: int = 3) -> Path:
    """Lay the toy repository out the way Triton reads it; returns ``target``."""
    return write_repository("toy", target, versions)


def write_repository(name: str, target: Path, versions: int) -> Path:
    """The same for any of ``repositories``."""
    source = REPOSITORIES / name
    for config in source.glob("*.pbtxt"):
        for version in range(1, versions + 1):
            directory = target / config.stem / str(version)
            directory.mkdir(parents=True)
            shutil.copy(source / "model.py", directory / "model.py")
        shutil.copy(config, target / config.stem / "config.pbtxt")
    return target


@pytest.fixture(scope="session")
def toy_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with the chain double -> increment, three versions each; version k adds digit k to ``trace``.

    Both stages take and give ``number`` and ``trace`` (INT32, shape [batch, 1]); a negative number is an error;
    version k takes k * 2 ms per batch.
    """
    return write_toy_repository(tmp_path_factory.mktemp("toy") / "models")


@pytest.fixture(scope="session")
def toy_server(toy_repository: Path) -> Iterator[TritonServer]:
    """A running Triton with version 1 of both toy stages. Shared by all tests: do not change what it runs."""
    if find_spec("pytriton") is None:
        pytest.skip("nvidia-pytriton is not installed")
    with TritonServer(toy_repository, models=("double", "increment")) as server:
        yield server
