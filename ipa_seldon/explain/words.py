"""An explanation in words, the same in tables, JSON and Markdown. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from ipa_seldon.algorithms import BY_CAPACITY, BY_DEADLINE
from ipa_seldon.config import Config
from ipa_seldon.explain.account import Explanation
from ipa_seldon.explain.again import Answer, Effect
from ipa_seldon.explain.changes import AS_IT_WAS, waits
from ipa_seldon.plan import Allocation, Plan, Proposal, Status, allocated_cores, allocated_gpus, counted, same_plan
from ipa_seldon.words import action_words, duration, figure, share, stage_words

_EPOCH = 1e8
"""Seconds: a larger time is one since 1970, a smaller one is of a simulation."""
SAME = "no change"
Grid = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Headings, and rows of as many cells."""


def title(about: Explanation) -> str:
    """Whose decision it is, which, and how it ended."""
    decision = about.decision
    which = f"decision {about.tick} at {moment(decision.observation.time)}"
    return f"{about.config.name}, {which}, by {about.config.spec.algorithm}: {decision.outcome}"


def told(about: Explanation) -> list[tuple[str, str]]:
    """What there is to say beside the tables: a label, and the words for it."""
    parts = [
        ("load", _load(about)),
        ("decision", _decision(about)),
        ("bound by", "; ".join(words for _, words in limits(about))),
        ("gain", _gain(about)),
        ("latency", _latency(about)),
        ("held back", _held_back(about)),
        ("runner-up", _runner_up(about)),
        ("note", _note(about)),
    ]
    return [(label, words) for label, words in parts if words]


def limits(about: Explanation) -> list[tuple[str, str]]:
    """What kept a better plan out, by name and in words: the constraint that bound, then what held plans back."""
    proposal, again = about.proposal, about.again
    if proposal is None:
        return []
    name = str(proposal.why.get("binding") or "")
    found = {name: _binding(about, name)} if name else {}
    for answer in about.answers:
        if answer.change.lifts and answer.proposal and again and not same_plan(answer.proposal.plan, again.plan):
            without = f"without it: {difference(again.plan, answer.proposal.plan)}"
            found[answer.change.lifts] = f"{_holding(about, answer.change.lifts)}; {without}"
    if proposal.held:
        found.setdefault("damping", _holding(about, "damping"))
    return list(found.items())


def difference(before: Plan, after: Plan) -> str:
    """The stages that run something else after than before, and what."""
    steps = (
        f"{s}: {stage_words(before.get(s, ()))} → {stage_words(after.get(s, ()))}" for s in _changed(before, after)
    )
    return "; ".join(steps) or SAME


def _changed(before: Plan, after: Plan) -> list[str]:
    return [s for s in {**after, **before} if tuple(before.get(s, ())) != tuple(after.get(s, ()))]


def tables(about: Explanation) -> list[Grid]:
    """Headings and rows: the plan before and after, stage by stage; what changes would have led to."""
    before, after, again = about.running, about.proposal, about.again
    found: list[Grid] = []
    if after is not None:
        pairs = ((stage, before.get(stage, ()), after.plan.get(stage, ())) for stage in {**after.plan, **before})
        found.append((("stage", "before", "after"), [_stage(*pair) for pair in pairs]))
    if again is not None:
        as_it_was = (AS_IT_WAS.name, "", *_figures(about, again))
        rows = [(a.change.name, _effect(a, again), *_figures(about, a.proposal)) for a in about.answers]
        cost = "cost" if about.config.pipeline.on_gpus else "cores"
        found.append((("change", "plan", "accuracy", cost, "latency"), [as_it_was, *rows]))
    return found


def _stage(name: str, before: Sequence[Allocation], after: Sequence[Allocation]) -> tuple[str, str, str]:
    return name, stage_words(before), SAME if before == after else stage_words(after)


def _effect(answer: Answer, as_it_was: Proposal) -> str:
    """What a change would have led to."""
    if answer.effect in (Effect.INFEASIBLE, Effect.UNKNOWN) or answer.proposal is None:
        return f"{answer.effect}: {answer.reason}"
    plan = answer.proposal.plan
    words = "; ".join(f"{s} → {stage_words(plan.get(s, ()))}" for s in _changed(as_it_was.plan, plan)) or SAME
    return f"{words} ({answer.reason})" if answer.reason else words


