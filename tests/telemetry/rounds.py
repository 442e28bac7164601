"""Real rounds of the toy pipeline's loop, on a platform in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ipa_seldon.bootstrap import build_algorithm, build_controller
from ipa_seldon.config import Config, read_config
from ipa_seldon.controller import Controller
from ipa_seldon.plan import Decision
from tests.adapter.files import write_toy
from tests.fakes import MemoryPlatform

UNKNOWN = (math.nan,) * 5


def toy(directory: Path, name: str = "toy", **spec: Any) -> Config:
    """The toy pipeline; ``name`` need not be one that a pipeline file may hold."""
    config = read_config(write_toy(directory, **spec))
    metadata = config.document.metadata.model_copy(update={"name": name})
    return replace(config, document=config.document.model_copy(update={"metadata": metadata}))


class Rounds:
    """The loop of ``config``, told the time by the test; ``listeners`` get its decisions."""

    def __init__(self, config: Config, *listeners: Callable[[Decision], None]) -> None:
        self.platform = MemoryPlatform({}, ())
        self._loop: Controller = build_controller(config, self.platform, build_algorithm(config), listeners)

    def round(self, now: float, arrivals: Sequence[float]) -> Decision:
        """One round at ``now`` after these requests per second."""
        self.platform.arrivals = tuple(arrivals)
        return self._loop.step(now)
