"""What the adapter remembers of a pipeline, kept in its plan ConfigMap beside the plan that the sidecars read.

Nothing else is remembered anywhere: an adapter that starts reads this and goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ipa_seldon.errors import PlatformError
from ipa_seldon.plan import Plan, plan_from_json, plan_to_json, plan_words, same_plan

FORMAT = 1
KEY = "record.json"
"""The key of the record in the ConfigMap."""


@dataclass(frozen=True)
class Record:
    """Times are seconds since the epoch.

    ``plan`` is what the cluster was last asked for, at ``since``; ``replicas`` what each Deployment asked for then;
    ``told`` the digest of the plan document as written last. ``settled`` is when all of it ran (None: not yet),
    ``healthy`` the last plan that proved itself. ``violations`` is the share of requests that missed the SLO before the
    change (None: not measured). ``rejected`` did not prove itself, for the reason ``why``, and is not tried again
    before ``rejected_until``. ``rolls``: the plan replaces pods, or makes some under a new name, by our own change of
    the SeldonDeployment. ``shifted`` is when requests were last moved between predictors, ``added`` names those that
    are ours.
    """

    plan: Plan
    since: float
    told: str
    replicas: Mapping[str, int] = field(default_factory=dict)
    settled: float | None = None
    healthy: Plan | None = None
    violations: float | None = None
    rejected: Plan | None = None
    rejected_until: float = 0.0
    why: str = ""
    rolls: bool = False
    shifted: float | None = None
    added: tuple[str, ...] = ()

    def forbids(self, plan: Plan, now: float) -> bool:
        """Whether ``plan`` was taken back a short time ago."""
        return self.rejected is not None and same_plan(self.rejected, plan) and now < self.rejected_until

    def quarantine(self, now: float) -> str:
        """Which plan is not tried now, and why, in words; empty: any is."""
        if self.rejected is None or now >= self.rejected_until:
            return ""
        return f"{plan_words(self.rejected)} was taken back and is not tried again yet: {self.why}"


def digest(document: str) -> str:
    """Of a plan document, to see that nobody else has written it."""
    return hashlib.sha256(document.encode()).hexdigest()[:16]


def record_to_json(record: Record) -> str:
    """The record as a document."""
    plans = {key: _plan(getattr(record, key)) for key in ("plan", "healthy", "rejected")}
    return json.dumps({"format": FORMAT, **vars(record), **plans, "replicas": dict(record.replicas)}, sort_keys=True)


def record_from_json(text: str) -> Record:
    """The inverse of ``record_to_json``; PlatformError says what is wrong with a document."""
    try:
        fields: dict[str, Any] = json.loads(text)
        written = fields.pop("format")
        if written != FORMAT:
            raise PlatformError(f"{KEY}: format {written!r}: accepted: {FORMAT}")
        for key in ("plan", "healthy", "rejected"):
            fields[key] = None if fields[key] is None else plan_from_json(fields[key])
        fields["added"] = tuple(fields["added"])
        return Record(**fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise PlatformError(f"{KEY}: not a record: {error!r}") from error


def _plan(plan: Plan | None) -> Any:
    return None if plan is None else plan_to_json(plan)
