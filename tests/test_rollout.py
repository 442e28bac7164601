"""The order in which a plan becomes what runs."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Allocation, Plan
from ipa_seldon.rollout import Dispatch, Pod, StageState, Step, carries, next_set_step, next_step
from ipa_seldon.specs.desired import NO_LIMIT, PodCores, PodPlan, gpus_of
from ipa_seldon.specs.observed import Trouble
from ipa_seldon.specs.traffic import Size, percentages

SECONDS = {"light": 0.01, "medium": 0.02, "heavy": 0.05, "quick-1": 0.004, "quick-2": 0.002}
"""Of one request on one core."""
START = 1
"""Cores that new pods begin with."""


def variant(name: str, version: int) -> Variant:
    """Twice the cores, half the time; batches gain nothing."""
    seconds = SECONDS[name]
    return Variant(
        name,
        version / 10,
        version,
        (1, 2, 4),
        lambda cores, batch: seconds * batch / cores,
        lambda cores, _: cores / seconds,
    )


STAGE = Stage("detect", tuple(variant(name, index) for index, name in enumerate(("light", "medium", "heavy"), 1)))
PIPELINE = Pipeline("toy", (STAGE,), (), 1.0)


def plan(name: str, replicas: int, cores: int = 1, batch: int = 1) -> Plan:
    """A plan of the one stage."""
    return {"detect": (Allocation(name, replicas, cores, batch),)}


def task(name: str, cores: int = 1, batch: int = 1) -> PodPlan:
    """What one pod of it serves; single requests wait for nothing."""
    return PodPlan(name, 9 if name == "foreign" else STAGE.variant(name).version, cores, batch, 0.0)


def running(name: str, replicas: int, cores: int = 1, batch: int = 1, ready: int | None = None) -> StageState:
    """A stage that runs such a plan, of whose pods the first ``ready`` are ready."""
    serves = task(name, cores, batch)
    number = replicas if ready is None else ready
    pods = tuple(Pod(f"pod-{index}", index < number, cores, serves, granted=cores) for index in range(replicas))
    return StageState(replicas, pods, serves, start=START)


def step(wanted: Plan, state: StageState) -> Step:
    return next_step(PIPELINE, wanted, {"detect": state})


def test_what_runs_needs_nothing() -> None:
    """No write and nothing to wait for where the plan runs."""
    assert step(plan("light", 2), running("light", 2)) == Step()


def test_replicas_come_before_a_heavier_variant() -> None:
    """First the scale; the variant only once all of its replicas are ready."""
    first = step(plan("heavy", 3), running("light", 1))
    assert (first.replicas, first.told) == ({"detect": 3}, {})
    waiting = step(plan("heavy", 3), running("light", 3, ready=2))
    assert (waiting.replicas, waiting.told) == ({}, {})
    assert waiting.waiting == {"detect": "2 of 3 pods are ready for heavy"}
    assert step(plan("heavy", 3), running("light", 3)).told == {"detect": task("heavy", 1, 1)}


def test_a_lighter_variant_does_not_wait_for_replicas() -> None:
    """A load that rises past the running plan is relieved by the switch at once, while more replicas start."""
    both = step(plan("light", 3), running("heavy", 1))
    assert (both.replicas, both.told) == ({"detect": 3}, {"detect": task("light", 1, 1)})


def test_scaling_down_comes_after_the_switch() -> None:
    """Replicas go when those that stay serve the new variant, not when they have merely been told."""
    told = step(plan("light", 1), running("heavy", 3))
    assert (told.replicas, told.told) == ({}, {"detect": task("light", 1, 1)})
    switching = running("heavy", 3)
    switching = replace(switching, told=task("light", 1, 1))
    assert step(plan("light", 1), switching) == Step(waiting={"detect": "0 of 3 pods are ready for light"})
    done = step(plan("light", 1), running("light", 3))
    assert done.replicas == {"detect": 1}
    assert not done.done


def test_cores_grow_before_threads_and_shrink_after() -> None:
    """A pod gets its cores, then is told to use them; and is told to use fewer before it loses them."""
    more = step(plan("light", 2, cores=2), running("light", 2))
    assert (more.cores, more.told) == ({"pod-0": 2, "pod-1": 2}, {})
    assert more.waiting == {"detect": "2 of 2 pods have less than 2 cores"}
    less = step(plan("light", 2), running("light", 2, cores=2))
    assert (less.cores, less.told) == ({}, {"detect": task("light", 1, 1)})
    told = replace(running("light", 2), pods=tuple(Pod(f"pod-{i}", True, 2, task("light", 1, 1)) for i in range(2)))
    assert step(plan("light", 2), told).cores == {"pod-0": 1, "pod-1": 1}


def asking(asked: int, granted: int, cores: int = 1) -> StageState:
    """One pod that has been asked to have so many cores, was granted others, and is told to use ``cores`` of them."""
    pod = Pod("pod-0", True, asked, task("light", cores), granted=granted)
    return replace(running("light", 1, cores), pods=(pod,))


def test_cores_are_used_once_they_are_granted() -> None:
    """Asked for is not enough, nor is what a pod still has but is about to lose; and what is asked for is not asked for
    again.
    """
    waiting = step(plan("light", 1, cores=4), asking(4, 2))
    assert (waiting.cores, waiting.told) == ({}, {})
    losing = step(plan("light", 1, cores=4), asking(1, 4))
    assert (losing.cores, losing.told) == ({"pod-0": 4}, {})
    granted = step(plan("light", 1, cores=4), asking(4, 4))
    assert granted.told == {"detect": task("light", 4)}
    assert granted.granted == {"detect": PodCores(START, {"pod-0": 4})}


def test_a_wish_that_was_not_granted_is_taken_back() -> None:
    """A plan with fewer cores does not leave a node with a wish for more; it runs once that is gone."""
    back = step(plan("light", 1, cores=2), asking(4, 2, 2))
    assert back.cores == {"pod-0": 2}
    assert not back.done
    assert step(plan("light", 1, cores=2), asking(2, 2, 2)).done


def test_a_new_pod_is_told_the_cores_that_it_has() -> None:
    """It begins with the template's, on as many threads, while the others have more; it is asked to have what they
    have, and told to use that once it is granted.
    """
    old, began = running("light", 1, 4).pods[0], PodCores(START, {"pod-0": 4})
    fresh = Pod("pod-new", True, START, task("light", START), granted=START)
    state = StageState(2, (old, fresh), task("light", 4), began, START)
    asks = step(plan("light", 2, cores=4), state)
    assert (asks.cores, asks.told, asks.granted) == ({"pod-new": 4}, {}, {})
    assert began.limited(task("light", 4), "pod-new") == task("light", START)
    larger = replace(fresh, asked=4, granted=4)
    told = step(plan("light", 2, cores=4), replace(state, pods=(old, larger)))
    assert told.granted == {"detect": PodCores(START, {"pod-0": 4, "pod-new": 4})}
    template = step(plan("light", 2, cores=4), replace(state, start=2))
    assert template.granted["detect"].limited(task("light", 4), "another") == task("light", 2)


def test_trouble_is_told() -> None:
    """Why a node does not give a pod its cores stands in what the step waits for."""
    state = replace(
        running("light", 1), pods=(Pod("pod-0", True, 1, task("light", 1, 1), Trouble("Infeasible", "too many")),)
    )
    waiting = step(plan("light", 1, cores=4), state).waiting
    assert waiting == {"detect": "1 of 1 pods have less than 4 cores: pod-0: Infeasible: too many"}


def test_an_unknown_variant_counts_as_lighter() -> None:
    """What runs but is in no profile is not trusted to serve less: the replicas come first."""
    state = replace(running("light", 1), told=task("foreign", 1, 1))
    assert step(plan("light", 2), state).told == {}
    assert step(plan("light", 2), replace(state, told=None)).told == {"detect": task("light", 1, 1)}


def capacity(state: StageState) -> float:
    """Requests/s that the ready pods serve, none of which has more threads than cores."""
    serving = [(pod.cores, pod.serves) for pod in state.pods if pod.ready and pod.serves is not None]
    assert all(serves.cores <= cores for cores, serves in serving), serving
    return sum(serves.cores / SECONDS[serves.variant] for _, serves in serving)


def follow(state: StageState, made: Step, chance: random.Random) -> StageState:
    """The cluster a moment later: writes take effect, and each pod follows or does not yet, by chance."""
    replicas = made.replicas.get("detect", state.replicas)
    told, cores = made.told.get("detect", state.told), made.granted.get("detect", state.cores)
    pods = [_followed(pod, made, told and cores.limited(told, pod.name), chance) for pod in state.pods]
    fresh = (Pod(f"pod-{chance.random()}", False, START) for _ in range(replicas - len(pods)))
    # A cluster takes pods that are not ready first.
    kept = sorted(pods, key=lambda pod: not pod.ready)[:replicas]
    return StageState(replicas, (*kept, *fresh), told, cores, START)


def _followed(pod: Pod, made: Step, told: PodPlan | None, chance: random.Random) -> Pod:
    """A pod asks for its cores, its node grants them now or later, and it starts, or loads what it is told, or not yet.
    One that has not started yet is granted what it began with, or what it asks for meanwhile.
    """
    granted = START if pod.granted is None and pod.ready else pod.granted
    pod = replace(pod, asked=made.cores.get(pod.name, pod.asked), granted=granted)
    if chance.random() < 0.5:
        pod = replace(pod, ready=True, granted=pod.granted or START, serves=told)
    return replace(pod, granted=pod.asked) if pod.granted is not None and chance.random() < 0.5 else pod


@pytest.mark.parametrize("seed", range(200))
def test_capacity_never_falls_below_both_plans(seed: int) -> None:
    """From any plan to any other, pods following late and in any order: it arrives, and at every moment serves at least
    the lesser of what the two plans do.
    """
    chance = random.Random(seed)

    def some() -> Allocation:
        return Allocation(chance.choice(STAGE.variants).name, chance.randint(1, 4), chance.choice((1, 2, 4)), 1)

    before, after = some(), some()
    state = running(before.variant, before.replicas, before.cores)
    least = min(a.replicas * a.cores / SECONDS[a.variant] for a in (before, after))
    for _ in range(200):
        made = step({"detect": (after,)}, state)
        if made.done:
            break
        state = follow(state, made, chance)
        assert capacity(state) >= least * (1 - 1e-9)
    assert made.done
    assert (state.replicas, state.told, len(state.pods)) == (
        after.replicas,
        task(after.variant, after.cores),
        after.replicas,
    )


ON_GPUS = replace(STAGE, variants=(*STAGE.variants, *(replace(variant(f"quick-{n}", 9 + n), gpus=n) for n in (1, 2))))
"""A stage that also has variants that run on one GPU, and on two."""


def alone(one: Allocation) -> PodPlan:
    """What a pod of an allocation serves."""
    version = ON_GPUS.variant(one.variant).version
    return PodPlan(one.variant, version, one.cores, one.batch, 0.0, None, one.gpus)


class Replacing:
    """What Kubernetes does to the pods of a stage when their template changes: there is one more than are asked for,
    and never fewer that are ready. Pods start late, by chance, and not without their GPUs, of which there are ``gpus``.
    """

    def __init__(self, before: Allocation, gpus: int, chance: random.Random) -> None:
        self._gpus, self._chance = gpus, chance
        self.told = {before.gpus: alone(before)}
        self.cores = {before.gpus: PodCores(before.cores)}
        self.size, self.replicas = Size(before.cores, before.gpus), before.replicas
        made = (self._pod(number) for number in range(before.replicas))
        self.pods = [replace(pod, ready=True, serves=self.told[before.gpus]) for pod in made]

    def state(self) -> StageState:
        """As the rollout sees it."""
        cores, gpus = self.size
        told, limits = self.told.get(gpus), self.cores.get(gpus, NO_LIMIT)
        return StageState(self.replicas, tuple(self.pods), told, limits, cores, gpus)

    def follow(self, made: Step) -> None:
        """A moment later: writes take effect, pods start or do not yet, then some go and come."""
        self.told |= {gpus_of(entry): task for entry, task in made.told.items()}
        self.cores |= {gpus_of(entry): limits for entry, limits in made.granted.items()}
        self.replicas = made.replicas.get("detect", self.replicas)
        self.size = made.replaced.get("detect", self.size)
        self.pods = [replace(pod, asked=made.cores.get(pod.name, pod.asked)) for pod in self.pods]
        for place, pod in enumerate(self.pods):
            self.pods[place] = self._followed(pod)
        self._go()
        new = sum(pod.gpus == self.size.gpus for pod in self.pods)
        if new < self.replicas and len(self.pods) <= self.replicas:
            self.pods.append(self._pod(self._chance.random()))

    def _followed(self, pod: Pod) -> Pod:
        used = sum(other.gpus for other in self.pods if other.ready)
        if self._chance.random() < 0.5 or not (pod.ready or used + pod.gpus <= self._gpus):
            return pod
        serves = self.cores[pod.gpus].limited(self.told[pod.gpus], pod.name)
        return replace(pod, ready=True, granted=pod.asked, serves=serves)

    def _go(self) -> None:
        """Those that are not ready before others, and old ones before new ones."""
        old = [pod for pod in self.pods if pod.gpus != self.size.gpus]
        for pod in sorted(self.pods, key=lambda pod: (pod.ready, pod not in old)):
            surplus = len(self.pods) > self.replicas + bool(old)
            replaced = pod in old and sum(other.ready for other in self.pods) - pod.ready >= self.replicas
            if surplus or replaced:
                self.pods.remove(pod)

    def _pod(self, number: float) -> Pod:
        return Pod(f"pod-{number}", False, self.size.cores, granted=self.size.cores, gpus=self.size.gpus)


@pytest.mark.parametrize("seed", range(300))
def test_pods_with_other_gpus_take_the_place_of_those_without_a_dip(seed: int) -> None:
    """Between variants on no, one and two GPUs, on a cluster with no more of them than the plans need: it arrives, and
    at every moment serves at least the lesser of what the two plans do.
    """
    chance = random.Random(seed)
    before, after = _some(chance), _some(chance)
    held = [one.gpus * one.replicas for one in (before, after)]
    # A pod that takes two cannot take the one of a pod that is still there.
    cluster = Replacing(before, sum(held) if before.gpus != after.gpus else max(held), chance)
    least = min(a.replicas * a.cores / SECONDS[a.variant] for a in (before, after))
    _arrive(cluster, after, least)


@pytest.mark.parametrize("seed", range(200))
def test_a_plan_may_change_while_pods_are_replaced(seed: int) -> None:
    """Whatever was under way: the last plan arrives, and something serves all the time."""
    chance = random.Random(seed)
    cluster = Replacing(_some(chance), 100, chance)
    for _ in range(3):
        _arrive(cluster, _some(chance), 1e-6, chance.randint(0, 6))
    _arrive(cluster, _some(chance), 1e-6)


def _some(chance: random.Random) -> Allocation:
    one = chance.choice(ON_GPUS.variants)
    return Allocation(one.name, chance.randint(1, 4), chance.choice((1, 2, 4)), 1, gpus=one.gpus)


def _arrive(cluster: Replacing, after: Allocation, least: float, steps: int | None = None) -> None:
    """Follow the steps to a plan, or only so many of them, with a capacity of at least ``least``."""
    for _ in range(300 if steps is None else steps):
        made = next_step(replace(PIPELINE, stages=(ON_GPUS,)), {"detect": (after,)}, {"detect": cluster.state()})
        if made.done:
            break
        cluster.follow(made)
        assert capacity(cluster.state()) >= least * (1 - 1e-9)
    if steps is None:
        assert made.done
        assert len(cluster.pods) == after.replicas
        assert {(pod.gpus, pod.serves) for pod in cluster.pods} == {(after.gpus, alone(after))}


def test_what_a_plan_carries() -> None:
    """A plan carries a load up to the throughput of its narrowest stage."""
    assert carries(PIPELINE, plan("light", 2), 200.0)
    assert not carries(PIPELINE, plan("light", 2), 201.0)
    assert not carries(PIPELINE, {}, 1.0)


def some_set(chance: random.Random) -> dict[str, Allocation]:
    """One to three variants with shares that sum to 1."""
    names = chance.sample([one.name for one in STAGE.variants], chance.randint(1, 3))
    parts = [chance.randint(1, 5) for _ in names]
    return {
        name: Allocation(name, chance.randint(1, 3), chance.choice((1, 2, 4)), 1, part / sum(parts))
        for name, part in zip(names, parts, strict=True)
    }


def named(state: StageState) -> StageState:
    """The same with pods' names that no other variant's have."""
    assert state.told is not None
    return replace(state, pods=tuple(replace(pod, name=f"{state.told.variant}-{pod.name}") for pod in state.pods))


def sustained(capacities: dict[str, float], traffic: dict[str, int]) -> float:
    """Requests/s of the whole stage at which none of its variants gets more than it serves."""
    return min(100 * capacities.get(name, 0.0) / per_cent for name, per_cent in traffic.items() if per_cent)


@pytest.mark.parametrize("seed", range(400))
def test_a_set_never_sustains_less_than_both_sets(seed: int) -> None:
    """From any set of variants to any other, pods and Deployments following late and in any order: it arrives, the
    traffic always sums to 100, and at every moment the load is sustained that the lesser of the two sets sustains.
    """
    chance = random.Random(seed)
    before, after = some_set(chance), some_set(chance)
    states: dict[str, StageState | None] = {
        name: named(running(name, a.replicas, a.cores)) for name, a in before.items()
    }
    traffic = percentages({name: a.share for name, a in before.items()})

    def ideal(wanted: dict[str, Allocation]) -> float:
        capacities = {name: a.replicas * a.cores / SECONDS[name] for name, a in wanted.items()}
        return sustained(capacities, percentages({name: a.share for name, a in wanted.items()}))

    least, drained, removable = min(ideal(before), ideal(after)), True, set[str]()
    for _ in range(300):
        dispatch = Dispatch(dict(traffic), drained, removable)
        made = next_set_step(PIPELINE, {"detect": tuple(after.values())}, states, dispatch)
        if made.done:
            break
        drained = chance.random() < 0.5 if not made.traffic else False
        traffic |= made.traffic
        for name, state in list(states.items()):
            part = Step(
                {"detect": made.replicas[name]} if name in made.replicas else {},
                {"detect": made.told[name]} if name in made.told else {},
                made.cores,
                granted={"detect": made.granted[name]} if name in made.granted else {},
            )
            states[name] = (
                StageState(1, (), task(name, after[name].cores), start=START)
                if state is None
                else follow(state, part, chance)
            )
        for name in made.removed:
            assert not traffic.pop(name)
            del states[name]
        for name in made.added:
            states[name], traffic[name] = None, 0
            removable.add(name)
        assert sum(traffic.values()) == 100
        now = {name: capacity(state) for name, state in states.items() if state is not None}
        assert sustained(now, traffic) >= least * (1 - 1e-9)
    assert made.done
    assert {name: traffic[name] for name in after} == percentages({name: a.share for name, a in after.items()})
    for name, allocation in after.items():
        found = states[name]
        assert found is not None
        assert (found.replicas, len(found.pods), found.told) == (
            *[allocation.replicas] * 2,
            task(name, allocation.cores),
        )