def _figures(about: Explanation, proposal: Proposal | None) -> tuple[str, str, str]:
    """Accuracy, cost in cores and expected latency of a plan, as a table shows them; empty where there is none."""
    if proposal is None:
        return "", "", ""
    latency = "" if _by_capacity(about.config) else _seconds(proposal.latency)
    return f"{proposal.accuracy:.4f}", f"{proposal.cost:g}", latency


def headroom(about: Explanation) -> float | None:
    """Seconds of the SLO that the expected latency leaves, below 0 where it takes more; None where only capacities say
    that the SLO is kept, or no latency is to be expected.
    """
    proposal = about.proposal
    if proposal is None or _by_capacity(about.config) or not isfinite(proposal.latency):
        return None
    return about.config.spec.slo.latency - proposal.latency


def moment(time: float) -> str:
    """A time of a log: in UTC, or seconds of a simulation."""
    if time < _EPOCH:
        return f"{time:g} s"
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _load(about: Explanation) -> str:
    load, spec = about.load, about.config.spec.forecaster
    if load.window_mean is None:
        words = "none was measured"
    else:
        last = f"{figure(load.interval_mean)} requests/s in the last {duration(about.config.spec.interval)}"
        peak = f"{figure(load.window_mean)} in the mean of {duration(spec.window)}, {figure(load.window_peak)} at most"
        words = f"{last}, {peak}"
    if about.decision.load.words:
        words += f"; {about.decision.load.words}"
    if load.unmeasured:
        words += f"; {load.unmeasured} seconds were not measured"
    if load.forecast is None:
        return words
    if load.assumed is not None:
        return f"{words}; forecast: none, that of decision {load.assumed} stands in: {figure(load.forecast)}"
    margin = "" if spec.quantile in (None, "none") else f" and the {spec.quantile:g} quantile of its past errors"
    margin += f", {share(spec.margin)} on top" if spec.margin else ""
    window = f"{duration(spec.window)} in blocks of {duration(spec.aggregate)}"
    horizon = f"the peak of the next {duration(spec.horizon)}"
    name = spec.name + _followed(about.decision.forecast_why)
    return f"{words}; forecast {figure(load.forecast)}: {horizon} by {name} from {window}{margin}"


def _followed(why: Mapping[str, Any]) -> str:
    """Whom a forecaster followed that follows others, and the recent loss of each; empty for those that do not."""
    if "following" not in why:
        return ""
    losses = ", ".join(f"{name} {figure(loss)}" for name, loss in why["pinball"].items())
    return f", which follows {why['following']} (recent pinball losses: {losses}),"


def _decision(about: Explanation) -> str:
    decision, proposal = about.decision, about.proposal
    reasons = [decision.error, proposal.reason if proposal else ""]
    words = [action_words(decision), *(reason for reason in reasons if reason)]
    if decision.rate is None and about.again is not None:
        words.append(f"by that forecast it would have been: {difference(about.running, about.again.plan)}")
    elif decision.error and proposal is not None:
        words.append(f"it would have run: {difference(about.running, proposal.plan)}")
    return "; ".join(words)


def _binding(about: Explanation, name: str) -> str:
    """The constraint of that name, with its figures."""
    spec, taken = about.config.spec, about.taken
    if taken is None:
        return name
    why = taken.why or (about.proposal.why if about.proposal else {})
    budget, load = about.config.budget, f"{figure(about.load.decided_for)} requests/s"
    words = {
        "slo": f"the SLO: {_seconds(taken.latency)} expected of {duration(spec.slo.latency)}",
        "cores": f"the budget: {allocated_cores(taken.plan)} of {spec.limits.cores} cores",
        "gpus": f"the GPUs: {allocated_gpus(taken.plan)} of {spec.limits.gpus}",
        "cost": f"the cost: {taken.cost:g} of at most {spec.objective.cost_at_most} cores",
        "accuracy": f"the least accuracy: {taken.accuracy:.4f} of {spec.objective.accuracy_at_least}",
        "replicas": f"the replicas: at most {spec.limits.replicas} of a stage",
        "budget": f"the budget: {taken.cost} of {budget} cores",
        "peak": f"the budget: {why.get('peak')} cores at once during the change, of {budget}",
        "pods": "the pods: one at a time",
        "load": f"the load: {load} have to be taken",
        "none": "nothing: no plan is better",
    }
    if spec.algorithm in BY_DEADLINE:
        words |= {
            "slo": "deadlines: a request that arrives now has to end in time",
            "queue": f"deadlines: {why.get('queued')} queued requests have to end in time",
            "burst": "deadlines: a burst until the next decision has to end in time",
        }
    if spec.algorithm == "rim":
        words["replicas"] = "the replicas: they stay as they are"
    return words.get(name, name)


