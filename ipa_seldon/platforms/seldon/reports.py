"""What pods serve, asked of their sidecars no more often than it can have changed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ipa_seldon.cluster.api import ApiError, Cluster
from ipa_seldon.rollout import Pod
from ipa_seldon.specs.desired import PodPlan
from ipa_seldon.specs.observed import cores_of, is_ready, resize_trouble
from ipa_seldon.specs.seldon import SIDECAR_PORT
from ipa_seldon.specs.seldon_operator import Document

_AT_ONCE = 8


class PodReports:
    """Asks by way of the API server. A pod that has reported what it is told is asked again when either changes: a
    Triton that is lost shows in the pod's readiness.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._in_sync: dict[str, tuple[str, PodPlan]] = {}

    def pods(self, container: str, documents: Sequence[Document], told: PodPlan | None) -> tuple[Pod, ...]:
        """These pods as the rollout sees them; ``container`` is Triton's."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return tuple(pool.map(lambda document: self._pod(container, document, told), documents))

    def keep(self, documents: Sequence[Document]) -> None:
        """Forget the pods that are no longer among all there are."""
        uids = {document["metadata"]["uid"] for document in documents}
        self._in_sync = {uid: seen for uid, seen in self._in_sync.items() if uid in uids}

    def _pod(self, container: str, document: Document, told: PodPlan | None) -> Pod:
        ready = is_ready(document)
        serves = self._serves(document, told) if ready else None
        name = document["metadata"]["name"]
        return Pod(name, ready, cores_of(document, container), serves, resize_trouble(document))

    def _serves(self, document: Document, told: PodPlan | None) -> PodPlan | None:
        uid, version = document["metadata"]["uid"], document["metadata"]["resourceVersion"]
        if told is not None and self._in_sync.get(uid) == (version, told):
            return told
        try:
            running = self._cluster.ask_pod(document["metadata"]["name"], SIDECAR_PORT, "status")["running"]
            serves = None if running is None else PodPlan(**running)
        except (ApiError, KeyError, TypeError):  # not there, or no sidecar of ours: nothing is known
            return None
        if serves is not None and serves == told:
            self._in_sync[uid] = (version, serves)
        return serves
