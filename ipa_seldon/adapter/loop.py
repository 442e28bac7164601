"""The loop of one pipeline in a thread of its own, so that no pipeline waits for another or falls with it."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from typing import Protocol

from ipa_seldon.controller import Controller
from ipa_seldon.driver import drive
from ipa_seldon.errors import IpaSeldonError
from ipa_seldon.platforms.seldon.platform import SeldonPlatform
from ipa_seldon.telemetry.history import History
from ipa_seldon.telemetry.metrics import AdapterMetrics
from ipa_seldon.telemetry.status import Shown, Standing

STEP = 2.0
"""Seconds between two steps of a plan that is under way."""
AGAIN = 10.0
"""Seconds after which a loop that fell is begun again."""


class Leadership(Protocol):
    """Whether this process may act."""

    @property
    def held(self) -> bool:
        """Now."""
        ...


class PipelineLoop:
    """Steps ``controller`` while this process leads, at the interval of the ``history`` it writes, and ``platform`` in
    between.
    """

    def __init__(
        self,
        controller: Controller,
        platform: SeldonPlatform,
        history: History,
        leadership: Leadership,
        metrics: AdapterMetrics,
        say: Callable[[str], None],
    ) -> None:
        self._controller = controller
        self._platform = platform
        self._config = history.config
        self.shown = Shown(history, self._standing)
        self._leadership = leadership
        self._metrics = metrics
        self._say = say
        self.name = platform.name
        self._error = ""
        self._led = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self.beat = time.monotonic()
        """When the loop last came round, in the clock of time.monotonic()."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round under way, and wait for that."""
        self._stopping.set()
        self._thread.join()
        self._metrics.remove(self.name)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                drive(self._controller, self._config.spec.interval, self._wait)
            except Exception:  # a fault of ours: it is told and counted, and the pipeline is adapted on
                self._metrics.failed(self.name, "loop")
                self._say(f"{self.name}: begun again after a fault:\n{traceback.format_exc()}")
                self._stopping.wait(AGAIN)

    def _wait(self, seconds: float) -> bool:
        """Wait that long, and for the lead; returns whether to stop. A plan under way is taken on meanwhile."""
        due = time.monotonic() + seconds
        while not self._stopping.is_set():
            self.beat = now = time.monotonic()
            self._follow(self._leadership.held)
            if self._led:
                refusal = self._platform.refusal
                self._metrics.stands(self.name, refusal.reason if refusal else "", self._platform.waiting)
                if now >= due:
                    return False
                if self._platform.waiting:
                    self._advance()
            self._stopping.wait(min(STEP, max(due - time.monotonic(), 0.0) or STEP))
        return True

    def _follow(self, leads: bool) -> None:
        """Whoever leads tells of the pipeline, and nobody else: it would be counted twice."""
        if leads and not self._led:
            self._metrics.add(self._config)
        elif self._led and not leads:
            self._metrics.remove(self.name)
        self._led = leads

    def _standing(self) -> Standing:
        refusal = self._platform.refusal
        return Standing(f"{refusal.reason}: {refusal.message}" if refusal else "", self._platform.waiting)

    def _advance(self) -> None:
        error = ""
        try:
            self._platform.advance(time.time())
        except IpaSeldonError as failure:
            error = str(failure)
            self._metrics.failed(self.name, "advance")
            if error != self._error:
                self._say(f"{self.name}: {error}")
        self._error = error
