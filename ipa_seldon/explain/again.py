"""Decides a decision of a log again, as it was or with something changed: solved, from the same observation, with what
the algorithm remembered then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ipa_seldon.algorithms import Algorithm, remember
from ipa_seldon.bootstrap import build_algorithm
from ipa_seldon.config import Config
from ipa_seldon.errors import IpaSeldonError
from ipa_seldon.explain.changes import AS_IT_WAS, Change, changes, edited
from ipa_seldon.plan import Decision, Observation, Proposal, Status, same_plan


@dataclass(frozen=True)
class Case:
    """What a decision is made from: the forecast ``rate`` (requests/s), the observation, and the decisions before it,
    which the algorithm of the ``config`` remembers.
    """

    config: Config
    rate: float
    observation: Observation
    before: Sequence[Decision] = ()


class Effect(StrEnum):
    """What a change does to the plan. ``infeasible``: no plan keeps every promise then; ``unknown``: none is made."""

    SAME = "no change"
    CHANGED = "changed"
    INFEASIBLE = "infeasible"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Answer:
    """What would have been decided under a change; ``reason`` says why it is infeasible, held back or unknown."""

    change: Change
    effect: Effect
    proposal: Proposal | None
    reason: str


def decider(case: Case, change: Change = AS_IT_WAS) -> Algorithm:
    """The algorithm of the case under a change, which remembers the decisions before; ConfigError where there is none
    under that change.
    """
    config = edited(case.config, change.edits) if change.edits else case.config
    algorithm = build_algorithm(config)
    for decision in case.before:
        if decision.rate is not None and decision.proposal is not None:
            remember(algorithm, decision.rate, decision.observation, decision.proposal)
    return algorithm


def decide(case: Case, change: Change = AS_IT_WAS) -> Proposal:
    """What is decided in the case under a change; ConfigError, SolverError."""
    observation = case.observation
    if change.load != 1:
        observation = replace(observation, arrivals=tuple(count * change.load for count in observation.arrivals))
    return decider(case, change).decide(case.rate * change.load, observation)


def answers(case: Case, as_it_was: Proposal) -> list[Answer]:
    """What every change that means something would have led to, in place of ``as_it_was``."""
    return [_answer(case, change, as_it_was) for change in changes(case.config)]


def _answer(case: Case, change: Change, as_it_was: Proposal) -> Answer:
    try:
        proposal = decide(case, change)
    except IpaSeldonError as error:
        return Answer(change, Effect.UNKNOWN, None, str(error).removeprefix(f"{case.config.path}: "))
    if proposal.status is Status.DEGRADED:
        effect = Effect.INFEASIBLE
    else:
        effect = Effect.SAME if same_plan(proposal.plan, as_it_was.plan) else Effect.CHANGED
    rate = proposal.why.get("rate")
    held = f"decided for {rate:.4g} requests/s all the same" if change.load < 1 and rate is not None else ""
    return Answer(change, effect, proposal, proposal.reason or held)
