"""An algorithm with a fault, as a plug-in may have."""

from __future__ import annotations

from ipa_seldon.algorithms import Settings
from ipa_seldon.algorithms.ipa import Ipa
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Observation, Proposal


class Faulty:
    """IPA that falls over as soon as there is a load."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self._sound = Ipa(pipeline, settings)

    def decide(self, rate: float, observation: Observation) -> Proposal:
        """A plan without load, a ZeroDivisionError with one."""
        if rate > 0:
            raise ZeroDivisionError("a fault of the plug-in")
        return self._sound.decide(rate, observation)
