"""What runs the containers of pods: here nothing, ready at once or when a test says so."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Protocol

from tests.cluster.resources import Document

_numbers = itertools.count()


def loopback_address() -> str:
    """One that this process has not given out: all of 127/8 answers on Linux, so that any pod may use any port."""
    # The second and third numbers keep test processes apart that run side by side.
    high, low = divmod(next(_numbers), 254)
    third, second = divmod(os.getpid(), 254)
    return f"127.{1 + second}.{(third + high) % 256}.{1 + low}"


class PodRunner(Protocol):
    """Runs pods, named by their documents; called by one thread."""

    def start(self, pod: Document) -> None:
        """A pod is new."""
        ...

    def ready(self, pod: Document) -> bool:
        """Whether its containers are."""
        ...

    def resized(self, pod: Document) -> None:
        """Its containers' cpu or memory has changed."""
        ...

    def stop(self, name: str) -> None:
        """A pod is gone."""
        ...

    def ip(self, pod: Document) -> str:
        """Its address."""
        ...


class InstantPods:
    """Pods without processes. They are ready at once, except while held; those for which ``fails`` holds, never."""

    def __init__(self, fails: Callable[[Document], bool] = lambda pod: False) -> None:
        self._fails = fails
        self._held = False
        self._addresses: dict[str, str] = {}
        self._ready: set[str] = set()
        self.resizes: list[str] = []
        """Names of pods, one for each resize."""

    @property
    def running(self) -> list[str]:
        """Names of pods that were started and not stopped."""
        return list(self._addresses)

    def hold(self) -> None:
        """Pods that are not ready yet stay so."""
        self._held = True

    def release(self) -> None:
        """Undo ``hold``."""
        self._held = False

    def start(self, pod: Document) -> None:
        """See PodRunner."""
        self._addresses[pod["metadata"]["name"]] = loopback_address()

    def ready(self, pod: Document) -> bool:
        """See PodRunner."""
        name = pod["metadata"]["name"]
        if not self._held and not self._fails(pod):
            self._ready.add(name)
        return name in self._ready

    def resized(self, pod: Document) -> None:
        """See PodRunner."""
        self.resizes.append(pod["metadata"]["name"])

    def stop(self, name: str) -> None:
        """See PodRunner."""
        del self._addresses[name]
        self._ready.discard(name)

    def ip(self, pod: Document) -> str:
        """See PodRunner."""
        return self._addresses[pod["metadata"]["name"]]
