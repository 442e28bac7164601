"""Runs that were made up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ipa_seldon.runs.summary import RunResult
from tests.runs.made_up import made_up, made_up_set


@pytest.fixture
def make_run() -> Callable[..., RunResult]:
    """``make_run(name=..., level=..., seconds=..., seed=..., renamed=...)``: a made-up run."""
    return made_up


@pytest.fixture
def three_runs(make_run: Callable[..., RunResult]) -> list[RunResult]:
    """The same load, adapted to and met with fixed variants."""
    return [make_run(), make_run(name="lightest", level=0), make_run(name="heaviest", level=2)]


@pytest.fixture
def set_run() -> RunResult:
    """A run in which two variants of a stage share every plan."""
    return made_up_set()
