"""Everything there is to say about one decision of a log, as values. What it says in words: words.py."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ipa_seldon.algorithms import Algorithm, terms
from ipa_seldon.config import Config, with_algorithm
from ipa_seldon.errors import ConfigError, IpaSeldonError
from ipa_seldon.explain.again import Answer, Case, answers, decider
from ipa_seldon.plan import Decision, Plan, Proposal, plan_from_json, plan_in_force, same_plan, took_effect
from ipa_seldon.telemetry.audit import Log


@dataclass(frozen=True)
class Load:
    """Requests/s: the means of the last interval and of the forecaster's window, and the window's highest second (None:
    not measured); how many of its seconds nobody measured; the forecast, and the rate that was decided for, which
    damping may hold above it. ``assumed``: the tick whose forecast stands in, as there was none; None: there was one.
    """

    interval_mean: float | None
    window_mean: float | None
    window_peak: float | None
    unmeasured: int
    forecast: float | None
    decided_for: float | None
    assumed: int | None = None


@dataclass(frozen=True)
class RunnerUp:
    """The best plan that was not taken, with what it is worth, and term by term how much less that is than the plan
    that was taken (below 0: more). Empty where the algorithm does not tell the terms.
    """

    proposal: Proposal
    lost: Mapping[str, float]


@dataclass(frozen=True)
class Explanation:
    """Of the decision ``tick`` under ``config``. ``proposal`` is what was decided or, where nothing was, what would
    have been for the load that is assumed; None where no load is known at all. ``running`` is what ran, ``before`` its
    worth at the same load; None where it is no plan of this pipeline. ``held_back``: what damping did not let through,
    to which the runner-up is then second. ``again`` is what comes out when it is decided again, of which
    the ``answers`` are changes; None where that fails, with the ``error``.
    """

    config: Config
    tick: int
    first_tick: int
    decision: Decision
    load: Load
    proposal: Proposal | None
    running: Plan
    before: Proposal | None = None
    held_back: Proposal | None = None
    runner_up: RunnerUp | None = None
    answers: tuple[Answer, ...] = ()
    again: Proposal | None = None
    error: str = ""

    @property
    def same_again(self) -> bool:
        """Whether what was decided comes out again; what was not decided by a forecast (a fallback) cannot come out."""
        logged, again = self.decision.proposal, self.again
        return logged is None or again is None or self.decision.rate is None or same_plan(logged.plan, again.plan)

    @property
    def taken(self) -> Proposal | None:
        """What was best: the plan that was decided, or held back."""
        return self.held_back or self.proposal


def explain(log: Log, index: int) -> Explanation:
    """The decision at that place of a log."""
    config = log.config if log.config.spec.algorithm == log.algorithm else with_algorithm(log.config, log.algorithm)
    decision = log.decisions[index]
    case, assumed = _case(config, log, index)
    load = _load(config, decision)
    running = decision.observation.plan
    about = Explanation(config, log.ticks[index], log.ticks[0], decision, load, decision.proposal, running)
    if case is None:
        return about
    load = replace(load, forecast=case.rate, decided_for=case.rate, assumed=assumed)
    about = replace(about, load=load, running=case.observation.plan)
    try:
        algorithm = decider(case)
        again = algorithm.decide(case.rate, case.observation)
    except IpaSeldonError as error:
        return replace(about, error=str(error))
    about = replace(about, proposal=_retold(decision.proposal, again), again=again)
    return replace(_weighed(about, algorithm, case.rate), answers=tuple(answers(case, again)))


def find(log: Log, tick: int | None = None, time: float | None = None, last: bool = False) -> int:
    """The place of the decision of that ``tick``, of the one in force at ``time`` (seconds as in the log), of the last
    one, or, where none of these is wanted, of the last that changed the plan (else of the last). ConfigError says what
    is accepted.
    """
    path, decisions = log.config.path, log.decisions
    if not decisions:
        raise ConfigError(f"{path}: no decision yet")
    if tick is not None:
        if tick not in log.ticks:
            raise ConfigError(f"{path}: tick {tick}: accepted: {log.ticks[0]} to {log.ticks[-1]}")
        return len(log.ticks) - 1 - log.ticks[::-1].index(tick)
    if time is not None:
        first, end = decisions[0].observation.time, decisions[-1].observation.time + log.config.spec.interval
        if not first <= time <= end:
            raise ConfigError(f"{path}: time {time:.15g}: accepted: {first:.15g} to {end:.15g}, seconds")
        return max(k for k, decision in enumerate(decisions) if decision.observation.time <= time)
    changed = [] if last else [k for k, decision in enumerate(decisions) if _changed_plan(decision)]
    return changed[-1] if changed else len(decisions) - 1


def _changed_plan(decision: Decision) -> bool:
    proposal = decision.proposal
    return proposal is not None and took_effect(decision) and not same_plan(proposal.plan, decision.observation.plan)


def _case(config: Config, log: Log, index: int) -> tuple[Case | None, int | None]:
    """What the decision was made from, and the tick whose forecast stands in for one that was not made; no case where
    there is none before it either.
    """
    decision, before = log.decisions[index], log.decisions[:index]
    if decision.rate is not None:
        return Case(config, decision.rate, decision.observation, before), None
    for k in range(index - 1, -1, -1):
        earlier = log.decisions[k]
        if earlier.rate is None:
            continue
        seen = decision.observation
        if not seen.arrivals:  # no load was observed, or nothing at all: what was in force then still is, if not known
            seen = replace(earlier.observation, time=seen.time, plan=seen.plan or plan_in_force(earlier))
        return Case(config, earlier.rate, seen, before), log.ticks[k]
    return None, None


def _load(config: Config, decision: Decision) -> Load:
    window = decision.observation.arrivals[-int(config.spec.forecaster.window) :]
    known = [count for count in window if math.isfinite(count)]
    interval = [count for count in window[-max(1, round(config.spec.interval)) :] if math.isfinite(count)]
    return Load(
        _mean(interval), _mean(known), max(known, default=None), len(window) - len(known), decision.rate, decision.rate
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _retold(logged: Proposal | None, again: Proposal) -> Proposal:
    """What was decided; a log of an older version tells less of it than is known when it is decided again."""
    if logged is None:
        return again
    return replace(logged, why={**again.why, **logged.why}) if same_plan(logged.plan, again.plan) else logged


def _weighed(about: Explanation, algorithm: Algorithm, forecast: float) -> Explanation:
    """With what ran before, the runner-up and what was held back, weighed by the algorithm that decided."""
    proposal = about.proposal
    if proposal is None:
        return about
    rate = float(proposal.why.get("rate", forecast))
    held_back, second = (
        plan_from_json(plan) if plan else None for plan in map(proposal.why.get, ("held_back", "runner_up"))
    )
    return replace(
        about,
        load=replace(about.load, decided_for=rate),
        # What is held is weighed at the forecast, see algorithms/damping.py.
        before=algorithm.evaluate(about.running, forecast if proposal.held else rate),
        held_back=algorithm.evaluate(held_back, rate) if held_back else None,
        runner_up=_runner_up(algorithm, second, held_back or proposal.plan, about.running, rate) if second else None,
    )


def _runner_up(algorithm: Algorithm, plan: Plan, taken: Plan, running: Plan, rate: float) -> RunnerUp | None:
    """The ``plan`` that came second to the one ``taken``."""
    proposal = algorithm.evaluate(plan, rate)
    if proposal is None:
        return None
    best, second = terms(algorithm, taken, running), terms(algorithm, plan, running)
    lost = {key: best[key] - second[key] for key in best} if best and second else {}
    return RunnerUp(proposal, lost)
