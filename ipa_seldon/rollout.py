"""In which order a plan becomes what runs, decided anew from what runs now: it needs no memory, and may change midway.

A stage's capacity never falls below that of the lesser of the two plans: replicas and cores come before a variant that
serves less with each of them, and go only once what is left runs the new one, and requests have moved there. No pod is
told to use more cores than its node has granted it.

No pod gets or loses a GPU: where a stage is to have others, its template changes, and Kubernetes replaces the pods, of
which there is one more than asked for meanwhile. The old ones serve on by their own entry of the plan document. More
pods are asked for before a new one can have started, fewer once as many new ones serve: some may find no GPU before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from ipa_seldon.pipeline import Pipeline, Stage
from ipa_seldon.plan import Allocation, Plan, counted
from ipa_seldon.specs.desired import NO_LIMIT, PodCores, PodPlan, entry_name, pod_plans, set_plans
from ipa_seldon.specs.observed import Trouble
from ipa_seldon.specs.traffic import Size, percentages


@dataclass(frozen=True)
class Pod:
    """One pod: whether it takes requests, the cores ``asked`` for and ``granted`` (None: its node says nothing, which
    is so before it runs and where pods cannot be resized), its ``gpus``, and what it serves (None: not known).

    ``trouble`` is what keeps its cores from changing, where something does.
    """

    name: str
    ready: bool
    asked: int
    serves: PodPlan | None = None
    trouble: Trouble | None = None
    granted: int | None = None
    gpus: int = 0

    @property
    def cores(self) -> int:
        """What it has."""
        return self.asked if self.granted is None else self.granted


@dataclass(frozen=True)
class StageState:
    """One stage on the cluster: the ``replicas`` asked for, the pods there are, what new ones are told, and what they
    are told of their ``cores``; ``start`` is with how many they begin (0: no limit), ``gpus`` the GPUs that they have.
    """

    replicas: int
    pods: tuple[Pod, ...]
    told: PodPlan | None
    cores: PodCores = NO_LIMIT
    start: int = 0
    gpus: int = 0


@dataclass(frozen=True)
class Step:
    """The writes that are safe now: stage -> replicas, entry of the plan document -> what its pods are told to serve,
    pod -> cores, entry -> what pods are told that they have of them (``granted``), stage -> what its pods are replaced
    by. ``waiting`` has a reason for each stage that is not as planned; none: the plan runs.

    For a set of variants all of it is by variant, and there are predictors to be ``added`` (with the size of their
    pods), the ``traffic`` in per cent that each is to get, and those to be ``removed``.
    """

    replicas: dict[str, int] = field(default_factory=dict)
    told: dict[str, PodPlan] = field(default_factory=dict)
    cores: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    added: dict[str, Size] = field(default_factory=dict)
    traffic: dict[str, int] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    granted: dict[str, PodCores] = field(default_factory=dict)
    replaced: dict[str, Size] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the plan runs."""
        return not self.waiting


def next_step(pipeline: Pipeline, plan: Plan, states: Mapping[str, StageState]) -> Step:
    """What to write so that ``states`` become ``plan``, one allocation a stage."""
    step = Step()
    for name, task in pod_plans(pipeline, plan).items():
        (allocation,) = plan[name]
        state = states[name]
        new = tuple(pod for pod in state.pods if pod.gpus == allocation.gpus)
        change = _Change(pipeline.stage(name), allocation, task, state)
        if state.gpus != allocation.gpus:
            _replace(name, change, step)
        elif _grow(name, replace(change, state=replace(state, pods=new)), step):
            if len(new) < len(state.pods):
                _give_way(name, change, len(state.pods) - len(new), step)
            else:
                _shrink(name, allocation, state, step)
    return step


@dataclass(frozen=True)
class Dispatch:
    """How requests are shared by the variants of a set: ``traffic`` in per cent now; ``drained``: the last shift of it
    is long enough ago that no request is under way to where it went before. Of the predictors those in ``removable``
    may go; the others were there before, and stay with one replica.
    """

    traffic: Mapping[str, int]
    drained: bool
    removable: Collection[str]


