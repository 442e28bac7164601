"""A Kubernetes API for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.emulator import Emulator


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """A server of its own."""
    with Emulator() as running:
        yield running
