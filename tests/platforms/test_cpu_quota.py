"""Cores for processes of this machine, by each way that a system may allow."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from ipa_seldon.errors import PlatformError
from ipa_seldon.plan import Allocation
from ipa_seldon.platforms.cpu_quota import (
    AffinityQuota,
    CgroupQuota,
    CpuQuota,
    ThreadsOnly,
    best_quota,
    limit,
    model_processes,
)
from ipa_seldon.platforms.triton_models import TritonModels, read_configuration
from ipa_seldon.platforms.triton_server import TritonServer
from ipa_seldon.specs.triton import model_configuration
from tests.waiting import wait_for

PROCESSORS = sorted(os.sched_getaffinity(0))
THREADED = """
import sys, threading
waiting = threading.Event()
start = lambda: threading.Thread(target=waiting.wait, daemon=True).start()
for _ in range(4): start()
print("ready", flush=True)
for line in sys.stdin:
    start()
    print("one more", flush=True)
"""


class Program:
    """A process of five threads, and one more for each ``grow``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        self._said()

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def grow(self) -> None:
        """Start a thread."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._said()

    def processors(self) -> list[frozenset[int]]:
        """What each thread may use."""
        threads = psutil.Process(self.pid).threads()
        return [frozenset(os.sched_getaffinity(thread.id)) for thread in threads]


@contextmanager
def programs(number: int) -> Iterator[list[Program]]:
    """So many, which end with the context."""
    command = [sys.executable, "-c", THREADED]
    with ExitStack() as stack:
        made = []
        for _ in range(number):
            process = stack.enter_context(
                subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            stack.callback(process.kill)
            made.append(Program(process))
        yield made


# ---- affinity


def test_affinity_binds_all_threads() -> None:
    """Those that were there before, and those that come later; more cores than there are is all of them; and back."""
    with programs(1) as (program,):
        quota = AffinityQuota()
        quota.set(program.pid, 1)
        assert program.processors() == [frozenset(PROCESSORS[:1])] * 5
        program.grow()
        assert program.processors() == [frozenset(PROCESSORS[:1])] * 6
        quota.set(program.pid, len(PROCESSORS) + 3)
        assert set(program.processors()) == {frozenset(PROCESSORS)}
        quota.set(program.pid, 1)
        assert set(program.processors()) == {frozenset(PROCESSORS[:1])}


@pytest.mark.skipif(len(PROCESSORS) < 2, reason="one processor alone")
def test_affinity_takes_the_processors_that_fewest_have() -> None:
    """Each of two processes its own; one that is forgotten leaves its processor to the next; a process keeps what it
    has where nothing speaks for another.
    """
    with programs(3) as (one, two, three):
        quota = AffinityQuota()
        quota.set(one.pid, 1)
        quota.set(two.pid, 1)
        assert set(one.processors() + two.processors()) == {frozenset({p}) for p in PROCESSORS[:2]}
        quota.keep([two.pid])
        quota.set(three.pid, 1)
        assert set(three.processors()) == {frozenset(PROCESSORS[:1])}
        before = two.processors()
        quota.set(two.pid, 1)
        assert two.processors() == before


def test_a_process_that_is_gone() -> None:
    """Is told as such, by the way that is asked."""
    with programs(1) as (program,):
        pid = program.pid
    with pytest.raises(ProcessLookupError):
        AffinityQuota().set(pid, 1)


# ---- cgroup v2, in a directory that stands for the kernel's


def tree(root: Path, *enabled: str) -> Path:
    """A tree with the cgroups a, a/b and a/b/ours; the CPU controller is enabled for the children of those named."""
    for name in ("a", "a/b", "a/b/ours"):
        (root / name).mkdir(parents=True)
        controllers = "cpu memory pids" if name in enabled else "memory pids"
        (root / name / "cgroup.subtree_control").write_text(controllers)
    (root / "cgroup.subtree_control").write_text("memory")
    (root.parent / "membership").write_text("1:name=systemd:/x\n0::/a/b/ours\n")
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the tree is."""
    return tmp_path / "cgroup"


def found(root: Path) -> CpuQuota:
    """What is found in a tree."""
    return best_quota(root, root.parent / "membership")


