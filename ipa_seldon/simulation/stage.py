"""A simulated stage: one lane, or one for each variant of a set, and the order in which a plan becomes what runs. Pure
and seeded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from ipa_seldon.pipeline import Pipeline, Stage
from ipa_seldon.plan import Allocation
from ipa_seldon.simulation.engine import Batch, Station
from ipa_seldon.simulation.gpus import Gpus
from ipa_seldon.simulation.lane import Lane, Ledger
from ipa_seldon.simulation.physics import Physics, Servers
from ipa_seldon.simulation.spread import Spread


class SimulatedStage:
    """A stage that starts at the empty ``station``, and shares ``gpus`` with others. ``ledger`` holds every change of
    its allocated cores as (seconds, cores); ``accuracies`` what serves, by its index in a batch; ``target`` what it was
    told to run.

    One allocation after another is a lane that replaces its replicas. As soon as there are several, each variant has a
    lane of its own, and a plan becomes what runs in InfAdapter's order: variants come and grow, and once all of them
    are ready requests are shared anew, and variants shrink and go.
    """

    def __init__(self, pipeline: Pipeline, stage: Stage, physics: Physics, station: Station, gpus: Gpus) -> None:
        self.ledger: Ledger = []
        self.target: tuple[Allocation, ...] = ()
        self.dropped = station.dropped
        self._servers = Servers(pipeline, stage, physics)
        self.accuracies = self._servers.accuracies
        self._station = station
        self._gpus = gpus
        self._lanes = [Lane(self._servers, station, self.ledger, gpus)]
        """Those that requests go to."""
        self._spread: Spread | None = None
        self._shares = [1.0]
        self._coming: list[Lane] = []
        self._going: list[Lane] = []
        self._awaited: list[Lane] = []
        """Those that come or grow for the target, until requests are shared as it says."""

    @property
    def lanes(self) -> Iterator[Lane]:
        """All there are, those that come or go among them."""
        return chain(self._lanes, self._coming, self._going)

    @property
    def idle(self) -> bool:
        """Whether nothing waits or is being served."""
        return all(lane.station.idle for lane in self.lanes)

    @property
    def queued(self) -> Iterator[int]:
        """The requests that wait."""
        return chain.from_iterable(lane.station.queue for lane in self.lanes)

    @property
    def starts(self) -> bool:
        """Whether replicas of the target are not ready yet, or have not got its cores."""
        return any(lane.starts for lane in self.lanes)

    @property
    def ready(self) -> int:
        """How many replicas of the target serve."""
        return sum(lane.ready for lane in chain(self._lanes, self._coming))

    @property
    def due(self) -> float:
        """When the next new replicas, or new cores, serve (seconds)."""
        return min(lane.due for lane in self.lanes)

    def advance(self, until: float, coming: Sequence[Batch]) -> list[Batch]:
        """As Station.advance, for whatever serves."""
        if self._spread is None:
            done = self._lanes[0].station.advance(until, coming)
        else:
            done = self._spread.advance(until, coming)
        if self._going:
            done = sorted(chain(done, *(lane.station.advance(until, ()) for lane in self._going)))
            for lane in [lane for lane in self._going if lane.station.idle]:
                lane.delete()
                self._going.remove(lane)
        return done

    def apply(self, allocations: tuple[Allocation, ...], now: float) -> None:
        """Make the stage run ``allocations`` from ``now`` (seconds, up to which it was advanced), or when they are
        ready: at once, before anything runs.
        """
        if allocations == self.target:
            return
        first = not self.target
        self.target = allocations
        if len(allocations) == len(self._lanes) == 1 and not self._coming:
            self._lanes[0].apply(allocations[0], now, first)
        else:
            self._change(now, first)

    def take_over(self, now: float) -> None:
        """New replicas and cores that are due by ``now``, up to which the stage was advanced, serve."""
        for lane in self.lanes:
            lane.take_over(now)
        if self._awaited and not any(lane.starts for lane in self._awaited):
            self._shift(now)

    def longest_batch(self) -> float:
        """Mean seconds of a full batch of what runs, over its requests; 0 before anything does."""
        return sum(share * lane.longest_batch() for share, lane in zip(self._shares, self._lanes, strict=True))

    def _change(self, now: float, first: bool) -> None:
        """From what there is towards several allocations, or from several to one."""
        if first:
            self._lanes[0].apply(_tasks(self.target)[0], now, at_once=True)
        self._coming += filter(None, [lane.split() for lane in self._lanes])
        self._leave(now, self._coming)
        there = {lane.variant: lane for lane in chain(self._lanes, self._coming)}
        self._awaited = []
        for allocation in _tasks(self.target):
            lane = there.get(allocation.variant)
            if lane is None:
                lane = Lane(self._servers, self._station.beside(), self.ledger, self._gpus)
                self._coming.append(lane)
            if lane.shrinks_to(allocation) and lane in self._lanes:
                lane.keep(allocation, now)
            else:
                lane.apply(allocation, now, first)
                self._awaited.append(lane)
        if not any(lane.starts for lane in self._awaited):
            self._shift(now)

    def _shift(self, now: float) -> None:
        """Requests are shared as the target says; what it has less of shrinks and goes."""
        self._leave(now, self._lanes)
        there = {lane.variant: lane for lane in chain(self._lanes, self._coming)}
        self._lanes = [there[allocation.variant] for allocation in self.target]
        self._coming, self._awaited = [], []
        for lane, allocation in zip(self._lanes, _tasks(self.target), strict=True):
            lane.apply(allocation, now)
        self._shares = [allocation.share for allocation in self.target]
        several = len(self._lanes) > 1
        self._spread = Spread([lane.station for lane in self._lanes], self._shares, now) if several else None

    def _leave(self, now: float, lanes: list[Lane]) -> None:
        """Those of ``lanes`` go that are not of the target."""
        wanted = {allocation.variant for allocation in self.target}
        for lane in [lane for lane in lanes if lane.variant not in wanted]:
            lane.leave(now)
            lanes.remove(lane)
            self._going.append(lane)


def _tasks(allocations: tuple[Allocation, ...]) -> list[Allocation]:
    """What each lane is to run; how requests are shared is none of its business."""
    return [replace(allocation, share=1.0) for allocation in allocations]
