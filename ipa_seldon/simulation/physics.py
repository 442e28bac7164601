"""What serving takes in a simulation: times of batches, start-ups, drops. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from ipa_seldon.pipeline import Pipeline, Stage
from ipa_seldon.plan import Allocation
from ipa_seldon.queueing import queue_delay
from ipa_seldon.simulation.engine import Batching, Serving
from ipa_seldon.simulation.service import Service, Services, service_by_core, service_of

IN_PLACE = 0.1
"""Seconds in which cores change, where algorithms by deadlines rely on it."""


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
    way through the gateway and over the network, there and back. ``resize``: seconds in which the cores of a replica
    change where it is, without a restart; None: IN_PLACE where requests have deadlines, elsewhere another replaces it.
    ``held_back``: a request is hopeless that has less left than so many times the mean service times still to come;
    None: HELD_BACK_BY_DEADLINE where requests have deadlines, elsewhere HELD_BACK, as the gateway does.
    """

    drop: Drop = Drop.HOPELESS
    startup: float = 0.0
    spread: bool = True
    services: Services = field(default_factory=dict)
    overhead: float = 0.0
    resize: float | None = None
    held_back: float | None = None


class Servers:
    """What replicas of a stage are like. ``accuracies`` of what serves, by its index in a batch; ``resize``: seconds
    until the cores of a replica have changed in place, where they do.

    Where the profile, or a model that fits it, has a latency, a replica serves one batch at a time. Where only a
    capacity is known, it is a pod that serves as many requests at a time as it has cores, each on one of them.
    """

    def __init__(self, pipeline: Pipeline, stage: Stage, physics: Physics) -> None:
        self.accuracies = [1.0]  # of PASSED_BY
        self._stage = stage
        self._physics = physics
        self._percentile = pipeline.percentile
        self._by_deadline = pipeline.by_deadline
        self._in_place = pipeline.by_deadline or physics.resize is not None
        self.resize = IN_PLACE if physics.resize is None else physics.resize
        self._services: dict[tuple[str, int, int], tuple[int, Service]] = {}

    def at_a_time(self, allocation: Allocation) -> int:
        """How many batches one replica serves at the same time."""
        return 1 if self._has_latency(allocation) else allocation.cores

    def alike(self, one: Allocation, other: Allocation) -> bool:
        """Whether replicas of the one become the other's where they are: same variant, and same cores, or cores that
        change in place, which those of a pod of which only a capacity is known do not.
        """
        if one.variant != other.variant:
            return False
        in_place = self._in_place and self._has_latency(one) and self._has_latency(other)
        return one.cores == other.cores or in_place

    def startup(self, allocation: Allocation) -> float:
        """Seconds until a new replica is ready."""
        return self._physics.startup + self._stage.variant(allocation.variant).load_time

    def throughput(self, allocation: Allocation) -> float:
        """Requests/s of one replica that is never idle."""
        variant = self._stage.variant(allocation.variant)
        if self._has_latency(allocation):
            return variant.throughput(allocation.cores, allocation.batch)
        return allocation.cores * variant.core_rate

    def serving(self, allocation: Allocation) -> Serving:
        """How its replicas work on a queue. Where requests have deadlines, no batch waits to fill."""
        index, service = self._service(allocation)
        delay = 0.0 if self._by_deadline else queue_delay(self._stage.variant(allocation.variant), allocation)
        return Serving(service, Batching(allocation.batch, delay), index, self._physics.overhead)

    def longest_batch(self, allocation: Allocation) -> float:
        """Mean seconds of a full batch."""
        return float(self._service(allocation)[1].means[allocation.batch])

    def _has_latency(self, allocation: Allocation) -> bool:
        return self._stage.variant(allocation.variant).has_latency(allocation.cores, allocation.batch)

    def _service(self, allocation: Allocation) -> tuple[int, Service]:
        key = (allocation.variant, allocation.cores, allocation.batch)
        if key not in self._services:
            variant = self._stage.variant(allocation.variant)
            service = self._physics.services.get((self._stage.name, variant.name)) or (
                service_of(variant, allocation.cores, allocation.batch, self._percentile)
                if self._has_latency(allocation)
                else service_by_core(variant)
            )
            service = service if self._physics.spread else replace(service, factors=())
            self._services[key] = (len(self.accuracies), service)
            self.accuracies.append(variant.accuracy)
        return self._services[key]
