"""What SeldonPlatform is told of a graph, and asks of its requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from ipa_seldon.plan import Backlog, Measured


class Load(Protocol):
    """What is measured of a pipeline's requests; LoadError when it cannot be."""

    def arrivals(self, now: float) -> Measured:
        """Requests per second up to ``now``, oldest first; NaN where nobody measured."""
        ...

    def violations(self, now: float) -> float | None:
        """The share of the recent requests that missed the SLO; None where that is not known."""
        ...

    def backlog(self) -> Backlog:
        """What requests have left, as far as that is known."""
        ...


@dataclass(frozen=True)
class SeldonOptions:
    """``graph`` is the SeldonDeployment's name, ``predictor`` the one that is adapted; None: a pipeline of one stage
    runs a set of variants, each in a predictor of its name. Only with ``acts`` is anything changed. ``edits``: whether
    what somebody else changes becomes the plan, or pauses. A plan that does not run within ``patience`` seconds is
    reverted, and one under which, ``probation`` seconds after it runs, the share of requests that miss the SLO has
    risen by more than ``tolerance``. Cores that are not granted in place are waited for ``resize_patience`` seconds;
    then that plan is reverted too, or ("replica") its load carried by more replicas of the cores there were. Pods ask
    for GPUs by the name ``gpu_resource``.
    """

    graph: str
    predictor: str | None = "default"
    acts: bool = True
    edits: Literal["adopt", "pause"] = "adopt"
    patience: float = 300.0
    resize_patience: float = 60.0
    resize_fallback: Literal["revert", "replica"] = "revert"
    probation: float = 60.0
    tolerance: float = 0.05
    gpu_resource: str = "nvidia.com/gpu"
