"""Where plans run. A platform observes what runs and makes a plan so; nothing else touches servers or clusters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ipa_seldon.plan import Observation, Plan

PLATFORMS: Mapping[str, str] = {
    "local": "ipa_seldon.platforms.local:LocalPlatform",
    "seldon": "ipa_seldon.platforms.seldon.platform:SeldonPlatform",
    "simulator": "ipa_seldon.platforms.simulator:SimulatedPlatform",
}


class Platform(Protocol):
    """Both calls raise PlatformError when the platform cannot be reached or did not follow."""

    def observe(self, now: float) -> Observation:
        """What runs at ``now`` (seconds since the epoch), read back from the platform, and the arrivals so far.

        Where a plan takes its time to run, it is the plan that the platform is on its way to.
        """
        ...

    def apply(self, plan: Plan) -> None:
        """Make ``plan`` run, return when it does or is under way. Nothing is sent for a stage that already runs so.

        RefusedError when the platform is not to be changed now; RecommendedError when it never is.
        """
        ...
