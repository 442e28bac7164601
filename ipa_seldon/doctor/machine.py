"""What the local platform finds on this machine."""

from __future__ import annotations

from ipa_seldon.doctor.findings import Finding, ok, warn
from ipa_seldon.platforms.cpu_quota import CpuQuota, best_quota

_WAYS = {
    "cgroup": "a CPU quota each (cgroup v2)",
    "affinity": "processors of their own each (affinity); a quota needs a cgroup v2 that this account may write to",
}


def cores() -> Finding:
    """What holds model processes on this machine to cores that change in place, beside their threads."""
    return bound(best_quota())


def bound(quota: CpuQuota) -> Finding:
    """The same of one way."""
    if quota.how in _WAYS:
        return ok("quota", f"on this machine model processes can be given {_WAYS[quota.how]}")
    return warn(
        "quota",
        "on this machine nothing but its threads bounds the cores of a model process",
        "allow sched_setaffinity, or start what serves in systemd's user manager: systemd-run --user --scope",
    )