def _holding(about: Explanation, name: str) -> str:
    """What holds a plan back, with its figures."""
    spec, load, proposal = about.config.spec, about.load, about.proposal
    if name == "switching":
        return f"the price of switching: {spec.objective.switching:g} for every second that a core starts up"
    if name == "waiting":
        return f"waiting: scaled down is once {max(waits(about.config).values())} decisions in a row agree"
    if proposal is not None and proposal.held:
        return f"damping: {proposal.reason}"
    return f"damping: decided for {figure(load.decided_for)} requests/s, of which {figure(load.forecast)} are forecast"


def _gain(about: Explanation) -> str:
    before, after = about.before, about.proposal
    if after is None:
        return ""
    if before is None:
        ran = "nothing ran" if not about.running else "what ran is no plan of this pipeline"
        return f"accuracy {after.accuracy:.4f} on {counted(after.cost, 'core')}; {ran}"
    if same_plan(before.plan, after.plan):
        return f"none: accuracy {after.accuracy:.4f} on {counted(after.cost, 'core')}, as before"
    broken = f"; what ran breaks a promise: {before.reason}" if before.status is Status.DEGRADED else ""
    return f"{_steps(before, after)}{broken}"


def _latency(about: Explanation) -> str:
    spec, proposal, left = about.config.spec, about.proposal, headroom(about)
    slo = f"{duration(spec.slo.latency)} at p{spec.slo.percentile:g}"
    if proposal is None:
        return ""
    if _by_capacity(about.config):
        return f"capacities keep the SLO of {slo}"
    if left is None:
        return f"without end, of an SLO of {slo}"
    spare = "to spare" if left >= 0 else "too much"
    return (
        f"{duration(proposal.latency)} expected of {slo}: {duration(abs(left))} "
        f"({share(abs(left) / spec.slo.latency)}) {spare}"
    )


def _held_back(about: Explanation) -> str:
    wanted, proposal = about.held_back, about.proposal
    if wanted is None or proposal is None:
        return ""
    return f"{difference(about.running, wanted.plan)}: {_steps(proposal, wanted)}"


def _runner_up(about: Explanation) -> str:
    second, taken = about.runner_up, about.taken
    if second is None or taken is None:
        return ""
    words = [difference(taken.plan, second.proposal.plan), _steps(taken, second.proposal)]
    terms = ", ".join(f"{name} {-lost:+.3g}" for name, lost in second.lost.items() if lost)
    objective, total = about.config.spec.objective, sum(second.lost.values())
    if objective.maximise or objective.minimise or not terms:
        # With a limit terms are no sum: the first one decides, the next among equals.
        words.append(f"behind by {terms}" if terms else "worth the same")
    else:
        words.append(f"worth {abs(total):.3g} {'less' if total >= 0 else 'more'}: {terms}")
    return "; ".join(words)


def _note(about: Explanation) -> str:
    if about.error:
        return f"it cannot be decided again: {about.error}"
    if about.load.forecast is None:
        return "no load was known yet, so that there is nothing to decide"
    if about.same_again or about.again is None or about.proposal is None:
        return ""
    words = f"decided again it comes out differently: {difference(about.proposal.plan, about.again.plan)}"
    if about.first_tick:
        words += (
            f"; what was remembered from before decision {about.first_tick}, with which this log begins, is missing"
        )
    return f"{words}; what else would have changed is told of that plan"


def _by_capacity(config: Config) -> bool:
    """Whether all that is known of a plan's latency is that capacities keep the SLO."""
    return config.spec.algorithm in BY_CAPACITY and bool(config.capacities)


def _steps(before: Proposal, after: Proposal) -> str:
    """From one plan's accuracy, cost and worth to another's."""
    accuracy, cost = f"accuracy {after.accuracy:.4f}", counted(after.cost, "core")
    if round(after.accuracy - before.accuracy, 4):
        accuracy = f"accuracy {before.accuracy:.4f} → {after.accuracy:.4f} ({after.accuracy - before.accuracy:+.4f})"
    if after.cost != before.cost:
        cost = f"{before.cost:g} → {cost} ({after.cost - before.cost:+g})"
    return f"{accuracy}, {cost}"


def _seconds(seconds: float) -> str:
    return duration(seconds) if isfinite(seconds) else "no end"