def next_set_step(pipeline: Pipeline, plan: Plan, states: Mapping[str, StageState | None], dispatch: Dispatch) -> Step:
    """The same for a pipeline of one stage that runs a set of variants; ``states`` by variant, None where its predictor
    has no Deployment yet.

    Variants come and grow first, then requests move, then variants shrink and go (InfAdapter: create, wait until ready,
    shift, drain, delete).
    """
    (stage,) = pipeline.stages
    step, tasks = Step(), set_plans(pipeline, plan)
    wanted = {allocation.variant: allocation for allocation in plan[stage.name]}
    changes = {
        name: _Change(stage, allocation, tasks[name], state)
        for name, allocation in wanted.items()
        for state in [states.get(name)]
        if state is not None
    }
    for name in wanted.keys() - changes.keys():
        if name not in states:
            step.added[name] = Size(wanted[name].cores, wanted[name].gpus)
            _tell(name, wanted[name], tasks[name], step)
        step.waiting[name] = "its predictor has no pods yet"
    target = dict.fromkeys(states, 0) | percentages({name: a.share for name, a in wanted.items()})
    if dispatch.traffic != target:
        # Whatever gets less of the requests changes when it does.
        growing = [name for name in changes if target[name] >= dispatch.traffic.get(name, 0)]
        grown = [_grow(name, changes[name], step) for name in growing]
        if all(grown) and not step.waiting:
            step.traffic.update(target)
            step.waiting[stage.name] = "requests move to " + ", ".join(f"{n} {p} %" for n, p in target.items() if p)
    elif not dispatch.drained:
        step.waiting[stage.name] = "requests under way end"
    else:
        for name, change in changes.items():
            if _grow(name, change, step):
                _shrink(name, change.wanted, change.state, step)
        _leave({name: state for name, state in states.items() if name not in wanted}, dispatch, step)
    return step


def _leave(states: Mapping[str, StageState | None], dispatch: Dispatch, step: Step) -> None:
    """What becomes of variants that get no requests any more."""
    for name, state in states.items():
        if name in dispatch.removable:
            step.removed.append(name)
            step.waiting[name] = "its predictor goes"
        elif state is not None and state.replicas > 1:
            step.replicas[name] = 1
            step.waiting[name] = "it keeps one replica"


@dataclass(frozen=True)
class _Change:
    """What is wanted of a stage or variant, per replica and in all, and how it is."""

    stage: Stage
    wanted: Allocation
    task: PodPlan
    state: StageState


def _tell(name: str, wanted: Allocation, task: PodPlan, step: Step) -> None:
    """Tell new pods, which have all their cores from the beginning, what they serve."""
    entry = entry_name(name, wanted.gpus)
    step.told[entry] = task
    step.granted[entry] = PodCores(wanted.cores)


def _replace(name: str, change: _Change, step: Step) -> None:
    """Have pods replaced by ones with other GPUs, which read another entry."""
    wanted, state = change.wanted, change.state
    step.replaced[name] = Size(wanted.cores, wanted.gpus)
    step.waiting[name] = f"its pods are replaced by ones with {counted(wanted.gpus, 'GPU')}"
    # Where some of them are still there from before, what those serve changes once there are enough of them.
    if all(pod.gpus != wanted.gpus for pod in state.pods):
        _tell(name, wanted, change.task, step)


def _give_way(name: str, change: _Change, old: int, step: Step) -> None:
    """Enough pods serve with the GPUs that they are to have: the old ones go."""
    wanted, state = change.wanted, change.state
    if state.replicas > wanted.replicas:
        step.replicas[name] = wanted.replicas
    step.waiting[name] = f"{old} pods with other GPUs than {wanted.gpus} go"


