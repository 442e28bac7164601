"""One round of a sidecar: what is wanted, what Triton runs, and one load where they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Protocol

from ipa_seldon.errors import PlatformError
from ipa_seldon.plan import Allocation
from ipa_seldon.specs.desired import PodPlan
from ipa_seldon.specs.triton import allocation_of, batch_delay, model_configuration, queue_slo

LONGEST_BACKOFF = 60.0
UNPLANNED = ""
"""The variant of what runs without any plan having asked for it."""


class Models(Protocol):
    """What is asked of Triton; every call raises PlatformError when it is refused or not answered."""

    def ready_versions(self) -> Mapping[str, frozenset[int]]:
        """Model -> versions that answer."""
        ...

    def configuration(self, model: str) -> dict[str, Any]:
        """What a loaded model runs with, in Triton's own notation."""
        ...

    def load(self, model: str, configuration: Mapping[str, Any] | None) -> None:
        """Load or change a model, by default as the repository states; the old one answers until the new one does."""
        ...


@dataclass(frozen=True)
class Round:
    """How a round ended. ``wanted`` is None without a readable plan, ``running`` where no version answers.

    ``ready``: Triton serves a plan that this sidecar was given, be it not the newest. ``error`` says in words what
    keeps the newest from running. ``load_seconds`` is what a load took that was tried, None where none was.
    """

    wanted: PodPlan | None
    running: PodPlan | None
    ready: bool
    error: str = ""
    load_seconds: float | None = None

    @property
    def in_sync(self) -> bool:
        """Whether what runs is what is wanted."""
        return self.wanted is not None and self.wanted == self.running


class Reconciler:
    """Keeps one ``stage``'s model as ``read_plan()`` wants it, which raises PlatformError or OSError without a plan.

    ``clock`` gives seconds. Between two loads at least ``min_interval`` seconds pass, since each costs latency; after
    failed ones twice as many each time, up to LONGEST_BACKOFF, unless the plan has changed. A Triton that does not
    serve the model at all gets it at once.
    """

    def __init__(
        self,
        stage: str,
        read_plan: Callable[[], PodPlan],
        connect: Callable[[], AbstractContextManager[Models]],
        clock: Callable[[], float],
        min_interval: float,
    ) -> None:
        self._stage = stage
        self._read_plan = read_plan
        self._connect = connect
        self._clock = clock
        self._min_interval = min_interval
        self._names: dict[int, str] = {}
        self._accepted: PodPlan | None = None
        self._failed: PodPlan | None = None
        self._failure = ""
        self._failures = 0
        self._next_load = -inf

    def step(self) -> Round:
        """Look, and load at most once. What fails below is the round's error."""
        wanted, error = self._wanted()
        try:
            with self._connect() as models:
                running = self._running(models)
                if wanted is None or running == wanted or not self._due(wanted, running):
                    return self._ended(wanted, running, error or self._why_not(wanted, running))
                return self._load(models, wanted)
        except PlatformError as failure:
            return self._ended(wanted, None, str(failure))

    def _wanted(self) -> tuple[PodPlan | None, str]:
        try:
            wanted = self._read_plan()
        except (OSError, UnicodeDecodeError) as error:
            return None, f"plan: cannot be read: {error}"
        except PlatformError as error:
            return None, str(error)
        self._names[wanted.version] = wanted.variant
        return wanted, ""

    def _running(self, models: Models) -> PodPlan | None:
        """What answers requests, read back from Triton; without a variant's name where no plan made it so."""
        ready = models.ready_versions().get(self._stage, frozenset())
        if not ready:
            return None
        configuration = models.configuration(self._stage)
        try:
            allocation = allocation_of(configuration, {version: str(version) for version in ready})
        except PlatformError:  # the repository's own state: several versions, or one that is still loading
            return PodPlan(UNPLANNED, max(ready), 0, 0, 0.0)
        version = int(allocation.variant)
        ours = allocation.replicas == 1
        name = self._names.get(version, UNPLANNED) if ours else UNPLANNED
        delay, slo = batch_delay(configuration), queue_slo(configuration)
        return PodPlan(name, version, allocation.cores, allocation.batch, delay, slo, allocation.gpus)

    def _due(self, wanted: PodPlan, running: PodPlan | None) -> bool:
        if running is None and not self._failures:
            return True
        if self._failures and wanted != self._failed:
            return True  # a plan that was mended need not wait for the broken one's turn
        return self._clock() >= self._next_load

    def _load(self, models: Models, wanted: PodPlan) -> Round:
        begin = self._clock()
        error = ""
        try:
            self._change(models, wanted)
        except PlatformError as failure:
            error = str(failure)
        running = self._running(models)
        if not error and running != wanted:
            error = f"stage {self._stage!r}: Triton runs {running} instead of {wanted}"
        end = self._clock()
        self._failures = self._failures + 1 if error else 0
        self._failed, self._failure = (wanted, error) if error else (None, "")
        wait = self._min_interval * 2**self._failures
        self._next_load = end + (min(wait, max(LONGEST_BACKOFF, self._min_interval)) if error else wait)
        return replace(self._ended(wanted, running, error), load_seconds=end - begin)

    def _change(self, models: Models, wanted: PodPlan) -> None:
        """Load ``wanted``, based on the configuration that Triton has: this needs no access to the repository."""
        if self._stage not in models.ready_versions():
            models.load(self._stage, None)
        allocation = Allocation(wanted.variant, 1, wanted.cores, wanted.batch, gpus=wanted.gpus)
        base = models.configuration(self._stage)
        models.load(self._stage, model_configuration(base, wanted.version, allocation, wanted.delay, wanted.slo))

    def _why_not(self, wanted: PodPlan | None, running: PodPlan | None) -> str:
        if wanted is None or running == wanted:
            return ""
        return self._failure or "the last change is too recent for another"

    def _ended(self, wanted: PodPlan | None, running: PodPlan | None, error: str) -> Round:
        if wanted is not None and running == wanted:
            self._accepted = wanted
        return Round(wanted, running, running is not None and running == self._accepted, error)
