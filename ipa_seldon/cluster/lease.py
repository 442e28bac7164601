"""Leader election by a Lease, so that of several adapters one acts.

The official client's election is not used: its calls have no time limit (a leader that hangs in one acts on after
its lease has passed), a refused connection ends it, and it neither stops nor lets go of the lease.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from ipa_seldon.cluster.api import LEASES, ApiError, Cluster

DURATION = 15
"""Seconds after which a lease that is not renewed may be taken."""
TRUSTED = 10.0
"""Seconds after its last renewal for which a holder acts: less than DURATION, so that it has stopped before another
starts, with room for what is under way and for clocks that run apart.
"""
RENEWAL = 2.0
"""Seconds between two rounds."""


class Lease:
    """The Lease ``name``, wanted by ``identity``; ``clock`` gives seconds.

    As Kubernetes' own: a holder is judged by when its record was last seen to change, on the observer's clock.
    """

    def __init__(self, cluster: Cluster, name: str, identity: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._name = name
        self._identity = identity
        self._clock = clock
        self._seen: tuple[str, float] = ("", 0.0)
        self._renewed: float | None = None

    @property
    def held(self) -> bool:
        """Whether this process may act now."""
        return self._renewed is not None and self._clock() - self._renewed < TRUSTED

    def round(self) -> None:
        """Take the lease if it is free, keep it if it is ours. ApiError when the API server does not answer."""
        begin = self._clock()
        found = self._cluster.get(LEASES, self._name)
        try:
            if found is None:
                self._cluster.create(LEASES, self._document({}))
            elif self._may_take(found):
                self._cluster.update(LEASES, self._name, self._document(found))
            else:
                self._renewed = None
                return
        except ApiError as error:
            if error.code == HTTPStatus.CONFLICT:  # another was faster
                self._renewed = None
                return
            raise
        self._renewed = begin

    def release(self) -> None:
        """Let another take the lease at once."""
        if not self.held:
            return
        self._renewed = None
        found = self._cluster.get(LEASES, self._name)
        if found is not None and found["spec"].get("holderIdentity") == self._identity:
            found["spec"]["holderIdentity"] = ""
            self._cluster.update(LEASES, self._name, found)

    def _may_take(self, found: dict[str, Any]) -> bool:
        version = found["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, self._clock())
        spec = found.get("spec") or {}
        holder = spec.get("holderIdentity")
        return holder in (None, "", self._identity) or self._clock() - self._seen[1] > spec.get(
            "leaseDurationSeconds", DURATION
        )

    def _document(self, found: dict[str, Any]) -> dict[str, Any]:
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = found.get("spec") or {}
        ours = before.get("holderIdentity") == self._identity
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION,
            "acquireTime": before["acquireTime"] if ours else moment,
            "renewTime": moment,
            "leaseTransitions": before.get("leaseTransitions", 0) + (0 if ours or not found else 1),
        }
        metadata = found.get("metadata") or {"name": self._name}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
