"""The toy pipeline's loads and logs: light takes 100 requests/s on a core, heavy 20."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipa_seldon.bootstrap import build_algorithm, build_forecaster
from ipa_seldon.config import Config, read_config
from ipa_seldon.controller import Controller
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.platforms.recommending import Recommending
from ipa_seldon.telemetry.audit import AuditLog
from tests.adapter.files import write_toy
from tests.fakes import MemoryPlatform

START = 1_700_000_000
"""Seconds since the epoch at which histories begin."""
HISTORY = 6
"""Seconds of arrivals in an observation."""


def toy_config(directory: Path, **spec: Any) -> Config:
    """Decides every second by the load of the last one; light and heavy variants, one core at first."""
    return read_config(write_toy(directory, **{"interval": "1s"} | spec))


def light(double: int, increment: int = 1, cores: int = 1) -> Plan:
    """So many light replicas of each stage."""
    counts = {"double": double, "increment": increment}
    return {stage: (Allocation("light", count, cores, 1),) for stage, count in counts.items()}


def write_log(path: Path, config: Config, loads: Sequence[float], ran: Plan, acts: bool = False) -> None:
    """What an adapter logs while ``loads`` (requests/s of each second) come and ``ran`` runs, where it only recommends;
    with ``acts``, at first.
    """
    platform = MemoryPlatform(ran, [])
    with AuditLog(path, config) as log:
        watched = platform if acts else Recommending(platform)
        loop = Controller(watched, build_forecaster(config), build_algorithm(config), [log])
        for second in range(1, len(loads) + 1):
            platform.arrivals = tuple(loads[max(0, second - HISTORY) : second])
            loop.step(START + second + 0.2)
