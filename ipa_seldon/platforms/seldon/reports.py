"""What pods serve, asked of their sidecars no more often than it can have changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ipa_seldon.cluster.api import ApiError, Cluster
from ipa_seldon.platforms.seldon.documents import View
from ipa_seldon.rollout import Pod, StageState
from ipa_seldon.specs.desired import NO_LIMIT, PodPlan
from ipa_seldon.specs.observed import Trouble, asked_cores, granted_cores, is_ready, resize_trouble
from ipa_seldon.specs.seldon import SIDECAR_PORT
from ipa_seldon.specs.seldon_operator import Document

_AT_ONCE = 8


class PodReports:
    """Asks by way of the API server. A pod that has reported what it is told is asked again when either changes: a
    Triton that is lost shows in the pod's readiness. ``refused`` is by pod why the API server does not change its
    cores.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._in_sync: dict[str, tuple[str, PodPlan]] = {}
        self.refused: Mapping[str, Trouble] = {}

    def states(self, view: View) -> dict[str, StageState | None]:
        """The stages, or the variants of a set, as the rollout sees them; None for one without a Deployment."""
        uids = {document["metadata"]["uid"] for documents in view.pods.values() for document in documents}
        self._in_sync = {uid: seen for uid, seen in self._in_sync.items() if uid in uids}
        states: dict[str, StageState | None] = dict.fromkeys(view.deployments)
        for key, replicas in view.replicas.items():
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                pods = tuple(
                    pool.map(partial(self._pod, view.set_of or key, partial(view.told_to, key)), view.pods[key])
                )
            cores = view.cores.get(key, NO_LIMIT)
            states[key] = StageState(replicas, pods, view.told.get(key), cores, view.starting_cores(key))
        return states

    def _pod(self, container: str, told: Callable[[str], PodPlan | None], document: Document) -> Pod:
        name, ready = document["metadata"]["name"], is_ready(document)
        return Pod(
            name,
            ready,
            asked_cores(document, container),
            serves=self._serves(document, told(name)) if ready else None,
            trouble=resize_trouble(document) or self.refused.get(name),
            granted=granted_cores(document, container),
        )

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
