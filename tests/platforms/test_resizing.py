"""When cores are not waited for any longer, and how many replicas carry what they would have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipa_seldon.plan import Allocation
from ipa_seldon.platforms.seldon.resizing import by_replicas, given_up
from ipa_seldon.rollout import Pod, StageState
from ipa_seldon.specs.observed import Trouble
from tests.cluster.world import toy_pipeline, toy_plan

WANTED = {"double": Allocation("light", 1, 4, 1)}
MINUTE_AGO = "2024-01-01T00:00:00Z"
NOW = 1704067260.0


def stuck(pod: Pod, since: float = NOW - 5) -> dict[str, str]:
    """Of a stage with one pod, whose plan is as old as ``since``, with a patience of ten seconds."""
    return given_up(WANTED, {"double": StageState(1, (pod,), None)}, NOW, since, 10.0)


@pytest.mark.parametrize(
    ("pod", "since", "expected"),
    [
        (Pod("p", True, 4, granted=4), NOW - 60, False),
        (Pod("p", True, 4, granted=1), NOW - 5, False),
        (Pod("p", True, 4, granted=1), NOW - 60, True),
        # not asked for: it is to be replaced
        (Pod("p", True, 1, granted=1), NOW - 60, False),
        # not started yet: it has what it asks for
        (Pod("p", False, 4), NOW - 60, False),
        (Pod("p", True, 4, trouble=Trouble("Deferred", "", MINUTE_AGO), granted=1), NOW - 5, True),
        (Pod("p", True, 4, trouble=Trouble("Deferred", "", "2024-01-01T00:00:58Z"), granted=1), NOW - 60, False),
        (Pod("p", True, 4, trouble=Trouble("Infeasible", "", "2024-01-01T00:01:00Z", True), granted=1), NOW, True),
        (Pod("p", True, 1, trouble=Trouble("Refused", "", final=True), granted=1), NOW, True),
        # less than it has is wanted: what a node says of a wish that is gone does not matter
        (Pod("p", True, 8, trouble=Trouble("Infeasible", "", MINUTE_AGO, True), granted=4), NOW - 60, False),
    ],
)
def test_who_is_not_waited_for(pod: Pod, since: float, expected: bool) -> None:
    """As long as its node says that it waits, else since the plan is there; at once where nothing changes it."""
    assert bool(stuck(pod, since)) == expected


def test_as_many_replicas_as_serve_the_same() -> None:
    """On the cores, variant and batch there were, rounded up; stages that got their cores are as planned."""
    pipeline = toy_pipeline()
    small = toy_plan(("heavy", 1, 2), ("light", 1))
    made = by_replicas(pipeline, toy_plan(("heavy", 3, 4), ("light", 5)), small, ["double"])
    assert made == toy_plan(("heavy", 6, 2), ("light", 5))
    # 100 requests/s a core are three of 40 on two
    assert by_replicas(pipeline, toy_plan(("light", 1, 1)), small, ["double"]) is None
    assert by_replicas(pipeline, toy_plan(("light", 1, 4)), small, ["double"]) == toy_plan(("heavy", 10, 2))
    assert by_replicas(replace(pipeline, cores=20), toy_plan(("light", 1, 4)), small, ["double"]) is None
