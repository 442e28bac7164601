"""What the gateway runs: the stages of one pipeline, in which order, and under which SLO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ipa_seldon.pipeline import Pipeline, followers


@dataclass(frozen=True)
class Graph:
    """``stages`` are Triton model names, parents first; ``edges`` are (parent, child), a stage's children in the order
    of the pipeline file; ``slo`` in seconds. ``variants``: stage -> Triton version -> the variant's name. Queues go
    ``by_deadline``, or else by arrival.

    As in Seldon's executor every child of a stage gets the stage's outputs and only the first child's answer is passed
    on. The executor knows trees only; of a stage with several parents we run one instance per request, with the outputs
    of its first parent (the first edge that names it).
    """

    name: str
    stages: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    slo: float
    variants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    by_deadline: bool = True

    @cached_property
    def roots(self) -> tuple[str, ...]:
        """Stages without a parent: they get the client's request."""
        with_parent = {child for _, child in self.edges}
        return tuple(stage for stage in self.stages if stage not in with_parent)

    @cached_property
    def followers(self) -> Mapping[str, tuple[str, ...]]:
        """Stage -> the stages that run on its outputs: its children, except those an earlier parent feeds."""
        return followers(self.stages, self.edges)

    @cached_property
    def answering(self) -> str:
        """The stage whose response the client gets: from the first root along every first child."""
        first_child: dict[str, str] = {}
        for parent, child in self.edges:
            first_child.setdefault(parent, child)
        stage = self.roots[0]
        while stage in first_child:
            stage = first_child[stage]
        return stage


def graph_of(pipeline: Pipeline) -> Graph:
    """The graph of a configured pipeline."""
    return Graph(
        name=pipeline.name,
        stages=tuple(stage.name for stage in pipeline.stages),
        edges=pipeline.edges,
        slo=pipeline.slo,
        variants={stage.name: {str(v.version): v.name for v in stage.variants} for stage in pipeline.stages},
    )
