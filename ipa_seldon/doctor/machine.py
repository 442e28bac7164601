"""What the local platform finds on this machine."""

from __future__ import annotations

from ipa_seldon.bootstrap import seldon_spec
from ipa_seldon.config import Config
from ipa_seldon.doctor.findings import Finding, ok, warn
from ipa_seldon.platforms.cpu_quota import CpuQuota, best_quota

_WAYS = {
    "cgroup": "a CPU quota each (cgroup v2)",
    "affinity": "processors of their own each (affinity); a quota needs a cgroup v2 that this account may write to",
}


def gpus(config: Config) -> Finding:
    """Which variants the local platform does not serve."""
    names = ", ".join(f"{stage.name} {variant.name}" for stage, variant in config.pipeline.on_gpus)
    resource = seldon_spec(config).gpu_resource
    return warn(
        "gpus",
        f"{names}: with device: gpu, which run --platform local, demo and profile refuse on this machine",
        f"serve it on a cluster whose nodes have {resource}: kubectl describe nodes",
    )


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
