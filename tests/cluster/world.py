"""A pipeline on a cluster, with everything but Triton: the API, Seldon's operator, a kubelet, sidecars, an adapter."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from kubernetes.client import ApiClient, Configuration
from kubernetes.config import load_kube_config, new_client_from_config

from ipa_seldon.cluster.api import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    PODS,
    SELDON_DEPLOYMENTS,
    ApiError,
    Call,
    Cluster,
    Kind,
)
from ipa_seldon.errors import IpaSeldonError, LoadError
from ipa_seldon.pipeline import Pipeline, Stage, Variant
from ipa_seldon.plan import Allocation, Backlog, LoadFault, Measured, Plan
from ipa_seldon.platforms.seldon.options import SeldonOptions
from ipa_seldon.platforms.seldon.platform import SeldonPlatform
from ipa_seldon.platforms.seldon.voice import CONDITION
from ipa_seldon.specs.desired import KEY
from ipa_seldon.specs.seldon import SeldonSettings, plan_config_map, plan_name, seldon_deployment
from tests.cluster.controllers import Kubelet, Operator
from tests.cluster.sidecars import SidecarPods

SECONDS = {"light": 0.01, "heavy": 0.05}
"""Of one request on one core."""
SETTINGS = SeldonSettings("pvc://models/toy", "triton:1", "ipa-seldon:1", "1Gi", "64Mi")


def _variant(name: str, version: int) -> Variant:
    seconds = SECONDS[name]
    return Variant(
        name,
        version / 2,
        version,
        (1, 2, 4),
        lambda cores, batch: seconds * batch / cores,
        lambda cores, _: cores / seconds,
    )


def toy_pipeline(name: str = "toy") -> Pipeline:
    """Two stages, double -> increment, each light (100 requests/s per core) or heavy (20)."""
    stages = tuple(
        Stage(stage, tuple(_variant(variant, index) for index, variant in enumerate(SECONDS, 1)))
        for stage in ("double", "increment")
    )
    return Pipeline(name, stages, (("double", "increment"),), 1.0)


def toy_plan(double: tuple[Any, ...], increment: tuple[Any, ...] = ("light", 1)) -> Plan:
    """(variant, replicas[, cores[, batch]]) per stage."""
    return {
        stage: (Allocation(*(*given, 1, 1)[:4]),) for stage, given in (("double", double), ("increment", increment))
    }


START = toy_plan(("light", 2))


def set_pipeline(name: str = "toy") -> Pipeline:
    """One stage, double, whose variants may run side by side."""
    return Pipeline(name, toy_pipeline().stages[:1], (), 1.0)


def set_plan(**allocations: tuple[float, int] | tuple[float, int, int]) -> Plan:
    """Variant = (share, replicas[, cores])."""
    made = []
    for variant, (share, replicas, *cores) in allocations.items():
        made.append(Allocation(variant, replicas, cores[0] if cores else 1, 1, share))
    return {"double": tuple(made)}


class ScriptedLoad:
    """What Prometheus would say."""

    def __init__(self) -> None:
        self.rate = 10.0
        self.missed: float | None = 0.0
        self.queue = Backlog()
        self.fault: LoadFault | None = None

    def arrivals(self, _: float) -> Measured:
        if self.fault is not None:
            raise LoadError(self.fault.words, self.fault.reason)
        return Measured([self.rate] * 60)

    def violations(self, _: float) -> float | None:
        return self.missed

    def backlog(self) -> Backlog:
        return self.queue


class World:
    """Time is the test's: nothing happens but by ``tick``."""

    def __init__(self, cluster: Cluster, kubeconfig: Path, pods: SidecarPods, graph: str) -> None:
        self.cluster = cluster
        self.kubeconfig = kubeconfig
        self.calls: list[Call] = []
        self._door = door(kubeconfig, cluster.namespace, on_call=self.calls.append)
        self.graph = graph
        self.operator = Operator(kubeconfig, cluster.namespace)
        self.kubelet = Kubelet(kubeconfig, cluster.namespace, pods, lambda: self.now)
        self.pods = pods
        self.load = ScriptedLoad()
        self.said: list[str] = []
        self.now = 1_000_000.0
        self.pipeline = toy_pipeline(graph)
        self.options = SeldonOptions(graph, patience=100.0, probation=20.0)

    def deploy(self, plan: Plan = START, change: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        """Apply what ``render`` writes, ``change`` the SeldonDeployment before, and let it come up."""
        self.create(plan, change)
        for stage, (allocation,) in plan.items():
            if not self.document()["spec"].get("replicas"):
                self.scale(stage, allocation.replicas)
        self.run_cluster()

    def create(self, plan: Plan, change: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        """Apply what ``render`` writes."""
        settings = replace(SETTINGS, predictor=self.options.predictor)
        self.cluster.create(CONFIG_MAPS, plan_config_map(self.pipeline, plan, settings.predictor))
        graph = seldon_deployment(self.pipeline, plan, settings)
        change(graph)
        self.cluster.create(SELDON_DEPLOYMENTS, graph)
        self.run_cluster()

    def becomes_set(self) -> None:
        """From now on its pipeline is of one stage that runs a set of variants."""
        self.pipeline = set_pipeline(self.graph)
        self.options = replace(self.options, predictor=None)

    def adapter(self, cluster: Cluster | None = None, **options: Any) -> SeldonPlatform:
        """An adapter that has just started; without a ``cluster`` of its own what it calls is in ``calls``."""
        chosen = replace(self.options, **options)
        return SeldonPlatform(cluster or self._door, self.pipeline, chosen, self.load, self.said.append)

    @property
    def written(self) -> set[str]:
        """The resources that adapters have written."""
        return {call.resource for call in self.calls if call.verb in ("create", "update", "patch", "delete")}

    def run_cluster(self, passes: int = 4) -> None:
        """Let operator and kubelet do what is due."""
        for _ in range(passes):
            self.operator.step()
            self.kubelet.step()

    def apply(self, platform: SeldonPlatform, plan: Plan) -> None:
        """A round that decides on ``plan``."""
        platform.observe(self.now)
        platform.apply(plan)

    def tick(self, platform: SeldonPlatform, times: int = 1, seconds: float = 2.0) -> None:
        """Time passes: the cluster moves, then the adapter."""
        for _ in range(times):
            self.now += seconds
            self.run_cluster(2)
            platform.observe(self.now)

    def arrive(self, platform: SeldonPlatform, limit: int = 40) -> None:
        """Until the plan under way runs."""
        for _ in range(limit):
            self.tick(platform)
            if not platform.waiting and platform.refusal is None:
                self.run_cluster()
                self.tick(platform)
                return
        raise AssertionError(f"not arrived: {platform.waiting} {platform.refusal} {self.said}")

    def persist(self, step: Callable[[], object], limit: int = 20) -> None:
        """Call ``step`` until it does not fail."""
        for _ in range(limit):
            try:
                step()
            except IpaSeldonError as error:
                self.said.append(str(error))
            else:
                return
        raise AssertionError(f"fails on: {self.said[-1]}")

    # ---- looking, and meddling

    def delete(self, kind: Kind, name: str) -> None:
        """Delete an object: the adapter's own door has no such call."""
        path = kind.path(self.cluster.namespace, name)
        with new_client_from_config(str(self.kubeconfig)) as client:
            client.rest_client.request("DELETE", client.configuration.host + path, headers=client.default_headers)

    def delete_plan(self) -> None:
        """Delete the plan ConfigMap."""
        self.delete(CONFIG_MAPS, plan_name(self.graph))

    def deployment(self, stage: str) -> dict[str, Any]:
        """The Deployment of a stage."""
        (found,) = (
            document
            for document in self.cluster.list(DEPLOYMENTS, {"seldon-deployment-id": self.graph})
            if document["spec"]["template"]["spec"]["containers"][0]["name"] == stage
        )
        return found

    def pod_documents(self, stage: str) -> list[dict[str, Any]]:
        """The pods of a stage."""
        name = self.deployment(stage)["metadata"]["name"]
        pods = self.cluster.list(PODS, {"seldon-deployment-id": self.graph})
        return [pod for pod in pods if pod["metadata"]["labels"]["app"] == name]

    def running(self) -> dict[str, tuple[str, int, int, int]]:
        """Stage -> (variant, pods that are ready, cores of each, batch) as pods and sidecars have it."""
        found = {}
        for stage in ("double", "increment"):
            pods = self.pod_documents(stage)
            names = [pod["metadata"]["name"] for pod in pods]
            plans = {self.pods.report(name)["running"] and self.pods.serving[name] for name in names}
            cores = {pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] for pod in pods}
            assert len(plans) == len(cores) == 1, (stage, plans, cores)
            plan = plans.pop()
            assert plan is not None
            assert int(cores.pop()) == plan.cores
            found[stage] = (plan.variant, len(pods), plan.cores, plan.batch)
        return found

    def scale(self, stage: str, replicas: int) -> None:
        """What ``kubectl scale`` does."""
        name = self.deployment(stage)["metadata"]["name"]
        self.cluster.patch(DEPLOYMENTS, name, {"spec": {"replicas": replicas}}, "scale")

    def annotate(self, key: str, value: str | None) -> None:
        """What ``kubectl annotate sdep`` does; None removes."""
        self.cluster.patch(SELDON_DEPLOYMENTS, self.graph, {"metadata": {"annotations": {key: value}}})

    def document(self) -> dict[str, Any]:
        """The SeldonDeployment."""
        found = self.cluster.get(SELDON_DEPLOYMENTS, self.graph)
        assert found is not None
        return found

    def condition(self) -> dict[str, str]:
        """What the adapter says of the graph."""
        text = (self.document()["metadata"].get("annotations") or {}).get(CONDITION, "{}")
        found: dict[str, str] = json.loads(text)
        return found

    def events(self, reason: str | None = None) -> list[dict[str, Any]]:
        """The Events about the graph, oldest first."""
        found = [event for event in self.cluster.list(EVENTS) if event["involvedObject"]["name"] == self.graph]
        return [event for event in found if reason in (None, event["reason"])]

    def plan_document(self) -> dict[str, Any]:
        """The plan ConfigMap's document."""
        found = self.cluster.get(CONFIG_MAPS, plan_name(self.graph))
        assert found is not None
        document: dict[str, Any] = json.loads(found["data"][KEY])
        return document


class _Door(Cluster):
    """Asks pods itself where an API server does not reach this machine's loopback addresses."""

    def ask_pod(self, name: str, port: int, path: str) -> dict[str, Any]:
        pod = self.get(PODS, name) or {}
        try:
            with urlopen(f"http://{pod['status']['podIP']}:{port}/{path}", timeout=2) as answer:
                found: dict[str, Any] = json.load(answer)
        except (OSError, KeyError) as error:
            raise ApiError(f"get pods/{name}/proxy: {error}", 0) from error
        return found


def door(kubeconfig: Path, namespace: str = "default", **settings: Any) -> Cluster:
    """An adapter's door to that cluster, by default an impatient one."""
    chosen = Configuration()
    load_kube_config(str(kubeconfig), client_configuration=chosen)
    chosen.retries = False
    local = namespace == "default"
    return (Cluster if local else _Door)(ApiClient(chosen), namespace, **{"timeout": (1.0, 1.0), **settings})


@contextmanager
def world_of(cluster: Cluster, kubeconfig: Path, graph: str = "toy") -> Iterator[World]:
    """A world in the namespace of ``cluster``."""

    def document() -> str:
        found = cluster.get(CONFIG_MAPS, plan_name(graph))
        return str(((found or {}).get("data") or {}).get(KEY, ""))

    pods = SidecarPods(document)
    try:
        yield World(cluster, kubeconfig, pods, graph)
    finally:
        pods.close()