def _grow(name: str, change: _Change, step: Step) -> bool:
    """Take what must come before anything goes; whether all of it is there, and serves."""
    wanted, task, state = change.wanted, change.task, change.state
    ready = [pod for pod in state.pods if pod.ready]
    # Also asked for: what a pod has may still be what it is about to lose.
    grown = min((min(pod.asked, pod.cores) for pod in state.pods), default=0) >= wanted.cores
    if state.replicas < wanted.replicas:
        step.replicas[name] = wanted.replicas
    # Also where more than is wanted was asked for, and not granted: it keeps the node's cores from others.
    lacking = [pod for pod in state.pods if pod.asked < wanted.cores or pod.cores <= wanted.cores < pod.asked]
    step.cores.update({pod.name: wanted.cores for pod in lacking})
    _limit(name, change, step)
    late = sum(_uses_less(pod, state.told, wanted.cores) for pod in ready)
    enough = len(ready) - late >= wanted.replicas or _serves_more(change.stage, task, state.told)
    if state.told != task and not (grown and enough):
        step.waiting[name] = _shortage(wanted, state, ready)
        return False
    if state.told != task:
        step.told[entry_name(name, task.gpus)] = task
        step.granted[entry_name(name, task.gpus)] = _granted(state)
        step.waiting[name] = f"{len(state.pods)} pods are told to serve {task.variant}"
        return False
    serving = [pod for pod in ready if pod.serves == task]
    # All of them: the cluster chooses which replicas go.
    if len(serving) < max(wanted.replicas, len(ready)) or not grown:
        step.waiting[name] = _shortage(wanted, state, serving)
        return False
    return True


def _uses_less(pod: Pod, told: PodPlan | None, cores: int) -> bool:
    """Whether a pod serves what it is told, but does not use yet as many cores as it is to have by both plans."""
    serves = pod.serves
    if serves is None or told is None or replace(serves, cores=told.cores) != told:
        return False
    return serves.cores < min(told.cores, cores)


def _limit(name: str, change: _Change, step: Step) -> None:
    """Tell pods what they have of their cores where that changes what one of them, or a new one, is to serve."""
    told, before, now = change.state.told, change.state.cores, _granted(change.state)
    names = ["", *(pod.name for pod in change.state.pods)]
    if told is not None and any(before.limited(told, pod) != now.limited(told, pod) for pod in names):
        step.granted[entry_name(name, change.task.gpus)] = now


def _granted(state: StageState) -> PodCores:
    """The cores that pods have. Those whose node says nothing are left out: they have what they started with."""
    said = {pod.name: pod.granted for pod in state.pods if pod.granted is not None}
    return PodCores(state.start, {name: cores for name, cores in said.items() if cores != state.start})


def _shrink(name: str, wanted: Allocation, state: StageState, step: Step) -> None:
    """Give back what is too much."""
    step.cores.update({pod.name: wanted.cores for pod in state.pods if pod.asked > wanted.cores})
    if state.replicas > wanted.replicas:
        step.replicas[name] = wanted.replicas
    if len(state.pods) > wanted.replicas or any(max(pod.asked, pod.cores) > wanted.cores for pod in state.pods):
        step.waiting[name] = f"{len(state.pods)} pods become {wanted.replicas} of {wanted.cores} cores"
    elif state.replicas != wanted.replicas:
        step.waiting[name] = f"{state.replicas} replicas become {wanted.replicas}"


def _serves_more(stage: Stage, new: PodPlan, old: PodPlan | None) -> bool:
    """Whether each replica serves at least as much of the load with ``new``, so that it need not wait for others."""
    if old is None:
        return True
    try:
        before = stage.variant(old.variant).throughput(old.cores, old.batch)
    except KeyError:  # a variant, or cores, that the profile does not know: nothing can be said
        return False
    return stage.variant(new.variant).throughput(new.cores, new.batch) >= before


def _shortage(wanted: Allocation, state: StageState, serving: list[Pod]) -> str:
    trouble = next((f": {pod.name}: {pod.trouble}" for pod in state.pods if pod.trouble), "")
    small = sum(min(pod.asked, pod.cores) < wanted.cores for pod in state.pods)
    if small:
        return f"{small} of {len(state.pods)} pods have less than {wanted.cores} cores{trouble}"
    return f"{len(serving)} of {max(wanted.replicas, state.replicas)} pods are ready for {wanted.variant}{trouble}"


def carries(pipeline: Pipeline, plan: Plan, load: float) -> bool:
    """Whether every stage's replicas sustain ``load`` (pipeline requests/s)."""
    for stage in pipeline.stages:
        capacity = sum(
            a.replicas * stage.variant(a.variant).throughput(a.cores, a.batch) for a in plan.get(stage.name, ())
        )
        if capacity < load * stage.rate:
            return False
    return True
