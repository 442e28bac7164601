"""A simulated stage: replicas that start, switch and drain around its queue. Pure and seeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import repeat
from math import ceil

from ipa_seldon.pipeline import Pipeline, Stage
from ipa_seldon.plan import Allocation
from ipa_seldon.queueing import queue_delay
from ipa_seldon.simulation.engine import NEVER, Batching, Serving, Station
from ipa_seldon.simulation.service import Service, Services, service_of


class Drop(StrEnum):
    """Which requests leave a queue unserved: ``hopeless`` ones, which can no longer make their deadlines (as the local
    gateway does), ``expired`` ones, which have missed them already (as IPA does), or ``none``.
    """

    HOPELESS = "hopeless"
    EXPIRED = "expired"
    NONE = "none"


@dataclass(frozen=True)
class Physics:
    """``startup``: seconds a new replica takes beside its variant's load time. ``services``: measured service times,
    for batches of up to what a plan allows; where there are none, the profile's mean and tail give them. ``spread``
    False makes them constant. ``overhead``: seconds that each stage adds to a request without occupying a replica: its
    way through the gateway and over the network, there and back.
    """

    drop: Drop = Drop.HOPELESS
    startup: float = 0.0
    spread: bool = True
    services: Services = field(default_factory=dict)
    overhead: float = 0.0


class SimulatedStage:
    """A stage whose replicas start, switch and drain. ``ledger`` holds every change of its allocated cores as
    (seconds, cores); ``accuracies`` what serves, by its index in a batch; ``target`` what it was told to run.

    New replicas are created before old ones are deleted: while a switch is under way both are allocated, and a replica
    that was told to go is until it has finished its batch. New replicas take the place of others once those that are
    ready carry as much, or all are ready; replicas that join running ones serve as soon as they are.
    """

    def __init__(self, pipeline: Pipeline, stage: Stage, physics: Physics, station: Station) -> None:
        self.station = station
        self.ledger: list[tuple[float, int]] = []
        self.accuracies = [1.0]  # of PASSED_BY
        self.target: Allocation | None = None
        self._pipeline = pipeline
        self._stage = stage
        self._physics = physics
        self._running: Allocation | None = None
        self._ready: list[float] = []
        """When each replica of the target that has been created will be ready, ascending."""
        self._services: dict[tuple[str, int, int], tuple[int, Service]] = {}

    def apply(self, allocation: Allocation, now: float) -> None:
        """Make the stage run ``allocation``, from ``now`` (seconds, up to which it was advanced) or when it is ready.

        What is there before anything runs is ready at once.
        """
        if allocation == self.target:
            return
        if self._ready and self.target is not None and not _alike(allocation, self.target):
            self._cancel(len(self._ready), self.target.cores, now)
        self.target = allocation
        replicas = 0
        if _alike(allocation, self._running):
            free = sorted(self.station.free)
            replicas = min(len(free), allocation.replicas)
            self._retire(free[: len(free) - replicas], allocation.cores, now)
            self._serve(allocation, free[len(free) - replicas :], now)
        startup = 0.0 if self._running is None else self._startup(allocation)
        missing = allocation.replicas - replicas - len(self._ready)
        if missing < 0:
            self._cancel(-missing, allocation.cores, now)
        else:
            self.ledger.append((now, missing * allocation.cores))
            self._ready.extend(repeat(now + startup, missing))
        self.take_over(now)

    @property
    def due(self) -> float:
        """When the next new replicas serve (seconds)."""
        if not self._ready or self.target is None:
            return NEVER
        if self._running is None or _alike(self.target, self._running):
            return self._ready[0]
        enough = ceil(len(self.station.free) * self._throughput(self._running) / self._throughput(self.target))
        return self._ready[min(enough, len(self._ready)) - 1]

    def take_over(self, now: float) -> None:
        """New replicas serve when they are due by ``now``, up to which the stage was advanced: beside the running ones
        of their kind, or in place of those of another.
        """
        if self.target is None or self.due > now:
            return
        before, running = self.station.free, self._running
        ready = [moment for moment in self._ready if moment <= now]
        del self._ready[: len(ready)]
        if _alike(self.target, running):
            self._serve(self.target, [*before, *ready], now)
        else:
            self._serve(self.target, ready, now)
            if running is not None:
                self._retire(before, running.cores, now)

    def longest_batch(self) -> float:
        """Mean seconds of a full batch of what runs; 0 before anything does."""
        return float(self._service(self._running)[1].means[self._running.batch]) if self._running else 0.0

    def _startup(self, allocation: Allocation) -> float:
        return self._physics.startup + self._stage.variant(allocation.variant).load_time

    def _throughput(self, allocation: Allocation) -> float:
        """Requests/s of one replica."""
        return self._stage.variant(allocation.variant).throughput(allocation.cores, allocation.batch)

    def _serve(self, allocation: Allocation, free: Sequence[float], now: float) -> None:
        """Run ``allocation`` from ``now`` on, on replicas that are free at the moments ``free``."""
        index, service = self._service(allocation)
        delay = queue_delay(self._stage.variant(allocation.variant), allocation)
        self.station.serve(
            Serving(service, Batching(allocation.batch, delay), index, self._physics.overhead), free, now
        )
        self._running = allocation

    def _service(self, allocation: Allocation) -> tuple[int, Service]:
        key = (allocation.variant, allocation.cores, allocation.batch)
        if key not in self._services:
            variant = self._stage.variant(allocation.variant)
            service = self._physics.services.get((self._stage.name, variant.name)) or service_of(
                variant, allocation.cores, allocation.batch, self._pipeline.percentile
            )
            service = service if self._physics.spread else replace(service, factors=())
            self._services[key] = (len(self.accuracies), service)
            self.accuracies.append(variant.accuracy)
        return self._services[key]

    def _cancel(self, replicas: int, cores: int, now: float) -> None:
        self.ledger.append((now, -replicas * cores))
        del self._ready[-replicas:]

    def _retire(self, free: Sequence[float], cores: int, now: float) -> None:
        """Let replicas go, each when its batch is finished."""
        self.ledger.extend((max(now, moment), -cores) for moment in free)


def _alike(one: Allocation | None, other: Allocation | None) -> bool:
    """Whether replicas of the one serve as the other's: same variant, same cores."""
    return one is not None and other is not None and (one.variant, one.cores) == (other.variant, other.cores)
