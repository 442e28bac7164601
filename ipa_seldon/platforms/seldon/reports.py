"""What pods serve, asked of their sidecars no more often than it can have changed."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ipa_seldon.cluster.api import ApiError, Cluster
from ipa_seldon.platforms.seldon.documents import View
from ipa_seldon.rollout import Pod, StageState
from ipa_seldon.specs.desired import NO_LIMIT, PodPlan, gpus_of
from ipa_seldon.specs.observed import Trouble, asked_cores, entry_of, granted_cores, is_ready, resize_trouble
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
                pods = tuple(pool.map(partial(self._pod, view, key), view.pods[key]))
            entry = view.entry(key)
            cores, start = view.cores.get(entry, NO_LIMIT), view.starting_cores(key)
            states[key] = StageState(replicas, pods, view.told.get(entry), cores, start, gpus_of(entry))
        return states

    def _pod(self, view: View, key: str, document: Document) -> Pod:
        container = view.set_of or key
        name, ready = document["metadata"]["name"], is_ready(document)
        return Pod(
            name,
            ready,
            asked_cores(document, container),
            serves=self._serves(document, view.told_to(key, document)) if ready else None,
            trouble=resize_trouble(document) or self.refused.get(name),
            granted=granted_cores(document, container),
            gpus=gpus_of(entry_of(document, key)),
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
