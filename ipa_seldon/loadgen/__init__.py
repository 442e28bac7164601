"""An open-loop load generator: requests leave when they are due, whether or not earlier ones have come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ipa_seldon.gateway.messages import Body


class RequestOutcome(StrEnum):
    """``DROPPED``: the server refused it (504: it could not make its SLO). ``FAILED``: any other error."""

    COMPLETED = "completed"
    LATE = "late"
    DROPPED = "dropped"
    FAILED = "failed"


ANSWERED = (RequestOutcome.COMPLETED, RequestOutcome.LATE)


@dataclass(frozen=True)
class RequestRecord:
    """One request. Times are seconds since the epoch; latency is ``done - due``, so that a generator that falls behind
    cannot hide it. ``variants``: stage -> variant that answered. ``expected`` lines are in the image, ``matched`` of
    them were read exactly. ``transfer``: seconds on the network between ``due``, when its client sent it, and when it
    was to leave here, as it comes to the server.
    """

    index: int
    due: float
    sent: float
    done: float
    outcome: RequestOutcome
    status: int
    variants: Mapping[str, str] = field(default_factory=dict)
    expected: int = 0
    matched: int = 0
    transfer: float = 0.0

    @property
    def latency(self) -> float:
        """Seconds from when the request was due to its answer."""
        return self.done - self.due

    @property
    def delay(self) -> float:
        """Seconds by which the request left later than it was to: the generator's own."""
        return self.sent - self.due - self.transfer


def _unscored(answer: bytes) -> int:
    del answer
    return 0


@dataclass(frozen=True)
class Payload:
    """What one request carries, made beforehand: its ``body``, how many lines of text are ``expected`` in the answer
    (0: nothing is known of it), and ``matched``, which tells how many of them an answer's body has (0 for one it cannot
    read).
    """

    body: Body
    expected: int = 0
    matched: Callable[[bytes], int] = _unscored
