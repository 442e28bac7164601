"""One container of a pod as a process of this machine: started again when it has ended, and asked whether it is ready.

Left out of what a kubelet does: images, start-up and liveness probes, and cgroups, so that cores are a number only.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Protocol

from ipa_seldon.errors import PlatformError
from tests.cluster.resources import Document

PERIOD = 0.1
"""Seconds after which a process that has ended is noticed: it is not ready then."""
RESTART = 2.0
"""Seconds from there to its restart: what a node takes to see that a container has ended, and to make another."""
FIRST_BACKOFF, LONGEST_BACKOFF = 10.0, 300.0
"""Seconds from one restart to the next at least, the more the more there were."""


class Process(Protocol):
    """What a container runs."""

    @property
    def alive(self) -> bool:
        """Whether it does."""
        ...

    def start(self) -> None:
        """Start it, anew where it has ended; PlatformError when it cannot be."""
        ...

    def stop(self) -> None:
        """End it, and kill it when it does not."""
        ...


class Command:
    """A process of the ``group``, which writes to ``log``; killed when it does not end within ``grace`` seconds."""

    def __init__(
        self, arguments: list[str], environment: Mapping[str, str], log: Path, group: int, grace: float
    ) -> None:
        self._arguments = arguments
        self._environment = dict(environment)
        self._log = log
        self._group = group
        self._grace = grace
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process; None before the first start."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """See Process."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """See Process."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=self._group,
            )

    def stop(self) -> None:
        """See Process."""
        if self._process is None:
            return
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(self._grace)
        self._process.kill()
        self._process.wait()


class Container:
    """Keeps ``process`` running as the container ``document`` asks for, in a thread.

    ``say`` is told of failed starts; ``refresh()`` is called before the first, and every PERIOD seconds.
    """

    def __init__(
        self,
        document: Document,
        address: str,
        process: Process,
        say: Callable[[str], None],
        refresh: Callable[[], None] = lambda: None,
    ) -> None:
        self._process = process
        self._say = say
        self._refresh = refresh
        self._probe = Probe(document, address)
        self._drain = drain_seconds(document)
        self._starts = 0
        self._due = 0.0
        self._stopping = threading.Event()
        self._hurried = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{document['name']} at {address}", daemon=True)

    @property
    def ready(self) -> bool:
        """Whether it runs, and its readiness probe says so."""
        return self._process.alive and self._probe.good

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended for good."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, hurried: bool = False) -> None:
        """End it as Kubernetes does, its preStop first unless ``hurried``; returns at once."""
        if hurried:
            self._hurried.set()
        self._stopping.set()

    def join(self) -> None:
        """Return when it has ended."""
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.wait(PERIOD):
                self._refresh()
                if self._process.alive:
                    self._probe.round()
                else:
                    self._restart()
        finally:
            if self._process.alive:
                self._hurried.wait(self._drain)
            self._process.stop()

    def _restart(self) -> None:
        """Start it, when it is time to."""
        self._probe.good = False
        if self._starts and self._stopping.wait(max(self._due - time.monotonic(), RESTART)):
            return
        backoff = min(FIRST_BACKOFF * 2 ** (self._starts - 1), LONGEST_BACKOFF) if self._starts else 0.0
        self._starts, self._due = self._starts + 1, time.monotonic() + backoff
        try:
            self._process.start()
        except PlatformError as error:
            self._say(f"{self._thread.name}: {error}")


class Probe:
    """A container's readiness probe: ``good`` as of the last round."""

    def __init__(self, document: Document, address: str) -> None:
        probe = document["readinessProbe"]
        named = {port["name"]: port["containerPort"] for port in document.get("ports", ())}
        port, self._path = probe["httpGet"]["port"], probe["httpGet"]["path"]
        self._address = (address, int(named.get(port, port)))
        self._period, self._timeout = float(probe["periodSeconds"]), float(probe["timeoutSeconds"])
        self._patience = int(probe["failureThreshold"])
        self._failures = 0
        self._due = 0.0
        self.good = False

    def round(self) -> None:
        """Ask, when it is time to."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + self._period
        if self._answers():
            self._failures, self.good = 0, True
            return
        self._failures += 1
        if self._failures >= self._patience:
            self.good = False

    def _answers(self) -> bool:
        with closing(HTTPConnection(*self._address, timeout=self._timeout)) as connection:
            try:
                connection.request("GET", self._path)
                return 200 <= connection.getresponse().status < 400
            except (OSError, HTTPException):
                return False


def drain_seconds(document: Document) -> float:
    """How long a container's preStop sleeps; 0 without one."""
    command = document.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ("sleep", "0"))
    assert command[0] == "sleep", f"{document['name']}: preStop: {command}: accepted: sleep"
    return float(command[1])
