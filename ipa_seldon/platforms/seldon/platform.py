"""SeldonPlatform: commits a plan to the cluster, and brings it about in steps that can be taken up by anybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite

from ipa_seldon.cluster.api import AUTOSCALERS, SCALED_OBJECTS, Cluster, Document
from ipa_seldon.cluster.changes import read_again
from ipa_seldon.errors import LoadError, PlatformError, RecommendedError, RefusedError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Backlog, Decision, LoadFault, LoadHealth, Observation, Plan, plan_words, same_plan
from ipa_seldon.platforms.seldon.documents import View, known, look, read_graph
from ipa_seldon.platforms.seldon.options import Load, SeldonOptions
from ipa_seldon.platforms.seldon.reports import PodReports
from ipa_seldon.platforms.seldon.resizing import by_replicas, given_up
from ipa_seldon.platforms.seldon.voice import Voice
from ipa_seldon.platforms.seldon.writes import Writes
from ipa_seldon.rollout import Dispatch, Step, carries, next_set_step, next_step
from ipa_seldon.specs.observed import PAUSED, Refusal, foreign_autoscaler, refusal
from ipa_seldon.specs.record import Record, digest
from ipa_seldon.specs.traffic import in_per_cent

QUARANTINE = 600.0
"""Seconds for which a plan that was reverted is not tried again."""
AUTOSCALED = "ForeignAutoscaler"
DRAIN = 10.0
"""Seconds after a shift of requests in which those under way end."""
LOAD_SPAN = 30
"""Seconds over which the present load is taken."""


class SeldonPlatform:
    """The graph of ``options`` on ``cluster``.

    ``say`` gets a line for every change and refusal. All state is on the cluster. As of the last look are ``refusal``,
    ``waiting`` (a reason for every stage that is not as planned) and ``stuck`` (one for every stage whose cores are not
    waited for any longer).
    """

    def __init__(
        self,
        cluster: Cluster,
        pipeline: Pipeline,
        options: SeldonOptions,
        load: Load,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._cluster = cluster
        self._pipeline = pipeline
        self._options = options
        self._load = load
        self._voice = Voice(cluster, say)
        self._reports = PodReports(cluster)
        self._writes = Writes(cluster, pipeline.name, self._voice, options.gpu_resource)
        self.name = options.graph
        self._now = 0.0
        self._rate = 0.0
        self._fallen_back = False
        self._ready: Mapping[str, int] = {}
        self._graph: Document | None = None
        self.refusal: Refusal | None = None
        self.waiting: Mapping[str, str] = {}
        self.stuck: Mapping[str, str] = {}

    def observe(self, now: float) -> Observation:
        """The plan the cluster was asked for, or the documents state, after another step towards it."""
        view = self.advance(now)
        self._graph = view.graph
        plan = self._plan(view)
        try:
            arrivals, fault = self._load.arrivals(now)
            backlog = self._load.backlog() if self._pipeline.by_deadline else Backlog()
        except LoadError as error:
            return Observation(now, (), plan, fault=LoadFault(error.reason, str(error)))
        recent = [count for count in arrivals[-LOAD_SPAN:] if isfinite(count)]
        if recent:
            self._rate = sum(recent) / len(recent)
        observed = Observation(now, tuple(arrivals), plan, *backlog, fault=fault)
        if not self._pipeline.by_deadline:
            return observed
        planned = {stage: sum(allocation.replicas for allocation in plan[stage]) for stage in plan}
        starting = {stage: ready for stage, ready in self._ready.items() if ready < planned.get(stage, 0)}
        return replace(observed, ready=starting)

    def advance(self, now: float) -> View:
        """Take the next step of the plan under way, if there is one; returns what was found before it."""
        self._now = now
        return read_again(lambda: self._advance(self._look()))

    def apply(self, plan: Plan) -> None:
        """Commit ``plan`` to the cluster and take its first step. RefusedError says why it is not changed now."""
        read_again(lambda: self._apply(self._look(), in_per_cent(plan)))

    def tell_load(self, load: LoadHealth) -> None:
        """Post an Event when the fallback comes into force, and when there is a load again."""
        if load.fallback == self._fallen_back:
            return
        self._fallen_back = load.fallback
        try:
            graph = read_graph(self._cluster, self.name)
        except PlatformError as error:
            self._voice.say(f"{self.name}: no Event could be posted: {error}")
            return
        if load.fallback:
            words = f"no load for {load.failures} rounds ({load.reason}): {load.words}"
            self._voice.event(graph, "Warning", "LoadMissing", words)
        else:
            self._voice.event(graph, "Normal", "LoadMeasured", "there is a load again to decide by")

    def heard(self, decision: Decision) -> None:
        """A listener, where plans are only recommended: once what runs is as it should be, nothing is any more."""
        agrees = decision.proposal is not None and same_plan(decision.proposal.plan, decision.observation.plan)
        if agrees and not self._options.acts and self._graph is not None:
            self._voice.recommend(self._graph, None)

    def _look(self) -> View:
        return look(self._cluster, self._pipeline, self._options.graph, self._options.predictor)

    def _plan(self, view: View) -> Plan:
        if self._options.acts and view.record is not None:
            return view.record.plan
        return view.running(self._pipeline)

    # ---- one step -------------------------------------------------------------------------------------------------

    def _advance(self, view: View) -> View:
        self.waiting = self.stuck = {}
        self._ready = {}
        view = self._adopted(view)
        self.refusal = self._refusal(view)
        if self.refusal is not None:
            self._tell_refusal(view, self.refusal)
            return view
        if not self._options.acts or view.record is None:
            return view
        self._follow(view, view.record, self._next(view, view.record))
        return view

    def _next(self, view: View, current: Record) -> Step:
        states = self._reports.states(view)
        if view.set_of is None:
            there = {stage: state for stage, state in states.items() if state is not None}
            step = next_step(self._pipeline, current.plan, there)
            self._ready = {stage: sum(pod.ready for pod in state.pods) for stage, state in there.items()}
        else:
            drained = current.shifted is None or self._now - current.shifted >= DRAIN
            dispatch = Dispatch(view.traffic, drained, current.added)
            step = next_set_step(self._pipeline, current.plan, states, dispatch)
        self.waiting = step.waiting
        # A plan that ran lacks cores for a pod that came later: nothing but what its node says tells since when.
        since = current.since if current.settled is None else self._now
        self.stuck = given_up(view.wanted(current.plan), states, self._now, since, self._options.resize_patience)
        return step

    def _follow(self, view: View, current: Record, step: Step) -> None:
        """Write what is safe now, or conclude: it runs, it has proved itself, it must go back."""
        unproved = current.healthy is None or not same_plan(current.healthy, current.plan)
        if step.done and current.settled is None:
            self._writes.save(view, replace(current, settled=self._now, rolls=False))
        elif step.done and unproved and self._now - (current.settled or 0.0) >= self._options.probation:
            self._judge(view, current)
        elif not step.done and current.settled is None and self._given_up(view, current):
            return
        if step.done:
            told = (plan_words(current.plan), current.quarantine(self._now))
            self._voice.condition(view.graph, True, "AsPlanned", "; ".join(filter(None, told)))
            return
        if current.settled is None:
            self._announce(view, current)
        else:
            self._repair(view, current)
        self._reports.refused = self._writes.step(view, current, step, self._now)

    def _given_up(self, view: View, current: Record) -> bool:
        """Whether another plan is in the place of one that lacks cores, or does not run in time."""
        if self.stuck:
            why = f"cores not granted: {_listed(self.stuck)}"
            replicas = self._options.resize_fallback == "replica" and self._replicate(view, current, why)
            return replicas or self._revert(view, current, why)
        if self._now - current.since > self._options.patience:
            why = f"not running after {self._options.patience:g} s: {_listed(self.waiting)}"
            return self._revert(view, current, why)
        return False

    def _repair(self, view: View, current: Record) -> None:
        """Say that something which ran is missing; once, where a pod that came later does not get its cores."""
        lacking = f"; cores not granted: {_listed(self.stuck)}" if self.stuck else ""
        changed = self._voice.condition(view.graph, True, "Repairing", plan_words(current.plan) + lacking)
        if changed and lacking:
            self._voice.event(view.graph, "Warning", "NotResized", _listed(self.stuck))

    def _judge(self, view: View, current: Record) -> None:
        before, after = current.violations, self._violations()
        risen = before is not None and after is not None and after > before + self._options.tolerance
        why = f"{after:.1%} of the requests missed the SLO, {before:.1%} before" if risen else ""
        # A load that the old plan would not carry either is no fault of the new one.
        if not why or not self._revert(view, current, why, self._rate):
            self._writes.save(view, replace(current, healthy=current.plan))

    def _violations(self) -> float | None:
        try:
            return self._load.violations(self._now)
        except PlatformError:  # it decides on reverts alone, and must not keep a plan from being applied
            return None

    def _revert(self, view: View, current: Record, why: str, load: float = 0.0) -> bool:
        """Back to the last plan that proved itself, if it is another and carries ``load``; whether it was."""
        proved = self._proved(current)
        if proved is None or not carries(self._pipeline, proved, load):
            return False
        self._replace(view, current, proved, "Reverted", why)
        return True

    def _replicate(self, view: View, current: Record, why: str) -> bool:
        """More replicas in place of the cores that are not granted, as far as that is possible; whether it was."""
        proved = self._proved(current)
        plan = proved and by_replicas(self._pipeline, current.plan, proved, self.stuck)
        if not plan or current.forbids(plan, self._now):
            return False
        self._replace(view, current, plan, "ReplicasInstead", why)
        return True

    def _proved(self, current: Record) -> Plan | None:
        """The last plan that proved itself, if it is another than the present one."""
        proved = current.healthy
        if proved is None or not known(self._pipeline, proved) or same_plan(proved, current.plan):
            return None
        return proved

    def _replace(self, view: View, current: Record, plan: Plan, reason: str, why: str) -> None:
        """Commit to ``plan`` in the place of the one that is under way, which is not tried again for a while."""
        instead = replace(
            current,
            plan=plan,
            since=self._now,
            replicas=view.replicas,
            settled=None,
            rejected=current.plan,
            rejected_until=self._now + QUARANTINE,
            why=why,
        )
        self._writes.save(view, instead)
        words = f"{plan_words(current.plan)} is taken back for {plan_words(plan)}: {why}"
        self._voice.event(view.graph, "Warning", reason, words)

    # ---- a new plan -----------------------------------------------------------------------------------------------

    def _apply(self, view: View, plan: Plan) -> None:
        stopped = self._refusal(view) or self._autoscaler(view)
        if stopped is None and not self._options.acts:
            self._voice.recommend(view.graph, plan_words(plan))
            raise RecommendedError(f"only recommended: {plan_words(plan)}")
        if stopped is not None:
            self.refusal = stopped
            self._tell_refusal(view, stopped)
            raise RefusedError(f"{stopped.reason}: {stopped.message}")
        if view.record is not None and view.record.forbids(plan, self._now):
            raise RefusedError(f"Reverted: {view.record.quarantine(self._now)}")
        if view.record is None or not same_plan(view.record.plan, plan):
            self._commit(view, plan)
        elif view.record.settled is None:  # committed by a write whose answer was lost
            self._announce(view, view.record)

    def _commit(self, view: View, plan: Plan) -> None:
        before = view.running(self._pipeline)
        kept = view.record or Record(before, self._now, "", healthy=before or None)
        violations = self._violations()
        committed = replace(
            kept,
            plan=plan,
            since=self._now,
            settled=None,
            replicas=view.replicas,
            violations=violations,
            added=tuple(name for name in kept.added if name in view.deployments),
        )
        step = self._next(view, committed)
        self._reports.refused = self._writes.step(view, committed, step, self._now, commit=True)
        self._announce(view, committed)

    def _announce(self, view: View, committed: Record) -> None:
        """Say once that a plan is under way: an Event that there is one of, then the condition that marks it said."""
        words = plan_words(committed.plan)
        progressing = ("Progressing", f"on the way to {words}")
        if not self._voice.has(view.graph, *progressing):
            self._voice.event(view.graph, "Normal", "Applied", words, key=f"{words} {committed.since}")
            self._voice.condition(view.graph, True, *progressing)

    def _adopted(self, view: View) -> View:
        """The view after what somebody else has changed became the plan, and pauses where that is wanted."""
        edited = view.edited if self._options.acts else ""
        if not edited or view.record is None or self._autoscaler(view) is not None:
            return view
        plan = view.running(self._pipeline)
        if not plan:
            return view
        taken = replace(
            view.record,
            plan=plan,
            since=self._now,
            told=digest(view.document),
            replicas=view.replicas,
            settled=None,
            violations=None,
        )
        self._writes.save(view, taken)
        if self._options.edits == "pause":
            self._voice.annotate(view.graph, {PAUSED: edited})
            self._voice.event(view.graph, "Warning", "Edited", f"{edited}; paused")
        else:
            self._voice.event(view.graph, "Normal", "Edited", f"{edited}; taken over as the plan")
        return self._look()

    # ---- refusals -------------------------------------------------------------------------------------------------

    def _refusal(self, view: View) -> Refusal | None:
        rolls = view.record is not None and view.record.rolls
        found = refusal(view.graph, self._options.predictor, view.deployments, rolls)
        if found is None and view.edited and self._options.acts:
            # What was edited and not adopted: an autoscaler's doing, or no plan of this pipeline.
            return self._autoscaler(view) or Refusal("Edited", view.edited)
        if found is None and self._voice.reason(view.graph) == AUTOSCALED:
            return self._autoscaler(view)
        return found

    def _autoscaler(self, view: View) -> Refusal | None:
        names = [found["metadata"]["name"] for found in view.deployments.values() if found is not None]
        scalers, scaled_objects = (self._cluster.list(kind) for kind in (AUTOSCALERS, SCALED_OBJECTS))
        foreign = foreign_autoscaler(scalers, scaled_objects, names)
        return Refusal(AUTOSCALED, f"{foreign}; delete it to go on") if foreign else None

    def _tell_refusal(self, view: View, stopped: Refusal) -> None:
        if self._voice.condition(view.graph, False, stopped.reason, stopped.message):
            self._voice.event(view.graph, "Warning", stopped.reason, stopped.message)


def _listed(reasons: Mapping[str, str]) -> str:
    """By stage, in one line."""
    return "; ".join(f"{stage}: {why}" for stage, why in reasons.items())
