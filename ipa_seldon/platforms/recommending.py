"""A platform that is watched and never changed: what would be done to it is said, and decided from what really runs."""

from __future__ import annotations

from ipa_seldon.errors import RecommendedError
from ipa_seldon.plan import Observation, Plan, plan_words
from ipa_seldon.platforms import Platform


class Recommending:
    """Observes ``platform``, and applies nothing to it."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def observe(self, now: float) -> Observation:
        """As the platform does."""
        return self._platform.observe(now)

    def apply(self, plan: Plan) -> None:
        """RecommendedError, whatever the plan."""
        raise RecommendedError(f"only recommended: {plan_words(plan)}")
