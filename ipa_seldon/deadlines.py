"""A deadline in Triton's own queue: what is left of a request's SLO, as its priority and the time it may queue.

For clients that speak to Seldon Core or to Triton directly, and for the gateway, which sets the same. The model's
configuration must have LEVELS priority levels, which a plan of Sponge gives it where no gateway is in front
(docs/kubernetes.md).
"""

from __future__ import annotations

from math import floor

LEVELS = 16
"""Priorities of a queue by deadline: 1 is first."""
MICROSECONDS = 1_000_000


def priority(remaining: float, slo: float) -> int:
    """The priority, 1 to LEVELS, of a request that has ``remaining`` of its ``slo`` left (seconds).

    Level k is for what has from (k - 1) to k quanta of ``slo / LEVELS`` left, so that two requests of one level differ
    by less than a quantum; 1 is also for what is too late, LEVELS for what has the whole SLO or more.
    """
    return min(floor(LEVELS * min(max(remaining / slo, 0.0), 1.0)), LEVELS - 1) + 1


def timeout(seconds: float) -> int:
    """How long a request may queue, in Triton's microseconds, of which 0 would be for ever."""
    return max(1, int(seconds * MICROSECONDS))


def request_parameters(remaining: float, slo: float) -> dict[str, int]:
    """The ``parameters`` of a v2 request, or those of tritonclient's ``infer``, for what is left of its SLO (seconds).

    Priorities are of the moment they are made: of two requests that are made t seconds apart, one that must be answered
    more than t and a quantum before the other comes first.
    """
    return {"priority": priority(remaining, slo), "timeout": timeout(remaining)}
