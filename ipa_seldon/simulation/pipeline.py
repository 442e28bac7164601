"""A simulated pipeline: requests walk the graph of stages, are answered, late or dropped. Pure and seeded."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain

import numpy as np
from numpy.typing import NDArray

from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Plan
from ipa_seldon.queueing import HELD_BACK, HELD_BACK_BY_DEADLINE
from ipa_seldon.simulation.engine import NEVER, Batch, Station
from ipa_seldon.simulation.gpus import Gpus
from ipa_seldon.simulation.physics import Drop, Physics
from ipa_seldon.simulation.stage import SimulatedStage

Floats = NDArray[np.float64]
Serve = Callable[[float, Sequence[Batch]], list[Batch]]
"""Station.advance, or what stands for it."""
PASSED_BY = 0
"""In place of what served a batch: nothing did, its requests arrive or passed the stage by."""
SLICE = 200
"""Arrivals simulated in one go: few enough that the garbage collector finds little to do."""


@dataclass(frozen=True, eq=False)
class Requests:
    """``arrivals`` (seconds, ascending) and ``budgets`` (seconds from there to the deadline), both of shape (n,)."""

    arrivals: Floats
    budgets: Floats


@dataclass(frozen=True, eq=False)
class Answers:
    """Per request, in the order of deadlines, arrays of shape (n,): ``arrivals``, ``deadlines`` and ``finished``
    (seconds, NaN where there is no answer), ``dropped``, and the ``accuracy`` of an answer: the product over the stages
    that served it (IPA: PAS).
    """

    arrivals: Floats
    deadlines: Floats
    finished: Floats
    dropped: NDArray[np.bool_]
    accuracy: Floats

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which requests were answered, in time or late."""
        answered: NDArray[np.bool_] = ~self.dropped & np.isfinite(self.finished)
        return answered

    @property
    def late(self) -> NDArray[np.bool_]:
        """Which answers came after their deadline."""
        return self.answered & (self.finished > self.deadlines)

    @property
    def latencies(self) -> Floats:
        """Seconds from arrival to answer of every answered request."""
        return (self.finished - self.arrivals)[self.answered]


