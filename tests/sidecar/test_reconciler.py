"""The rounds of a sidecar, against a Triton of a few lines and a clock that is turned by hand."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import pytest

from ipa_seldon.errors import PlatformError
from ipa_seldon.sidecar.reconciler import LONGEST_BACKOFF, UNPLANNED, Reconciler, Round
from ipa_seldon.specs.desired import PodPlan, pod_plan

LIGHT = PodPlan("light", 1, 1, 1, 0.0)
HEAVY = PodPlan("heavy", 2, 2, 4, 0.003)
INTERVAL = 10.0
REPOSITORY = {"name": "detect", "backend": "python", "version_policy": {"specific": {"versions": [1]}}}


def document(plan: PodPlan) -> str:
    """The plan document of one stage."""
    return json.dumps({"format": 1, "stages": {"detect": vars(plan)}})


class FakeTriton:
    """Serves one model from a repository of versions 1 and 2; reports numbers as strings, as protobuf does."""

    def __init__(self) -> None:
        self.running: dict[str, Any] | None = None
        self.loads: list[Mapping[str, Any] | None] = []
        self.away = False

    def ready_versions(self) -> dict[str, frozenset[int]]:
        if self.away:
            raise PlatformError("no Triton there")
        versions = self.running["version_policy"]["specific"]["versions"] if self.running else ()
        return {"detect": frozenset(map(int, versions))} if versions else {}

    def configuration(self, model: str) -> dict[str, Any]:
        if self.running is None:
            raise PlatformError(f"no model {model!r}")
        return self.running

    def load(self, model: str, configuration: Mapping[str, Any] | None) -> None:
        self.loads.append(configuration)
        chosen = json.loads(json.dumps(configuration or REPOSITORY), parse_int=str)
        if not set(chosen["version_policy"]["specific"]["versions"]) <= {"1", "2"}:
            raise PlatformError(f"cannot load model {model!r}: no such version")
        self.running = chosen


class Bench:
    """A sidecar's reconciler with all that it touches."""

    def __init__(self) -> None:
        self.triton = FakeTriton()
        self.plan: str | None = document(LIGHT)
        self.now = 0.0
        self.reconciler = Reconciler(
            "detect", self.read_plan, lambda: nullcontext(self.triton), lambda: self.now, INTERVAL
        )

    def read_plan(self) -> PodPlan:
        if self.plan is None:
            raise FileNotFoundError(2, "No such file or directory", "plan.json")
        return pod_plan(self.plan, "detect")

    def step(self, seconds: float = 0.0) -> Round:
        self.now += seconds
        return self.reconciler.step()


@pytest.fixture
def bench() -> Bench:
    """Nothing loaded yet, the light variant planned."""
    return Bench()


def test_the_plan_is_loaded_at_once_and_once(bench: Bench) -> None:
    """A Triton without the model gets it in the first round, based on what the repository states; then no load."""
    ended = bench.step()
    assert (ended.wanted, ended.running, ended.ready, ended.in_sync, ended.error) == (LIGHT, LIGHT, True, True, "")
    assert ended.load_seconds is not None
    repository, loaded = bench.triton.loads
    assert repository is None
    assert loaded is not None
    assert loaded["backend"] == "python"
    assert bench.step(100).load_seconds is None
    assert len(bench.triton.loads) == 2


def test_what_the_repository_states_is_not_ready(bench: Bench) -> None:
    """A Triton that loaded the model by itself is changed in the first round, and ready only after it."""
    bench.triton.load("detect", None)
    bench.plan = None
    ended = bench.step()
    assert (ended.running and ended.running.variant, ended.ready) == (UNPLANNED, False)
    assert ended.error.startswith("plan: cannot be read: ")
    bench.plan = document(LIGHT)
    assert bench.step().ready


@pytest.mark.parametrize(
    "plan",
    [
        HEAVY,
        PodPlan("light", 1, 2, 1, 0.0),
        PodPlan("light", 1, 1, 1, 0.001),
        PodPlan("light", 1, 1, 1, 0.0, slo=0.75),
        PodPlan("light", 1, 1, 1, 0.0, gpus=2),
    ],
)
def test_any_difference_is_one_load(bench: Bench, plan: PodPlan) -> None:
    """Variant and batch, cores alone, the delay alone, deadlines alone, GPUs: one load each, and then what runs is what
    is wanted; and back.
    """
    bench.step()
    bench.plan = document(plan)
    ended = bench.step(INTERVAL)
    assert (ended.running, ended.in_sync) == (plan, True)
    assert len(bench.triton.loads) == 3
    assert bench.step(INTERVAL).load_seconds is None
    bench.plan = document(LIGHT)
    assert bench.step(INTERVAL).in_sync


def test_changes_are_not_more_often_than_the_interval(bench: Bench) -> None:
    """A plan that changes every second costs a load per interval; between them the old one is ready, and it is said."""
    bench.step()
    loads = len(bench.triton.loads)
    for second in range(1, 41):
        bench.plan = document(HEAVY if second % 2 else LIGHT)
        ended = bench.step(1.0)
        assert ended.ready
        assert ended.in_sync or "too recent" in ended.error
    assert 2 <= len(bench.triton.loads) - loads <= 4


def test_a_plan_that_cannot_be_loaded_leaves_what_runs(bench: Bench) -> None:
    """Ready and serving the old one; tries less and less often, says why each time, and at once when it is mended."""
    bench.step()
    bench.plan = document(PodPlan("gone", 9, 1, 1, 0.0))
    tries = []
    for _ in range(400):
        ended = bench.step(1.0)
        if ended.load_seconds is not None:
            tries.append(bench.now)
        assert (ended.running, ended.ready, ended.in_sync) == (LIGHT, True, False)
        assert bench.now < INTERVAL or "no such version" in ended.error
    waits = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (2 * INTERVAL, LONGEST_BACKOFF)
    bench.plan = document(HEAVY)
    assert bench.step(1.0).in_sync


@pytest.mark.parametrize("text", ["", "{", '{"format": 1, "stages": {}}', None])
def test_without_a_readable_plan_what_runs_stays(bench: Bench, text: str | None) -> None:
    """An empty, a cut, a foreign document and none: no load, still ready, the reason in words."""
    bench.step()
    loads = len(bench.triton.loads)
    bench.plan = text
    ended = bench.step(INTERVAL)
    assert (ended.wanted, ended.ready, ended.in_sync, len(bench.triton.loads)) == (None, True, False, loads)
    assert ended.error.startswith("plan: ")


def test_a_triton_that_comes_back_gets_its_plan(bench: Bench) -> None:
    """Out of reach: not ready, no exception. Back without the model: loaded at once, whatever the interval; back with
    what the repository states: not ready until the plan is loaded again.
    """
    bench.plan = document(HEAVY)
    bench.step()
    bench.triton.away = True
    ended = bench.step(1.0)
    assert (ended.running, ended.ready, ended.error) == (None, False, "no Triton there")
    bench.triton.away, bench.triton.running = False, None
    assert bench.step(1.0).in_sync
    bench.triton.load("detect", None)
    assert not bench.step(1.0).ready
    assert bench.step(INTERVAL).in_sync


def test_a_hand_that_changes_triton_is_undone(bench: Bench) -> None:
    """Somebody's load through Triton's own API differs from the plan, and is changed back."""
    bench.step()
    assert bench.triton.running is not None
    bench.triton.running = {**bench.triton.running, "max_batch_size": "7"}
    ended = bench.step(INTERVAL)
    assert (ended.in_sync, ended.running) == (True, LIGHT)
