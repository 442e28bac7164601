"""What an adapter needs of a pipeline's SeldonDeployment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ipa_seldon.bootstrap import seldon_spec
from ipa_seldon.cluster.api import AUTOSCALERS, SCALED_OBJECTS, ApiError, Cluster
from ipa_seldon.config import Config
from ipa_seldon.doctor.findings import Finding, Status, fail, failed, ok, warn
from ipa_seldon.errors import PlatformError
from ipa_seldon.platforms.seldon.documents import GRAPH_LABEL, View, look
from ipa_seldon.specs.desired import KEY, SIDECAR
from ipa_seldon.specs.observed import PAUSED, foreign_autoscaler, refusal
from ipa_seldon.specs.seldon import plan_name
from ipa_seldon.specs.seldon_operator import SEPARATE_ENGINE, containers, problems

RENDER = "ipa-seldon render -f pipeline.yaml | kubectl apply -f -"


@dataclass(frozen=True)
class Subject:
    """A pipeline, and what there is of it on ``cluster``."""

    cluster: Cluster
    config: Config
    view: View

    @property
    def name(self) -> str:
        """The pipeline's, which is the SeldonDeployment's."""
        return self.config.name

    @property
    def kubectl(self) -> str:
        """How commands about it begin."""
        return f"kubectl -n {self.cluster.namespace}"


def deployed(cluster: Cluster, config: Config) -> tuple[Subject | None, Finding]:
    """The pipeline on the cluster, None where it is not there or cannot be read."""
    try:
        view = look(cluster, config.pipeline, config.name, seldon_spec(config).predictor)
    except Exception as error:
        absent = isinstance(error, PlatformError) and not isinstance(error, ApiError)
        return None, fail("deployed", str(error), RENDER) if absent else failed("deployed", error)
    found = sum(deployment is not None for deployment in view.deployments.values())
    words = f"SeldonDeployment {config.name} in namespace {cluster.namespace!r}, {found} Deployments of stages"
    return Subject(cluster, config, view), ok("deployed", words)


def attached(subject: Subject) -> Finding:
    """Whether the SeldonDeployment is one whose pods can be adapted."""
    missing = list(_missing(subject))
    if missing:
        attach = f"ipa-seldon attach sdep/{subject.name} -f pipeline.yaml --namespace {subject.cluster.namespace}"
        return fail("attached", f"SeldonDeployment {subject.name}: {'; '.join(missing)}", attach)
    return ok("attached", "each stage has a pod of its own with a sidecar, the executor too")


def _missing(subject: Subject) -> Iterator[str]:
    """What the operator would refuse, and what is not as ``ipa-seldon attach`` makes it."""
    graph, predictor = subject.view.graph, seldon_spec(subject.config).predictor
    yield from problems(graph)
    if SEPARATE_ENGINE not in (graph["spec"].get("annotations") or {}):
        yield f"spec.annotations: no {SEPARATE_ENGINE}: 'true'"
    chosen = [candidate for candidate in graph["spec"]["predictors"] if candidate["name"] == predictor]
    if not chosen:
        yield f"spec.predictors: no {predictor!r}"
        return
    pods = [{container["name"] for container in containers(part)} for part in chosen[0].get("componentSpecs") or ()]
    for stage in (stage.name for stage in subject.config.pipeline.stages):
        mine = [names for names in pods if stage in names]
        if not mine:
            yield f"predictor {predictor!r}: no componentSpec with a container {stage!r}"
        elif SIDECAR not in mine[0]:
            yield f"predictor {predictor!r}: no container {SIDECAR!r} beside {stage!r}"


def changeable(subject: Subject) -> Finding:
    """Whether anything on the SeldonDeployment or its Deployments keeps plans from being applied."""
    view, mode = subject.view, seldon_spec(subject.config).mode
    rolls = view.record is not None and view.record.rolls
    found = refusal(view.graph, seldon_spec(subject.config).predictor, view.deployments, rolls)
    if found is None:
        return ok("changeable", f"nothing keeps plans from being applied (spec.seldon.mode: {mode})")
    status, remedy = _remedies(subject)[found.reason]
    return Finding("changeable", status, f"{found.reason}: {found.message}", remedy)


def _remedies(subject: Subject) -> dict[str, tuple[Status, str]]:
    """By the reason of a refusal. What somebody wants so, or what passes, is a warning."""
    kubectl, name = subject.kubectl, subject.name
    selected = f"-l {GRAPH_LABEL}={name}"
    return {
        "Paused": (Status.WARN, f"{kubectl} annotate sdep {name} {PAUSED}-"),
        "ReplicasInSpec": (Status.FAIL, f"{kubectl} edit sdep {name}: remove what the message names"),
        "NotDeployed": (Status.FAIL, f"see why Seldon's operator has made none: {kubectl} describe sdep {name}"),
        "ScaledToZero": (Status.WARN, f"{kubectl} scale deployment {selected} --replicas 1"),
        "Rolling": (Status.WARN, f"{kubectl} rollout status deployment {selected}"),
    }


def alone(subject: Subject) -> Finding:
    """Whether nothing else scales the Deployments."""
    names = [found["metadata"]["name"] for found in subject.view.deployments.values() if found is not None]
    scalers, scaled_objects = (subject.cluster.list(kind) for kind in (AUTOSCALERS, SCALED_OBJECTS))
    foreign = foreign_autoscaler(scalers, scaled_objects, names)
    if foreign:
        kind, name, *_ = foreign.split()
        return fail("autoscaler", f"ForeignAutoscaler: {foreign}", f"{subject.kubectl} delete {kind.lower()} {name}")
    return ok("autoscaler", "nothing else scales its Deployments")


def planned(subject: Subject) -> Finding:
    """Whether there is a plan for the sidecars to follow."""
    name = plan_name(subject.name)
    if subject.view.config_map is None:
        return fail("plan", f"no ConfigMap {name}: its pods cannot start without", RENDER)
    view = subject.view
    told = {key: view.told.get(view.entry(key)) for key in view.deployments}
    missing = [stage.name for stage in subject.config.pipeline.stages if told.get(stage.name) is None]
    if missing:
        words = f"ConfigMap {name}: {KEY} says nothing of {', '.join(missing)}"
        return warn("plan", words, f"the adapter writes it anew with its next plan; now: {RENDER}")
    return ok("plan", f"ConfigMap {name}: " + ", ".join(f"{s}: {plan.variant}" for s, plan in told.items() if plan))