def test_the_nearest_cgroup_with_a_cpu_controller_is_used(root: Path) -> None:
    """Our own has none for its children, the one above it has; a process gets a group there with its quota."""
    quota = found(tree(root, "a", "a/b"))
    assert quota.how == "cgroup"
    (tried,) = (root / "a/b").glob("ipa-seldon-*")  # a kernel's can be removed
    assert (tried / "cpu.max").read_text() == "100000 100000"
    quota.set(4711, 3)
    group = root / "a/b/ipa-seldon-4711"
    assert (group / "cpu.max").read_text() == "300000 100000"
    assert (group / "cgroup.procs").read_text() == "4711"
    quota.set(4711, 1)
    assert (group / "cpu.max").read_text() == "100000 100000"
    assert not list((root / "a").glob("ipa-seldon-*"))


def test_groups_of_processes_that_are_gone_are_removed(root: Path) -> None:
    """Once they are empty, as only a group without processes can be removed."""
    parent = tree(root) / "a"
    quota = CgroupQuota(parent)
    for pid in (1, 2, 3):
        quota.set(pid, 1)
    for file in (parent / "ipa-seldon-2").iterdir():
        file.unlink()
    quota.keep([1])
    assert sorted(group.name for group in parent.glob("ipa-seldon-*")) == ["ipa-seldon-1", "ipa-seldon-3"]


@pytest.mark.parametrize("case", ["none enabled", "not v2", "not in it", "outside"])
def test_without_a_cgroup_for_us_it_is_affinity(root: Path, case: str) -> None:
    """No controller for children, a system of v1 alone, a membership of none, or of one outside what can be seen."""
    tree(root, *(() if case == "none enabled" else ("a", "a/b")))
    membership = {"not v2": "3:cpu:/a/b/ours\n", "not in it": "", "outside": "0::/../elsewhere\n"}
    if case in membership:
        (root.parent / "membership").write_text(membership[case])
    assert found(root).how == "affinity"


def test_a_quota_that_cannot_be_set_is_none(root: Path) -> None:
    """Each way is really tried: where the controllers look as if it worked, and the system refuses, it is affinity."""
    tree(root, "a", "a/b")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # no file can be written
    try:
        assert found(root).how == "affinity"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_neither() -> None:
    """Nothing is bounded, and nothing fails."""
    quota = ThreadsOnly()
    quota.set(os.getpid(), 1)
    quota.keep([])
    assert sorted(os.sched_getaffinity(0)) == PROCESSORS
    assert quota.how == "threads only"


# ---- the processes of a Triton


class Refusing(ThreadsOnly):
    """A system that lets nobody set anything."""

    how = "decree"

    def set(self, pid: int, cores: int) -> None:
        raise PermissionError(1, "Operation not permitted")


@pytest.mark.triton
def test_the_processes_of_models_are_found_and_bound(toy_repository: Path) -> None:
    """Each instance of a model has one; all their threads are bound after a load, those of other models are not; a load
    makes other processes, which are bound by the next call; a refusal of the system is one line.
    """
    with TritonServer(toy_repository, models=("double", "increment")) as server:
        assert server.pid is not None
        first = model_processes(server.pid)
        assert {model: len(pids) for model, pids in first.items()} == {"double": 1, "increment": 1}
        quota = AffinityQuota()
        limit(quota, server.pid, {"double": 1, "absent": 1})
        assert affinities(first["double"]) == {frozenset(PROCESSORS[:1])}
        assert affinities(first["increment"]) == {frozenset(PROCESSORS)}
        with TritonModels(server.grpc_url) as models:
            base = read_configuration(toy_repository, "double")
            models.load("double", model_configuration(base, 2, Allocation("medium", 2, 1, 1)))
        wait_for(lambda: not set(first["double"]) & set(processes(server, "double")))
        assert len(processes(server, "double")) == 2
        assert affinities(processes(server, "double")) == {frozenset(PROCESSORS)}
        limit(quota, server.pid, {"double": 1})
        for pid in processes(server, "double"):
            assert {len(given) for given in affinities([pid])} == {1}
        with pytest.raises(
            PlatformError, match=r"^model 'double': 2 cores by decree for process \d+: .*not permitted$"
        ):
            limit(Refusing(), server.pid, {"double": 2})
        pid = server.pid
    assert model_processes(pid) == {}


def processes(server: TritonServer, model: str) -> list[int]:
    """Those of one model."""
    assert server.pid is not None
    return model_processes(server.pid).get(model, [])


def affinities(pids: list[int]) -> set[frozenset[int]]:
    """What the threads of processes may use."""
    threads = [thread.id for pid in pids for thread in psutil.Process(pid).threads()]
    return {frozenset(os.sched_getaffinity(thread)) for thread in threads}