class SimulatedPipeline:
    """Serves ``requests``; nothing runs before the first ``apply``. ``seed`` decides service times and fan-out.

    A request goes to a stage's followers (see Pipeline.followers) when the stage has answered it, and is complete when
    every branch is. A stage of ``rate`` r serves r copies of it on average, all of which must be answered: the whole
    part always, one more with the probability of the rest.
    """

    def __init__(self, pipeline: Pipeline, requests: Requests, physics: Physics, seed: int) -> None:
        self._pipeline = pipeline
        self._physics = physics
        usual = HELD_BACK_BY_DEADLINE if pipeline.by_deadline else HELD_BACK
        self._held_back = usual if physics.held_back is None else physics.held_back
        deadlines = requests.arrivals + requests.budgets
        by_deadline = np.argsort(deadlines, kind="stable")
        self._arrivals = requests.arrivals[by_deadline]
        self._deadlines = deadlines[by_deadline]
        numbers = np.empty(len(by_deadline), dtype=int)
        numbers[by_deadline] = np.arange(len(by_deadline))
        self._moments: list[float] = requests.arrivals.tolist()
        self._numbers: list[int] = numbers.tolist()
        self._arrived = 0
        # Moments, no two alike, latest first.
        self._pauses: list[float] = [NEVER, *np.unique(requests.arrivals[SLICE::SLICE])[::-1].tolist()]
        self._finished = np.full(len(deadlines), -np.inf)
        self._accuracy = np.ones(len(deadlines))
        self._branches = np.full(len(deadlines), sum(not ways_on for ways_on in pipeline.followers.values()))
        self.now = 0.0
        self.stages: dict[str, SimulatedStage] = {}
        self._copies: dict[str, _Copies] = {}
        self._gpus = Gpus(pipeline.gpus)
        deadline_list = self._deadlines.tolist()
        for position, stage in enumerate(pipeline.stages):
            generator = np.random.default_rng((seed, 2, position))
            if stage.rate != 1:
                self._copies[stage.name] = _Copies(stage.rate, len(deadline_list), generator)
            station = Station(deadline_list, generator)
            self.stages[stage.name] = SimulatedStage(pipeline, stage, physics, station, self._gpus)

    @property
    def plan(self) -> Plan:
        """What every stage was told to run."""
        return {name: stage.target for name, stage in self.stages.items() if stage.target}

    @property
    def idle(self) -> bool:
        """Whether every request has arrived and left."""
        return self._arrived == len(self._moments) and all(stage.idle for stage in self.stages.values())

    def apply(self, plan: Plan) -> None:
        """Make the stages run ``plan``, from now on or when its replicas are ready."""
        for name, allocations in plan.items():
            self.stages[name].apply(allocations, self.now)
        self._hold_back()

    def advance(self, until: float) -> None:
        """Let everything happen that happens before ``until`` (seconds)."""
        while (stop := min(self._pauses[-1], self._gpus.due, *(stage.due for stage in self.stages.values()))) < until:
            if stop == self._pauses[-1]:
                self._pauses.pop()
            self._serve(stop)
            self._gpus.come(stop)
            for stage in self.stages.values():
                stage.take_over(stop)
            self._hold_back()
        self._serve(until)

    def finish(self) -> None:
        """Until every request has left."""
        self.advance(NEVER)

    def remaining(self) -> tuple[float, ...]:
        """Seconds to the deadline of every queued request, stage by stage."""
        queued = chain.from_iterable(stage.queued for stage in self.stages.values())
        return tuple(float(self._deadlines[x]) - self.now for x in queued)

    def ready(self) -> dict[str, int]:
        """How many replicas of the plan serve already, of stages of which some are still starting."""
        return {name: stage.ready for name, stage in self.stages.items() if stage.starts}

    def answers(self) -> Answers:
        """What became of every request so far."""
        dropped = np.zeros(len(self._deadlines), dtype=bool)
        for stage in self.stages.values():
            dropped[stage.dropped] = True
        finished = np.where(dropped | (self._branches > 0), np.nan, self._finished)
        return Answers(self._arrivals, self._deadlines, finished, dropped, self._accuracy.copy())

    def allocated(self) -> tuple[Floats, Floats]:
        """What is allocated over all stages costs, in cores, as steps: the seconds at which that changes, and the cost
        from then on.

        Replicas that start or drain count.
        """
        each = self._pipeline.gpu_cores
        cores = chain.from_iterable(stage.ledger for stage in self.stages.values())
        return _steps(chain(cores, ((moment, each * gpus) for moment, gpus in self._gpus.ledger)))

    def held_gpus(self) -> tuple[Floats, Floats]:
        """The same of the GPUs."""
        return _steps(self._gpus.ledger)

    def _serve(self, until: float) -> None:
        """Everything before ``until``, before which no replica joins or leaves: stage by stage, parents first."""
        first, self._arrived = self._arrived, bisect_left(self._moments, until, self._arrived)
        moments, numbers = self._moments[first : self._arrived], self._numbers[first : self._arrived]
        arriving = [(moment, [x], PASSED_BY) for moment, x in zip(moments, numbers, strict=True)]
        coming = dict.fromkeys(self.stages, arriving)
        for name, stage in self.stages.items():
            copies = self._copies.get(name)
            serve = stage.advance if copies is None else partial(copies.advance, stage.advance)
            done = serve(until, coming[name])
            coming |= dict.fromkeys(self._pipeline.followers[name], done)
            self._record(stage, done, last=not self._pipeline.followers[name])
        self.now = until

    def _record(self, stage: SimulatedStage, done: Sequence[Batch], last: bool) -> None:
        """Note that a stage is done with the requests of batches, each request once; ``last``: nothing follows it."""
        if not done:
            return
        sizes = [len(batch[1]) for batch in done]
        requests = np.fromiter(chain.from_iterable(batch[1] for batch in done), dtype=int, count=sum(sizes))
        self._accuracy[requests] *= np.repeat([stage.accuracies[batch[2]] for batch in done], sizes)
        if last:
            ends = np.repeat([batch[0] for batch in done], sizes)
            self._finished[requests] = np.maximum(self._finished[requests], ends)
            self._branches[requests] -= 1

    def _hold_back(self) -> None:
        """Set what a request must have left at every stage: the service times still to come, held at a multiple of
        their mean and at most at half the SLO, as the gateway does; nothing where only expired requests are dropped.
        """
        for name, stage in self.stages.items():
            for lane in stage.lanes:
                if self._physics.drop is Drop.HOPELESS:
                    lane.station.reserve = self._rest(name, lane.longest_batch())
                else:
                    lane.station.reserve = 0.0 if self._physics.drop is Drop.EXPIRED else -NEVER

    def _rest(self, name: str, longest_batch: float) -> float:
        half = self._pipeline.slo / 2
        followers = self._pipeline.followers[name]
        ways_on = (self._rest(follower, self.stages[follower].longest_batch()) for follower in followers)
        return min(min(self._held_back * longest_batch, half) + max(ways_on, default=0.0), half)


def _steps(ledger: Iterable[tuple[float, float]]) -> tuple[Floats, Floats]:
    """The moments of changes, and the sums from then on."""
    changes: dict[float, float] = {}
    for moment, change in ledger:
        changes[moment] = changes.get(moment, 0) + change
    moments = sorted(changes)
    return np.array(moments), np.array(list(accumulate(changes[moment] for moment in moments)), dtype=float)


class _Copies:
    """The fan-out of a stage: how many copies of each request it serves, and how many of them are still to come."""

    def __init__(self, rate: float, requests: int, generator: np.random.Generator) -> None:
        drawn = np.floor(rate) + (generator.random(requests) < rate % 1)
        self._copies: list[int] = drawn.astype(int).tolist()
        self._left = list(self._copies)

    def advance(self, serve: Serve, until: float, coming: Sequence[Batch]) -> list[Batch]:
        """As ``serve``, for copies: a request is done with its last one, or at once where it has none."""
        multiplied: list[Batch] = []
        done: list[Batch] = []
        for moment, requests, _ in coming:
            if copies := [x for x in requests for _ in range(self._copies[x])]:
                multiplied.append((moment, copies, PASSED_BY))
            if passing := [x for x in requests if not self._copies[x]]:
                done.append((moment, passing, PASSED_BY))
        for moment, requests, index in serve(until, multiplied):
            for x in requests:
                self._left[x] -= 1
            if complete := [x for x in requests if self._left[x] == 0]:
                # A batch may hold several copies of one request.
                done.append((moment, list(dict.fromkeys(complete)), index))
        return sorted(done)
