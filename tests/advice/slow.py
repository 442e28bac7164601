"""An algorithm that takes its time, as a plug-in may."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ipa_seldon.algorithms import Settings
from ipa_seldon.algorithms.ipa import Ipa
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Observation, Proposal

MARK = "IPA_SELDON_TEST_MARK"
"""Names the environment variable that has the file by which it tells that it has begun."""


class Slow(Ipa):
    """IPA, a second for every decision."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        super().__init__(pipeline, settings)

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """As IPA, later."""
        Path(os.environ[MARK]).touch()
        time.sleep(1)
        return super().decide(rate, observation)
