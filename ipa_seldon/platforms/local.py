"""The local platform: one real Triton server on this machine that runs every stage of a pipeline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from ipa_seldon.errors import PlatformError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Allocation, Observation, Plan
from ipa_seldon.platforms.triton_models import TritonModels, read_configuration
from ipa_seldon.platforms.triton_server import TritonServer
from ipa_seldon.queueing import queue_delay
from ipa_seldon.specs.triton import allocation_of, model_configuration

WATCH_PERIOD = 0.1
LONGEST_BACKOFF = 5.0


class LocalPlatform:
    """Owns a Triton server over ``repository``: a stage is the model of that name, a variant one of its versions.

    ``arrivals(now)`` gives the arrivals per second up to ``now``, oldest first. ``environment`` is added to what model
    processes inherit. A crashed server is restarted on the same ports with the plan that was active: till then requests
    fail at once. ``loads`` counts the changes sent to Triton, ``restarts`` the restarts after a crash.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        repository: Path,
        arrivals: Callable[[float], Sequence[float]],
        *,
        environment: Mapping[str, str] | None = None,
        work_directory: Path | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._arrivals = arrivals
        self._configurations = {s.name: read_configuration(repository, s.name) for s in pipeline.stages}
        self._variants = {s.name: {v.version: v.name for v in s.variants} for s in pipeline.stages}
        self._active: dict[str, Allocation] = {}
        self._changing = threading.RLock()
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="triton-watcher", daemon=True)
        self.server = TritonServer(repository, work_directory, environment=environment)
        self.loads = 0
        self.restarts = 0

    def start(self, plan: Plan) -> None:
        """Start the server, return when it runs ``plan``. PlatformError, and nothing left behind, when it cannot."""
        try:
            wanted = self._checked(plan)
            with self._changing:
                self.server.start()
                self._change(wanted)
            self._watcher.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and everything it started; may be called more than once."""
        self._stopping.set()
        with self._changing:
            self.server.stop()
        if self._watcher.is_alive():
            self._watcher.join()

    def __enter__(self) -> LocalPlatform:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def observe(self, now: float) -> Observation:
        """What Triton says it runs, and the arrivals up to ``now``."""
        with self._changing:
            plan = {stage: (allocation,) for stage, allocation in self._running().items()}
        return Observation(now, tuple(self._arrivals(now)), plan)

    def apply(self, plan: Plan) -> None:
        """Change the stages whose allocation differs from what runs, side by side; return when all serve as planned."""
        wanted = self._checked(plan)
        with self._changing:
            running = self._running()
            changes = {stage: allocation for stage, allocation in wanted.items() if running.get(stage) != allocation}
            if changes:
                self._change(changes)

    def _checked(self, plan: Plan) -> dict[str, Allocation]:
        return {stage: self._only_allocation(stage, allocations) for stage, allocations in plan.items()}

    def _only_allocation(self, stage: str, allocations: Sequence[Allocation]) -> Allocation:
        """The one allocation of a stage, checked against the pipeline."""
        if stage not in self._variants:
            raise PlatformError(f"plan: stage {stage!r} is unknown; stages are: {', '.join(self._variants)}")
        if len(allocations) != 1:
            raise PlatformError(
                f"plan: stage {stage!r} has {len(allocations)} allocations; the local platform runs exactly one"
            )
        if allocations[0].variant not in self._variants[stage].values():
            raise PlatformError(
                f"plan: stage {stage!r}: variant {allocations[0].variant!r} is unknown; "
                f"variants are: {', '.join(self._variants[stage].values())}"
            )
        return allocations[0]

    def _running(self) -> dict[str, Allocation]:
        """What every loaded stage runs, read back from Triton."""
        with TritonModels(self.server.grpc_url) as models:
            ready = models.ready_versions()
            return {
                stage: allocation_of(models.configuration(stage), variants)
                for stage, variants in self._variants.items()
                if stage in ready
            }

    def _change(self, changes: Mapping[str, Allocation]) -> None:
        with ThreadPoolExecutor(len(changes)) as pool:
            futures = {stage: pool.submit(self._load, stage, allocation) for stage, allocation in changes.items()}
        for future in futures.values():
            future.result()

    def _load(self, stage: str, allocation: Allocation) -> None:
        """Load one stage and verify that Triton really runs it that way."""
        variant = self._pipeline.stage(stage).variant(allocation.variant)
        configuration = model_configuration(
            self._configurations[stage], variant.version, allocation, queue_delay(variant, allocation)
        )
        with TritonModels(self.server.grpc_url) as models:
            self.loads += 1
            models.load(stage, configuration)
            ready = models.ready_versions().get(stage, frozenset())
            running = allocation_of(models.configuration(stage), self._variants[stage])
        if running != allocation or variant.version not in ready:
            raise PlatformError(f"stage {stage!r}: Triton runs {running} instead of {allocation}")
        self._active[stage] = allocation

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
                self._change(self._active)
            except PlatformError:
                self.server.stop()
                raise
