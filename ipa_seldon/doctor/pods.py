"""Whether a pipeline's pods are there, ready, and serve the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any

from ipa_seldon.cluster.api import ApiError
from ipa_seldon.doctor.findings import Finding, Status, fail, ok, warn
from ipa_seldon.doctor.pipelines import Subject
from ipa_seldon.specs.desired import SIDECAR, PodPlan
from ipa_seldon.specs.observed import is_ready, replicas_of, resize_trouble
from ipa_seldon.specs.seldon import SIDECAR_PORT

_AT_ONCE = 8
_SHOWN = 3
"""Troubles that are told in full."""
_RESIZES = {
    "Deferred": "free cores on its node, or wait",
    "Infeasible": "larger nodes, or fewer cores in the profile",
}
"""What to do about cores that a node does not give, by its reason."""
_SEVERITY = [Status.FAIL, Status.WARN]


def pods(subject: Subject) -> Finding:
    """The worst of what is wrong with any pod."""
    troubles = sorted(_troubles(subject), key=lambda trouble: _SEVERITY.index(trouble.status))
    if not troubles:
        count = sum(map(len, subject.view.pods.values()))
        return ok("pods", f"{count} ready, and their sidecars report what is planned")
    worst, more = troubles[0], len(troubles) - _SHOWN
    words = "; ".join(trouble.message for trouble in troubles[:_SHOWN])
    return Finding("pods", worst.status, words + (f"; and {more} more" if more > 0 else ""), worst.remedy)


def _troubles(subject: Subject) -> Iterator[Finding]:
    for stage, deployment in subject.view.deployments.items():
        if deployment is None:  # told by another check
            continue
        found, asked, name = subject.view.pods[stage], replicas_of(deployment), deployment["metadata"]["name"]
        if len(found) < asked:
            remedy = f"see what keeps them: {subject.kubectl} describe replicaset -l app={name}"
            yield fail("pods", f"{stage}: {len(found)} of {asked} pods are there", remedy)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from filter(None, pool.map(partial(_trouble, subject, stage), found))


def _trouble(subject: Subject, stage: str, pod: Mapping[str, Any]) -> Finding | None:
    """What is wrong with one pod; None: nothing."""
    name = pod["metadata"]["name"]
    if not is_ready(pod):
        remedy = f"{subject.kubectl} describe pod {name}; {subject.kubectl} logs {name} --all-containers"
        return fail("pods", f"{name} is not ready: {_unready(pod)}", remedy)
    trouble = resize_trouble(pod)
    if trouble is not None:
        remedy = _RESIZES.get(trouble.reason, f"{subject.kubectl} describe pod {name}")
        return warn("pods", f"{name} does not get its new cores: {trouble}", remedy)
    return _report(subject, subject.view.told_to(stage, pod), name)


def _unready(pod: Mapping[str, Any]) -> str:
    """Which containers, and what they wait for; before there are any, why not."""
    status = pod.get("status") or {}
    waiting = []
    for container in status.get("containerStatuses") or ():
        if not container.get("ready"):
            reason = ((container.get("state") or {}).get("waiting") or {}).get("reason")
            waiting.append(f"{container['name']} ({reason})" if reason else str(container["name"]))
    conditions: Sequence[Mapping[str, Any]] = status.get("conditions") or ()
    unscheduled = [str(c.get("message", c["type"])) for c in conditions if _is_unscheduled(c)]
    return ", ".join(waiting or unscheduled) or str(status.get("phase", "Pending"))


def _is_unscheduled(condition: Mapping[str, Any]) -> bool:
    return bool(condition["type"] == "PodScheduled" and condition["status"] == "False")


def _report(subject: Subject, told: PodPlan | None, name: str) -> Finding | None:
    """What is wrong with what a ready pod's sidecar reports; None: nothing."""
    logs = f"{subject.kubectl} logs {name} -c {SIDECAR}"
    try:
        report = subject.cluster.ask_pod(name, SIDECAR_PORT, "status")
        running, wanted = (report[key] and PodPlan(**report[key]) for key in ("running", "wanted"))
        error = report["error"]
    except ApiError as failure:
        if failure.code == HTTPStatus.FORBIDDEN:  # nothing of the pod's
            raise
        return fail("pods", f"the sidecar of {name} does not answer: {failure}", logs)
    except (LookupError, TypeError):
        return fail("pods", f"port {SIDECAR_PORT} of {name} is no sidecar of this version", logs)
    if told is None or running == told:
        return None
    if wanted != told:
        remedy = "a mounted plan is refreshed within about a minute; run this again then"
        return warn("pods", f"{name} has not read the newest plan yet", remedy)
    return fail("pods", f"{name} serves {_words(running)} instead of {_words(told)}: {error}", logs)


def _words(plan: PodPlan | None) -> str:
    return "nothing" if plan is None else f"{plan.variant or '?'} ({plan.cores} cores, batch {plan.batch})"
