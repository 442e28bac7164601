"""How a stage of the local platform gets from the Triton models it has to those it is to have. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ipa_seldon.pipeline import Stage
from ipa_seldon.plan import Allocation
from ipa_seldon.specs.triton import set_model

Models = Mapping[str, Allocation]
"""Model -> what it runs. A share is the dispatcher's, not the model's: here all are 1."""


@dataclass(frozen=True)
class Transition:
    """``first`` is loaded before requests move (what comes or grows, so that capacity is there), ``later`` once they
    have (what shrinks); then the models in ``leaving`` go.
    """

    first: Models
    later: Models
    leaving: tuple[str, ...]


def models_of(stage: Stage, allocations: Sequence[Allocation], as_set: bool) -> dict[str, Allocation]:
    """The models that run ``allocations``: in a set one of its own for each variant, else that of the stage's name."""
    return {
        set_model(stage.name, stage.variant(a.variant).version) if as_set else stage.name: replace(a, share=1.0)
        for a in allocations
    }


def transition(before: Models, after: Models) -> Transition:
    """From the models that are loaded to those that are wanted. A model that is alone has nobody to wait for."""
    changed = {model: allocation for model, allocation in after.items() if before.get(model) != allocation}
    alone = len(before.keys() | after.keys()) == 1
    first = {m: a for m, a in changed.items() if alone or m not in before or _cores(a) >= _cores(before[m])}
    return Transition(
        first=first,
        later={model: allocation for model, allocation in changed.items() if model not in first},
        leaving=tuple(model for model in before if model not in after),
    )


def _cores(allocation: Allocation) -> int:
    return allocation.replicas * allocation.cores
