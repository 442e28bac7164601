"""The experiment file's schema: what an operator may write."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ipa_seldon.fields import Count, Delay, Document, Duration, Name, Weight
from ipa_seldon.schema import MetadataSpec
from ipa_seldon.simulation.physics import Drop

Changes = dict[str, Any]
"""Changes to the spec of a pipeline file, merged into it key by key."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0)]


class NetworkSpec(Document):
    """``trace`` (a file), where the file exists; else ``pattern``."""

    trace: str | None = None
    pattern: str | None = None

    @model_validator(mode="after")
    def _sources(self) -> Self:
        if self.trace is None and self.pattern is None:
            raise ValueError("accepted: trace, pattern, or both")
        return self


class LoadSpec(Document):
    """``trace`` (a file) from ``start`` on, divided by ``damping``, where the file exists; else ``pattern`` with its
    peak at ``scale`` requests/s. Without ``duration`` a trace goes to its end, a pattern takes three minutes. Requests
    of ``size`` pass the ``network``.
    """

    trace: str | None = None
    start: Delay = 0.0
    damping: Positive = 1.0
    pattern: str | None = None
    scale: Positive | None = None
    duration: Duration | None = None
    network: NetworkSpec | None = None
    size: str | None = None

    @model_validator(mode="after")
    def _sources(self) -> Self:
        if self.trace is None and self.pattern is None:
            raise ValueError("accepted: trace, pattern, or both")
        if (self.pattern is None) != (self.scale is None):
            raise ValueError("scale: accepted: requests/s at the peak, together with pattern")
        for key, unset in (("damping", 1), ("start", 0)):
            if self.trace is None and getattr(self, key) != unset:
                raise ValueError(f"{key}: accepted: together with trace")
        if (self.network is None) != (self.size is None):
            raise ValueError("size: accepted: bytes such as 200KB, together with network")
        return self


class SimulationSpec(Document):
    """Which requests leave a queue unserved, and the seconds a replica takes to start beside its load time.
    ``held_back``: a request is hopeless with less left than so many times the service times still to come; null: 1
    where the algorithm decides by deadlines, elsewhere 2, as the gateway has it.
    ``resize``: the seconds in which the cores of a replica change in place; null: 0.1 where the algorithm decides
    by deadlines, elsewhere another replica takes its place.
    """

    drop: Drop = Drop.HOPELESS
    startup: Delay = 0.0
    resize: Delay | None = None
    held_back: Weight | None = None


class DecisionTimesSpec(Document):
    """Decisions to time, on ``repeats`` random pipelines of every number of stages with every number of variants each.
    ``published``: a CSV (stages,variants,mean,max; seconds) to show beside.
    """

    stages: Annotated[tuple[Count, ...], Field(min_length=1)]
    variants: Annotated[tuple[Count, ...], Field(min_length=1)]
    repeats: Count = 10
    published: str | None = None


class ExperimentSpec(Document):
    """Every pipeline under every load with every method and seed. ``overrides``: pipeline -> load -> changes that hold
    for every method; a method's own win.
    """

    pipelines: Annotated[tuple[str, ...], Field(min_length=1)]
    loads: Annotated[dict[Name, LoadSpec], Field(min_length=1)]
    methods: Annotated[dict[Name, Changes], Field(min_length=1)]
    overrides: Annotated[dict[Name, dict[Name, Changes]], Field(default_factory=dict)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    simulation: SimulationSpec = SimulationSpec()
    decision_times: DecisionTimesSpec | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: accepted: each seed once")
        for loads in self.overrides.values():
            if odd := ", ".join(set(loads) - set(self.loads)):
                raise ValueError(f"overrides: load {odd}: accepted: {', '.join(self.loads)}")
        return self


class ExperimentFile(Document):
    """An experiment file (``kind: Experiment``)."""

    api_version: Annotated[Literal["ipa.seldon.io/v1alpha1"], Field(alias="apiVersion")]
    kind: Literal["Experiment"]
    metadata: MetadataSpec
    spec: ExperimentSpec
