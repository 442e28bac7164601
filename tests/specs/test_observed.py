"""What the documents of a pod say of its cores."""

from __future__ import annotations

from typing import Any

import pytest

from ipa_seldon.specs.observed import asked_cores, granted_cores, resize_trouble


def pod(asked: str | None, granted: str | None = None, *conditions: dict[str, Any]) -> dict[str, Any]:
    """A pod of the third generation with a container ``detect``, whose node has said that it has so many cores."""
    limits = {} if asked is None else {"resources": {"limits": {"cpu": asked}}}
    status = {} if granted is None else {"resources": {"limits": {"cpu": granted}}}
    return {
        "metadata": {"name": "pod", "generation": 3},
        "spec": {
            "containers": [{"name": "other", "resources": {"limits": {"cpu": "9"}}}, {"name": "detect", **limits}]
        },
        "status": {"containerStatuses": [{"name": "detect", **status}], "conditions": list(conditions)},
    }


def pending(reason: str, **more: Any) -> dict[str, Any]:
    """What a node says of a resize that it does not do."""
    return {"type": "PodResizePending", "status": "True", "reason": reason, "message": "words", **more}


PROGRESS = {"type": "PodResizeInProgress", "status": "True"}
FAILING = {**PROGRESS, "reason": "Error", "message": "cgroup: busy", "observedGeneration": 3}


def test_what_is_asked_for_and_what_is_granted_are_told_apart() -> None:
    """A node that says nothing grants nothing: it is no answer to what is asked."""
    assert (asked_cores(pod("4", "2"), "detect"), granted_cores(pod("4", "2"), "detect")) == (4, 2)
    assert (asked_cores(pod("4000m"), "detect"), granted_cores(pod("4"), "detect")) == (4, None)
    assert (asked_cores(pod(None), "detect"), granted_cores({**pod("4"), "status": {}}, "detect")) == (0, None)


@pytest.mark.parametrize(
    ("conditions", "words", "final"),
    [
        ((), None, False),
        ((PROGRESS,), None, False),
        (({**pending("Deferred"), "status": "False"},), None, False),
        ((FAILING,), "Error: cgroup: busy", False),
        ((pending("Deferred", observedGeneration=3),), "Deferred: words", False),
        ((pending("Infeasible", observedGeneration=3),), "Infeasible: words", True),
        # of what was asked for before
        ((pending("Infeasible", observedGeneration=2),), None, False),
        # it does not say of what
        ((pending("Infeasible"),), "Infeasible: words", False),
        # both at once: the wish that is pending is the newer one
        ((FAILING, pending("Infeasible", observedGeneration=3)), "Infeasible: words", True),
    ],
)
def test_what_keeps_cores_from_being_granted(
    conditions: tuple[dict[str, Any], ...], words: str | None, final: bool
) -> None:
    """Each answer of a node, the newest, and no answer to an earlier wish."""
    found = resize_trouble(pod("4", "2", *conditions))
    assert (found and str(found)) == words
    assert found is None or found.final == final
