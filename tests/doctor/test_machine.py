"""What is found of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipa_seldon.doctor.findings import Finding, Status
from ipa_seldon.doctor.machine import bound
from ipa_seldon.platforms.cpu_quota import AffinityQuota, CgroupQuota, CpuQuota, ThreadsOnly


@pytest.mark.parametrize(
    ("quota", "status", "words"),
    [
        (CgroupQuota(Path()), Status.OK, "a CPU quota each (cgroup v2)"),
        (AffinityQuota(), Status.OK, "processors of their own each (affinity)"),
        (ThreadsOnly(), Status.WARN, "nothing but its threads bounds the cores of a model process"),
    ],
)
def test_the_way_that_cores_are_held_is_told(quota: CpuQuota, status: Status, words: str) -> None:
    """Only where nothing holds them there is something to do about it."""
    found = bound(quota)
    assert isinstance(found, Finding)
    assert found.status is status
    assert words in found.message
    assert bool(found.remedy) == (status is Status.WARN)
