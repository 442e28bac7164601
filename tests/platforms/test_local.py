"""The local platform makes a real Triton run a plan, under load, and keeps it running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipa_seldon.errors import LoadReason, PlatformError
from ipa_seldon.gateway.client import GatewayClient
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.platforms.local import LocalPlatform
from tests.conftest import write_toy_repository
from tests.platforms.load import Load
from tests.platforms.test_triton_server import eventually, group, nothing_left

pytestmark = pytest.mark.triton
ARRIVALS = (3.0, 4.0, 5.0)
LIGHT = Allocation("light", replicas=1, cores=1, batch=1)
OWNER = """
import signal, sys
from pathlib import Path
from tests.platforms.test_local import LIGHT, both, toy_pipeline
from ipa_seldon.platforms.local import LocalPlatform
with LocalPlatform(toy_pipeline(), Path(sys.argv[1]), lambda now: ()) as platform:
    platform.start(both(LIGHT))
    server = platform.server
    print(server.pid, server.http_url.rpartition(":")[2], server.shared_memory, flush=True)
    signal.pause()
"""


def toy_pipeline() -> Pipeline:
    def variants(*names: str) -> tuple[Variant, ...]:
        return tuple(
            Variant(
                name, 0.5 + 0.1 * index, index, (1, 2), lambda cores, batch: 0.01, lambda cores, batch: 100.0 * batch
            )
            for index, name in enumerate(names, start=1)
        )

    stages = tuple(Stage(name, variants("light", "middle", "heavy")) for name in ("double", "increment"))
    return Pipeline("toy", stages, (("double", "increment"),), slo=1.0)


def both(allocation: Allocation) -> Plan:
    return {"double": (allocation,), "increment": (allocation,)}


@pytest.fixture
def platform(toy_repository: Path) -> Iterator[LocalPlatform]:
    with LocalPlatform(toy_pipeline(), toy_repository, lambda now: ARRIVALS) as local:
        local.start(both(LIGHT))
        yield local


def test_a_gateway_that_does_not_answer(toy_repository: Path) -> None:
    """What runs is observed all the same, with the fault in place of the load."""
    gateway = GatewayClient("http://127.0.0.1:9")
    with LocalPlatform(toy_pipeline(), toy_repository, lambda now: gateway.arrivals(now, 60)) as local:
        local.start(both(LIGHT))
        seen = local.observe(0.0)
    assert (seen.arrivals, seen.plan) == ((), both(LIGHT))
    assert seen.fault is not None
    assert seen.fault.reason is LoadReason.UNREACHABLE
    assert "the gateway at http://127.0.0.1:9 does not tell its arrivals" in seen.fault.words


def test_changes_of_every_kind_under_load_lose_no_request(platform: LocalPlatform) -> None:
    """Variant, batch, replicas and cores change while clients call; every request is answered, and right.

    After each change the platform reports it, and clients get the new variants.
    """
    changes = [
        Allocation("heavy", 1, 1, 1),
        Allocation("heavy", 1, 1, 4),
        Allocation("heavy", 2, 1, 4),
        Allocation("heavy", 1, 1, 4),
        Allocation("heavy", 1, 2, 4),
        Allocation("light", 2, 1, 8),
    ]
    with Load(platform.server.http_url) as load:
        for allocation in changes:
            platform.apply(both(allocation))
            assert platform.observe(0.0).plan == both(allocation)
            load.await_answers(20)
            assert load.traces[-1] == {"light": 11, "heavy": 33}[allocation.variant]
    assert load.failures == []


def test_only_what_differs_is_sent(platform: LocalPlatform) -> None:
    """A plan that runs already costs no load call, a plan that differs in one stage costs one."""
    before = platform.loads
    platform.apply(both(LIGHT))
    assert platform.loads == before
    mixed = {"double": (LIGHT,), "increment": (Allocation("middle", 1, 1, 2),)}
    platform.apply(mixed)
    assert platform.loads == before + 1
    assert platform.observe(0.0).plan == mixed


def test_observes_arrivals_and_time(platform: LocalPlatform) -> None:
    """The arrivals come from whoever measures them, the time from the caller."""
    observation = platform.observe(12.5)
    assert (observation.time, observation.arrivals) == (12.5, ARRIVALS)


def test_a_crashed_server_comes_back_with_the_active_plan(platform: LocalPlatform) -> None:
    """Killed, it is restarted on the same port without being asked, with the plan that was applied last."""
    plan = both(Allocation("middle", 2, 1, 4))
    platform.apply(plan)
    url, pid = platform.server.http_url, platform.server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    def recovered() -> bool:
        try:
            return platform.server.pid != pid and platform.observe(0.0).plan == plan
        except PlatformError:
            return False

    assert eventually(recovered)
    assert platform.server.http_url == url
    assert platform.restarts == 1
    assert eventually(lambda: not group(pid))
    with Load(url) as load:
        load.await_answers(20)
    assert load.failures == []


def test_a_variant_that_does_not_load_leaves_the_old_one_serving(tmp_path: Path) -> None:
    """The error names the stage and the model's own reason; what ran before runs on and is what is observed."""
    repository = write_toy_repository(tmp_path / "models")
    (repository / "double" / "3" / "model.py").write_text("raise RuntimeError('broken on purpose')")
    with LocalPlatform(toy_pipeline(), repository, lambda now: ARRIVALS) as platform:
        platform.start(both(LIGHT))
        with Load(platform.server.http_url) as load:
            with pytest.raises(PlatformError, match=r"'double'.*broken on purpose"):
                platform.apply(both(Allocation("heavy", 1, 1, 1)))
            load.await_answers(20)
        assert load.failures == []
        assert load.traces[-1] == 13, "the other stage did change"
        assert platform.observe(0.0).plan["double"] == (LIGHT,)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"double": (LIGHT, LIGHT)}, "'double': light, light: accepted: one or more variants, each once"),
        ({"double": ()}, "'double': none: accepted: one or more variants, each once"),
        ({"halve": (LIGHT,)}, "stage 'halve' is unknown; stages are: double, increment"),
        ({"double": (Allocation("huge", 1, 1, 1),)}, "variant 'huge' is unknown; variants are: light, middle, heavy"),
        ({"double": (Allocation("light", 1, 1, 1, 0.5),)}, "'double': shares sum to 0.5; accepted: 1"),
    ],
)
def test_a_plan_it_cannot_run_is_refused_in_one_line(toy_repository: Path, plan: Plan, words: str) -> None:
    """Wrong plans are named before anything is started or sent."""
    platform = LocalPlatform(toy_pipeline(), toy_repository, lambda now: ARRIVALS)
    with pytest.raises(PlatformError, match=words):
        platform.start(plan)
    assert platform.server.pid is None


def test_a_variant_without_a_version_is_named(tmp_path: Path) -> None:
    """The folder that is missing is in the message, and the command that fills it, before anything is started."""
    write_toy_repository(tmp_path, versions=1)
    with pytest.raises(
        PlatformError, match=r"double/2: no such directory, of middle: run `ipa-seldon models fetch toy`"
    ):
        LocalPlatform(toy_pipeline(), tmp_path, lambda _: ARRIVALS)


def test_a_stage_without_a_model_is_named(tmp_path: Path) -> None:
    """The path of the configuration that is missing is in the message."""
    with pytest.raises(PlatformError, match=r"double/config\.pbtxt: cannot be read"):
        LocalPlatform(toy_pipeline(), tmp_path, lambda now: ARRIVALS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_process_leaves_nothing_behind(toy_repository: Path, number: signal.Signals) -> None:
    """After Ctrl-C or SIGTERM no process, port or shared memory is left."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(toy_repository)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid, port, prefix = owner.stdout.readline().split()
        assert len(group(int(pid))) == 3
        owner.send_signal(number)
        owner.wait()
    assert eventually(lambda: nothing_left(int(pid), int(port), prefix))
