"""Cores for the model processes of a Triton on this machine, changed while they run.

By a quota of cgroup v2 where we may set one, else by the processors that all their threads may use. Where neither can
be, a process has as many threads as its plan has cores, and the system's scheduler shares the processors.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ipa_seldon.errors import PlatformError

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
PERIOD = 100_000
"""Microseconds over which a quota is counted; the kernel's default."""
STUB = "triton_python_backend_stub"
_PREFIX = "ipa-seldon-"


class CpuQuota(Protocol):
    """A way to give processes cores; ``how`` names it. A process that is gone raises ProcessLookupError."""

    how: str

    def set(self, pid: int, cores: int) -> None:
        """Let a process, with all the threads that it has and will have, use ``cores`` cores from now on."""
        ...

    def keep(self, pids: Collection[int]) -> None:
        """Forget all processes but these."""
        ...


class CgroupQuota:
    """A cgroup for each process, in the cgroup ``parent``, whose children have a CPU controller."""

    how = "cgroup"

    def __init__(self, parent: Path) -> None:
        self._parent = parent

    def set(self, pid: int, cores: int) -> None:
        """See CpuQuota."""
        group = self._parent / f"{_PREFIX}{pid}"
        group.mkdir(exist_ok=True)
        (group / "cpu.max").write_text(f"{cores * PERIOD} {PERIOD}")
        (group / "cgroup.procs").write_text(str(pid))

    def keep(self, pids: Collection[int]) -> None:
        """See CpuQuota. Also those that another run has left behind; a group that has a process cannot be removed."""
        for group in self._parent.glob(f"{_PREFIX}*"):
            if group.name.removeprefix(_PREFIX) not in map(str, pids):
                with suppress(OSError):
                    group.rmdir()


class AffinityQuota:
    """As many of this process's processors, those first that the fewest other processes were given."""

    how = "affinity"

    def __init__(self) -> None:
        self._processors = sorted(os.sched_getaffinity(0))
        self._given: dict[int, frozenset[int]] = {}

    def set(self, pid: int, cores: int) -> None:
        """See CpuQuota."""
        mine = self._given.pop(pid, frozenset())
        others = [processor for given in self._given.values() for processor in given]
        ranked = sorted(self._processors, key=lambda processor: (others.count(processor), processor not in mine))
        self._given[pid] = frozenset(ranked[:cores])
        _pin(pid, self._given[pid])

    def keep(self, pids: Collection[int]) -> None:
        """See CpuQuota."""
        self._given = {pid: given for pid, given in self._given.items() if pid in pids}


class ThreadsOnly:
    """No quota: a process's threads are all that bounds it."""

    how = "threads only"

    def set(self, pid: int, cores: int) -> None:
        """See CpuQuota. Nothing."""

    def keep(self, pids: Collection[int]) -> None:
        """See CpuQuota. Nothing."""


def best_quota(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> CpuQuota:
    """The best way that works here, found by trying each; it leaves no trace. The paths are the kernel's."""
    for parent in _cgroups(cgroups, membership):
        if _works(CgroupQuota(parent)):
            return CgroupQuota(parent)
    if hasattr(os, "sched_setaffinity") and _works(AffinityQuota()):
        return AffinityQuota()
    return ThreadsOnly()


def limit(quota: CpuQuota, server: int, cores: Mapping[str, int]) -> None:
    """Let each process of a model use so many ``cores`` (by the model's name) of this machine; ``server`` is Triton's
    process id. To be called after every load, which makes new processes. PlatformError where the system refuses.
    """
    processes = model_processes(server)
    quota.keep([pid for pids in processes.values() for pid in pids])
    for model, count in cores.items():
        for pid in processes.get(model, ()):
            try:
                quota.set(pid, count)
            except ProcessLookupError:  # unloaded since it was listed
                continue
            except OSError as error:
                raise PlatformError(
                    f"model {model!r}: {count} cores by {quota.how} for process {pid}: {error}"
                ) from error


def model_processes(server: int) -> dict[str, list[int]]:
    """Model -> the processes that serve it, one per instance, of the Triton of that process id.

    Triton's Python back end starts a stub for each, whose last argument but one is <model>_<group>_<instance>. (Its
    first, the file it runs, lies with the model, or with a back end written in Python that serves several.)
    """
    import psutil

    found: dict[str, list[int]] = {}
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(server).children(recursive=True):
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                program, *arguments = child.cmdline() or [""]
                if Path(program).name == STUB and len(arguments) > 1:
                    found.setdefault(arguments[-2].rsplit("_", 2)[0], []).append(child.pid)
    return found


def _pin(pid: int, processors: Collection[int]) -> None:
    """Every thread: one that begins takes over what the thread has that starts it, so none is left once all are set."""
    pinned: set[str] = set()
    while new := set(_threads(pid)) - pinned:
        for thread in new:
            with suppress(ProcessLookupError):  # it has ended
                os.sched_setaffinity(int(thread), processors)
        pinned |= new


def _threads(pid: int) -> list[str]:
    try:
        return [entry.name for entry in Path(f"/proc/{pid}/task").iterdir()]
    except FileNotFoundError as error:
        raise ProcessLookupError(f"no process {pid}") from error


def _cgroups(root: Path, membership: Path) -> Iterator[Path]:
    """The cgroups of v2 in which groups with quotas may be made: ours and those above it, the nearest first. None where
    the CPU controller is not enabled for their children: to do that is up to whoever runs the system.
    """
    try:
        ours = next(line[3:] for line in membership.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return
    path = root / ours.strip("/")
    for candidate in (path, *path.parents):
        if candidate.is_relative_to(root) and ".." not in candidate.parts:
            with suppress(OSError):
                if "cpu" in (candidate / "cgroup.subtree_control").read_text().split():
                    yield candidate


def _works(quota: CpuQuota) -> bool:
    """Whether a process can be given one core."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        try:
            quota.set(process.pid, 1)
        except OSError:
            return False
        finally:
            process.communicate()
            quota.keep(())
    return True
