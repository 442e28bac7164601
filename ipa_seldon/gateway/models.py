"""A Triton model as the gateway knows it: its queue, how much it takes on, and whether it can be relied on."""

from __future__ import annotations

from dataclasses import dataclass, field

from ipa_seldon.gateway.dispatch import WHOLE
from ipa_seldon.gateway.queues import StageQueue
from ipa_seldon.queueing import LET_IN

LONGEST_PAUSE = 32
"""Looks between two trials of a model that fails again and again."""


@dataclass(eq=False)
class Model:
    """A model that serves one ``version`` of a stage, or the whole stage (WHOLE).

    ``slots`` requests are computed at the same time, each in ``seconds`` (0: not known), as measured last. Its own
    queue is ``by_deadline`` until its configuration says otherwise: priorities do no harm to one that is not. It is
    ``healthy`` until it fails; once its server says that it is ready it is on trial, one request at a time, until it
    has answered one: Triton calls models ready whose processes are dead.
    """

    name: str
    version: str
    slots: int = 1
    seconds: float = 0.0
    by_deadline: bool = True
    healthy: bool = True
    queue: StageQueue = field(default_factory=lambda: StageQueue(LET_IN))
    _asked: float | None = None
    """When it was asked first (seconds, monotonic) of all that it has not answered since; None: it answers."""
    _failures: int = 0
    _pause: int = 0

    @property
    def available(self) -> bool:
        """Whether it takes requests: it is healthy, and if it is on trial, none is with it."""
        return self.healthy and not (self._failures and self.queue.size)

    def asked(self, now: float) -> None:
        """It was asked for an answer at ``now`` (seconds)."""
        if self._asked is None:
            self._asked = now

    def silence(self, now: float) -> float:
        """Seconds for which it has owed answers without giving any."""
        return 0.0 if self._asked is None else now - self._asked

    def answered(self) -> None:
        """It answered a request."""
        self._asked = None
        if self.healthy:
            self._failures = 0

    def failed(self) -> None:
        """It did not, and not for the request's sake."""
        self._asked = None
        if self.healthy:
            self.healthy = False
            self._failures += 1
            self._pause = min(2 ** (self._failures - 1), LONGEST_PAUSE)

    def due(self) -> bool:
        """At each look: whether to ask if it is ready again, ever more seldom the more often it failed on trial."""
        self._pause -= 1
        return not self.healthy and self._pause <= 0

    def reconsider(self) -> None:
        """Ask at the next look: it may be another one by now."""
        self._pause = 0

    def resize(self, slots: int) -> None:
        """Compute ``slots`` requests at the same time from now on, and let in what keeps them busy."""
        self.slots = slots
        self.queue.capacity = LET_IN * slots

    def expected_wait(self, rank: float) -> float:
        """Seconds until a request of that ``rank`` is computed: the rounds of all slots that come before it."""
        return self.queue.ahead(rank) // self.slots * self.seconds

    def deadlines(self) -> list[float]:
        """Of the requests that wait for a batch, here or with the server: those let in first are in one, as many as are
        computed at the same time.
        """
        return self.queue.deadlines(self.slots)

    def path(self, version: str | None = None) -> str:
        """Where Triton answers for it, or for one ``version`` of a whole stage."""
        chosen = f"/versions/{version}" if version is not None and self.version == WHOLE else ""
        return f"/v2/models/{self.name}{chosen}"
