"""The adapter: takes the lease, and keeps a loop for every pipeline there is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from ipa_seldon.adapter.loop import PipelineLoop
from ipa_seldon.adapter.sources import Source
from ipa_seldon.cluster.lease import RENEWAL, Lease
from ipa_seldon.errors import ConfigError, IpaSeldonError, PlatformError
from ipa_seldon.telemetry.metrics import AdapterMetrics
from ipa_seldon.telemetry.status import STANDBY, Shown

LOOK = 5.0
"""Seconds between two looks for pipelines."""
SILENT = 120.0
"""Seconds without a sign of a loop after which it counts as dead."""


class Service:
    """``sources()`` are the pipelines there are, ``build(source)`` makes the loop of one, None where it is off; ``say``
    gets a line for every change. Runs in two threads beside those of the loops.
    """

    def __init__(
        self,
        sources: Callable[[], list[Source]],
        build: Callable[[Source], PipelineLoop | None],
        lease: Lease,
        metrics: AdapterMetrics,
        say: Callable[[str], None],
    ) -> None:
        self._sources = sources
        self._build = build
        self._lease = lease
        self._metrics = metrics
        self._say = say
        self._loops: dict[str, PipelineLoop] = {}
        self._versions: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._invalid: dict[str, str] = {}
        self._reached: float | None = None
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=run, name=name, daemon=True)
            for name, run in (("lease", self._hold), ("pipelines", self._follow))
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End every loop after its round, then let go of the lease."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        for loop in self._loops.values():
            loop.stop()
        with suppress(IpaSeldonError):
            self._lease.release()

    @property
    def silent(self) -> list[str]:
        """The pipelines whose loops give no sign of life."""
        now = time.monotonic()
        return [name for name, loop in list(self._loops.items()) if now - loop.beat > SILENT]

    @property
    def reached(self) -> bool:
        """Whether the API server has answered a moment ago."""
        return self._reached is not None and time.monotonic() - self._reached < SILENT

    @property
    def role(self) -> str:
        """Whether this adapter acts."""
        return "leader" if self._lease.held else STANDBY

    @property
    def pipelines(self) -> list[Shown]:
        """Those that have a loop."""
        return [loop.shown for loop in list(self._loops.values())]

    @property
    def invalid(self) -> Mapping[str, str]:
        """Source -> why it cannot be used."""
        return dict(self._invalid)

    def _hold(self) -> None:
        led = False
        while not self._stopping.is_set():
            self._attempt("lease", self._round)
            if self._lease.held != led:
                led = self._lease.held
                self._say("leads" if led else "stands by: another adapter holds the lease")
            self._metrics.leads(self._lease.held)
            self._stopping.wait(RENEWAL)

    def _round(self) -> None:
        self._lease.round()
        self._reached = time.monotonic()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            self._attempt("pipelines", self._look)
            self._stopping.wait(LOOK)

    def _look(self) -> None:
        found = {source.name: source for source in self._sources()}
        for name in set(self._versions) - set(found):
            del self._versions[name]
            self._metrics.gone(name)
            self._invalid.pop(name, None)
            self._end(name)
        for name, source in found.items():
            if self._versions.get(name) != source.version:
                self._versions[name] = source.version
                self._renew(source)

    def _renew(self, source: Source) -> None:
        """A loop of the source as it is now; while that cannot be read, the one before it goes on."""
        try:
            loop = self._build(source)
            self._check_alone(source, loop)
        except IpaSeldonError as error:
            self._metrics.judged(source.name, refused=True)
            self._invalid[source.name] = str(error)
            going = "; what it said before is followed" if source.name in self._loops else ""
            self._say(f"{error}{going}")
            return
        self._metrics.judged(source.name, refused=False)
        self._invalid.pop(source.name, None)
        self._end(source.name)
        if loop is None:
            self._say(f"{source.name}: off")
            return
        self._loops[source.name] = loop
        loop.start()

    def _check_alone(self, source: Source, loop: PipelineLoop | None) -> None:
        """ConfigError where two files are about one graph: they would undo each other's plans."""
        for name, other in self._loops.items():
            if loop is not None and name != source.name and other.name == loop.name:
                raise ConfigError(f"{source.name}: SeldonDeployment {loop.name!r} is adapted by {name} already")

    def _end(self, name: str) -> None:
        loop = self._loops.pop(name, None)
        if loop is not None:
            loop.stop()

    def _attempt(self, what: str, attempt: Callable[[], None]) -> None:
        """A failure is told when it changes, and tried again with the next round."""
        try:
            attempt()
        except PlatformError as error:
            self._metrics.stumbled(what)
            if self._said.get(what) != str(error):
                self._say(str(error))
            self._said[what] = str(error)
        else:
            self._said.pop(what, None)
