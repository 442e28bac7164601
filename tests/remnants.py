"""What servers have left behind, on a machine where others may run too."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import psutil

from ipa_seldon.platforms.triton_server import SHARED_MEMORY
from tests.waiting import wait_for

_MAPPED = re.compile(r"/(ipa_seldon_[^/\s]+)")


def abandoned_memory() -> set[str]:
    """Names of Tritons' shared memory that no process has mapped: that of living servers is their own. That of a server
    which ends in just this moment, also another process's, may be among them.
    """
    files = {path.name for path in SHARED_MEMORY.glob("ipa_seldon_*")}
    mapped: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps") if files else ():
        with suppress(OSError):  # gone by now
            mapped.update(_MAPPED.findall(maps.read_text(encoding="utf-8", errors="replace")))
    # Looked at again: what was unmapped in between may be gone.
    return {name for name in files - mapped if (SHARED_MEMORY / name).exists()}


def await_nothing_abandoned(before: set[str]) -> None:
    """Until no memory is abandoned but what was ``before``: what is being removed goes, what is left stays."""
    wait_for(lambda: abandoned_memory() <= before)


def processes_of(directory: Path) -> set[str]:
    """Living processes whose command lines name ``directory``."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if str(directory) in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.add(f"{process.pid} {process.name()}")
    return found
