"""In which order a plan becomes what runs, decided anew from what runs now: it needs no memory, and may change midway.

A stage's capacity never falls below that of the lesser of the two plans: replicas and cores come before a variant that
serves less with each of them, and go only once what is left runs the new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ipa_seldon.pipeline import Pipeline, Stage
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.specs.desired import PodPlan, pod_plans


@dataclass(frozen=True)
class Pod:
    """One pod: whether it takes requests, the ``cores`` it has been given, and what it serves (None: not known).

    ``trouble`` says what keeps its cores from changing, where something does.
    """

    name: str
    ready: bool
    cores: int
    serves: PodPlan | None = None
    trouble: str = ""


@dataclass(frozen=True)
class StageState:
    """One stage on the cluster: the ``replicas`` asked for, the pods there are, and what they are told."""

    replicas: int
    pods: tuple[Pod, ...]
    told: PodPlan | None


@dataclass(frozen=True)
class Step:
    """The writes that are safe now: stage -> replicas, stage -> what its pods are told to serve, pod -> cores.
    ``waiting`` has a reason for each stage that is not as planned; none: the plan runs.
    """

    replicas: dict[str, int] = field(default_factory=dict)
    told: dict[str, PodPlan] = field(default_factory=dict)
    cores: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the plan runs."""
        return not self.waiting


def next_step(pipeline: Pipeline, plan: Plan, states: Mapping[str, StageState]) -> Step:
    """What to write so that ``states`` become ``plan``, one allocation a stage."""
    step = Step()
    for name, task in pod_plans(pipeline, plan).items():
        (allocation,) = plan[name]
        _stage(pipeline.stage(name), allocation, task, states[name], step)
    return step


def _stage(stage: Stage, wanted: Allocation, task: PodPlan, state: StageState, step: Step) -> None:
    name = stage.name
    ready = [pod for pod in state.pods if pod.ready]
    grown = min((pod.cores for pod in state.pods), default=0) >= wanted.cores
    if state.replicas < wanted.replicas:
        step.replicas[name] = wanted.replicas
    step.cores.update({pod.name: wanted.cores for pod in state.pods if pod.cores < wanted.cores})
    if state.told != task and not (grown and (len(ready) >= wanted.replicas or _serves_more(stage, task, state.told))):
        step.waiting[name] = _shortage(wanted, state, ready)
        return
    if state.told != task:
        step.told[name] = task
        step.waiting[name] = f"{len(state.pods)} pods are told to serve {task.variant}"
        return
    serving = [pod for pod in ready if pod.serves == task]
    # All of them: the cluster chooses which replicas go.
    if len(serving) < max(wanted.replicas, len(ready)) or not grown:
        step.waiting[name] = _shortage(wanted, state, serving)
        return
    step.cores.update({pod.name: wanted.cores for pod in state.pods if pod.cores > wanted.cores})
    if state.replicas > wanted.replicas:
        step.replicas[name] = wanted.replicas
    if len(state.pods) > wanted.replicas or any(pod.cores > wanted.cores for pod in state.pods):
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
    small = sum(pod.cores < wanted.cores for pod in state.pods)
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
