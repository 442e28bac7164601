"""The local platform: one real Triton server on this machine that runs every stage of a pipeline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from ipa_seldon.errors import LoadError, PlatformError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Backlog, LoadFault, Observation, Plan, check_plan, counted
from ipa_seldon.platforms.cpu_quota import CpuQuota, limit
from ipa_seldon.platforms.stage_models import StageModels, in_parallel
from ipa_seldon.platforms.transition import Models, models_of, transition
from ipa_seldon.platforms.triton_server import TritonServer

WATCH_PERIOD = 0.1
LONGEST_BACKOFF = 5.0
DRAIN_PERIOD = 0.02
DRAIN_GRACE = 1.0
"""Seconds past the SLO after which requests that are still under way to a variant are not waited for any more."""


class Dispatcher(Protocol):
    """What sends each request of a stage to one of its variants. All calls raise PlatformError when it is gone."""

    def dispatch(self, table: Mapping[str, Mapping[str, float]]) -> None:
        """Share requests by stage -> version -> weight from now on; stages that it leaves out run no set."""
        ...

    def dispatched(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """Stage -> every version with requests in flight, or with a weight."""
        ...

    def backlog(self) -> Backlog:
        """What requests have left."""
        ...


class LocalPlatform:
    """Owns a Triton server over ``repository``: a stage is the model of that name, a variant one of its versions.

    A stage that was once given several variants is a set from then on: each variant is a model of its own, with cores,
    replicas and a batch of its own, and a dispatcher shares the requests (``connect``).

    ``arrivals(now)`` gives the arrivals per second up to ``now``, oldest first. With a ``quota`` each model process may
    use as many cores as its plan says, and no more. A crashed server is restarted on the same ports with the plan that
    was active: till then requests fail at once. ``loads`` counts the changes sent to Triton, ``restarts`` the restarts
    after a crash.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        repository: Path,
        arrivals: Callable[[float], Sequence[float]],
        *,
        quota: CpuQuota | None = None,
        work_directory: Path | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._quota = quota
        self._arrivals = arrivals
        self._active: dict[str, tuple[Allocation, ...]] = {}
        self._table: dict[str, dict[str, float]] = {}
        self._dispatcher: Dispatcher | None = None
        self._changing = threading.RLock()
        self._shifting = threading.Lock()
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="triton-watcher", daemon=True)
        self.server = TritonServer(repository, work_directory)
        self._models = StageModels(pipeline, repository, self.server)
        self.restarts = 0

    @property
    def loads(self) -> int:
        """Changes sent to Triton so far."""
        return self._models.loads

    def start(self, plan: Plan) -> None:
        """Start the server, return when it runs ``plan``. PlatformError, and nothing left behind, when it cannot."""
        try:
            self._check(plan)
            with self._changing:
                self.server.start()
                self._change(plan, {})
            self._watcher.start()
        except BaseException:
            self.stop()
            raise

    def connect(self, dispatcher: Dispatcher) -> None:
        """Let ``dispatcher`` share the requests of sets. There must be no requests for sets before."""
        with self._changing:
            self._dispatcher = dispatcher
            dispatcher.dispatch(self._table)

    def stop(self) -> None:
        """End the server and everything it started; may be called more than once."""
        self._stopping.set()
        with self._changing:
            self.server.stop()
            if self._quota is not None:
                self._quota.keep(())
        if self._watcher.is_alive():
            self._watcher.join()

    def __enter__(self) -> LocalPlatform:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def observe(self, now: float) -> Observation:
        """What Triton says it runs, by the shares that are in force, and the arrivals up to ``now``; what requests have
        left, where they have deadlines.
        """
        with self._changing:
            running = {stage: self._running(stage, loaded) for stage, loaded in self._models.loaded().items()}
        asked = self._dispatcher if self._pipeline.by_deadline else None
        plan = {stage: ran for stage, ran in running.items() if ran}
        try:
            arrivals, backlog = tuple(self._arrivals(now)), asked.backlog() if asked else Backlog()
        except LoadError as error:
            return Observation(now, (), plan, fault=LoadFault(error.reason, str(error)))
        return Observation(now, arrivals, plan, *backlog)

    def apply(self, plan: Plan) -> None:
        """Change the stages whose allocations differ from what runs, side by side; return when all serve as planned.

        A stage that cannot follow keeps what it ran.
        """
        self._check(plan)
        with self._changing:
            loaded = self._models.loaded()
            changed = {stage: wanted for stage, wanted in plan.items() if not self._runs(stage, wanted, loaded[stage])}
            self._change(changed, loaded)

    def _check(self, plan: Plan) -> None:
        """PlatformError for a plan that is not of this pipeline, or needs GPUs."""
        check_plan(self._pipeline, plan)
        for stage, allocations in plan.items():
            for one in allocations:
                if one.gpus:
                    gpus = f"variant {one.variant!r}: {counted(one.gpus, 'GPU')}"
                    raise PlatformError(f"plan: stage {stage!r}: {gpus}; accepted: none, on this machine")

    def _wanted(self, stage: str, allocations: Sequence[Allocation]) -> dict[str, Allocation]:
        """The models that are to run ``allocations``."""
        return models_of(self._pipeline.stage(stage), allocations, len(allocations) > 1 or stage in self._table)

    def _running(self, stage: str, loaded: Models) -> tuple[Allocation, ...]:
        """What the stage's requests go to of the models that are ``loaded``, in the order of the plan in force."""
        active = self._active.get(stage, ())
        return tuple(
            replace(loaded[model], share=allocation.share)
            for model, allocation in zip(self._wanted(stage, active), active, strict=True)
            if model in loaded
        )

    def _runs(self, stage: str, allocations: tuple[Allocation, ...], loaded: Models) -> bool:
        """Whether the stage, of which these models are ``loaded``, runs ``allocations`` and nothing else."""
        return self._active.get(stage) == allocations and loaded == self._wanted(stage, allocations)

    def _change(self, plan: Plan, loaded: Mapping[str, Models]) -> None:
        """Make stages run ``plan`` that have these models ``loaded``."""
        try:
            in_parallel(self._transition, [(stage, wanted, loaded.get(stage, {})) for stage, wanted in plan.items()])
        finally:
            self._limit()

    def _limit(self) -> None:
        """Give the processes of what is in force their cores. A load has made new ones."""
        if self._quota is not None and self.server.pid is not None:
            wanted = [self._wanted(stage, active) for stage, active in self._active.items()]
            cores = {model: allocation.cores for models in wanted for model, allocation in models.items()}
            limit(self._quota, self.server.pid, cores)

    def _transition(self, stage: str, allocations: tuple[Allocation, ...], before: Models) -> None:
        """Create, wait until it is ready, shift, drain, delete. What serves keeps serving where the new cannot."""
        after = self._wanted(stage, allocations)
        steps = transition(before, after)
        try:
            self._models.load(stage, steps.first)
            self._shift(stage, allocations, as_set=stage not in after)
        except PlatformError:
            with suppress(PlatformError):
                self._undo(stage, before)
            raise
        if steps.leaving:
            self._drain(stage)
        self._models.load(stage, steps.later)
        self._models.unload(steps.leaving)

    def _shift(self, stage: str, allocations: tuple[Allocation, ...], as_set: bool) -> None:
        """Send the stage's requests to ``allocations`` from now on."""
        variants = self._pipeline.stage(stage)
        shares = {str(variants.variant(a.variant).version): a.share for a in allocations}
        with self._shifting:
            table = self._table | ({stage: shares} if as_set else {})
            if self._dispatcher is not None and table != self._table:
                self._dispatcher.dispatch(table)
            self._table = table
            self._active[stage] = allocations

    def _undo(self, stage: str, before: Models) -> None:
        """Back to the models of ``before``, once it is certain that requests go to these."""
        with self._shifting:
            if self._dispatcher is not None:
                self._dispatcher.dispatch(self._table)
        now = self._models.loaded(stage)[stage]
        self._models.unload(now.keys() - before.keys())
        self._models.load(stage, {model: ran for model, ran in before.items() if now.get(model) != ran})

    def _drain(self, stage: str) -> None:
        """Return when no request is under way to variants that get none any more: soon, since each has a deadline."""
        deadline = time.monotonic() + self._pipeline.slo + DRAIN_GRACE
        while self._dispatcher is not None and time.monotonic() < deadline:
            if self._dispatcher.dispatched()[stage].keys() <= self._table[stage].keys():
                return
            time.sleep(DRAIN_PERIOD)

    def _watch(self) -> None:
        """Restart the server whenever it has died, less and less often while that fails."""
        wait = WATCH_PERIOD
        while not self._stopping.wait(wait):
            if self.server.alive:
                wait = WATCH_PERIOD
                continue
            with suppress(PlatformError):
                self._restart()
            wait = min(2 * wait, LONGEST_BACKOFF)

    def _restart(self) -> None:
        """All stages serve again, or the server is down, so that the watcher tries again."""
        with self._changing:
            if self._stopping.is_set():
                return
            self.restarts += 1
            try:
                self.server.start()
                self._change(self._active, {})
            except PlatformError:
                self.server.stop()
                raise
