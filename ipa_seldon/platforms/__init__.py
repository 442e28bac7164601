"""Where plans run. A platform observes what runs and makes a plan so; nothing else touches servers or clusters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ipa_seldon.plan import Observation, Plan

PLATFORMS: Mapping[str, str] = {
    "local": "ipa_seldon.platforms.local:LocalPlatform",
    "simulator": "ipa_seldon.platforms.simulator:SimulatedPlatform",
}


class Platform(Protocol):
    """Both calls raise PlatformError when the platform cannot be reached or did not follow."""

    def observe(self, now: float) -> Observation:
        """What runs at ``now`` (seconds since the epoch), read back from the platform, and the arrivals so far."""
        ...

    def apply(self, plan: Plan) -> None:
        """Make ``plan`` run, return when it does. Nothing is sent for a stage that already runs as planned."""
        ...
