"""One ConfigMap's document, kept up to date by a watch: a change is seen at once, not when a volume is refreshed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus

from ipa_seldon.cluster.api import CONFIG_MAPS, ApiError, Cluster

WATCH_SECONDS = 300
"""After which a watch is begun anew: load balancers drop quiet connections without a word."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds between two tries while the API server refuses or is away."""


class WatchedDocument:
    """The document under ``key`` of the ConfigMap ``name``; ``say`` is told of what stands in the way, once."""

    def __init__(self, cluster: Cluster, name: str, key: str, say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._name = name
        self._key = key
        self._say = say
        self._said = ""
        self.text: str | None = None
        """As last seen; None before that, or while there is no such document."""

    def run(self, stopping: threading.Event, first_wait: float = FIRST_WAIT) -> None:
        """Watch until told to stop."""
        wait = first_wait
        while not stopping.is_set():
            try:
                version = self._read()
                wait = first_wait
                while not stopping.is_set():
                    version = self._follow(version)
            except ApiError as error:
                if error.code == HTTPStatus.GONE:  # what happened meanwhile is read instead
                    continue
                if str(error) != self._said:
                    self._say(f"ConfigMap {self._name} cannot be watched: {error}")
                    self._said = str(error)
                stopping.wait(wait)
                wait = min(2 * wait, LONGEST_WAIT)

    def _read(self) -> str:
        found = self._cluster.get(CONFIG_MAPS, self._name)
        self._take(found)
        # Version 0 is any: the watch then begins with the object, should it be made.
        return str(found["metadata"]["resourceVersion"]) if found is not None else "0"

    def _follow(self, version: str) -> str:
        """One watch to its end; returns the version to go on from."""
        for event in self._cluster.watch(CONFIG_MAPS, self._name, version, WATCH_SECONDS):
            self._take(None if event["type"] == "DELETED" else event["object"])
            version = str(event["object"]["metadata"]["resourceVersion"])
        return version

    def _take(self, found: dict[str, dict[str, str]] | None) -> None:
        self.text = ((found or {}).get("data") or {}).get(self._key)
