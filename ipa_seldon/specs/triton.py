"""Allocation <-> Triton model configuration, as JSON types (field names as in Triton's ``model_config.proto``).

Triton replaces a model's configuration as a whole, so what is sent is always complete: what the repository holds, with
the fields an allocation decides on put in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ipa_seldon.deadlines import LEVELS, MICROSECONDS, timeout
from ipa_seldon.errors import PlatformError
from ipa_seldon.plan import Allocation

THREADS = "intra_op_num_threads"
ONNX_THREADS = "intra_op_thread_count"
"""Where the repository states it: what Triton's own back end of ONNX Runtime calls the same."""
_LEVELS, _DEFAULT_LEVEL, _POLICY = "priority_levels", "default_priority_level", "default_queue_policy"


def set_model(stage: str, version: int | str) -> str:
    """The model that serves one version of a stage that runs a set of variants, such as ``recognise.3``: no name of
    a stage has a dot.

    Each has a model of its own: the versions of one model share its instances, batch and parameters, and a change to
    one of them reloads all.
    """
    return f"{stage}.{version}"


def model_configuration(
    base: Mapping[str, Any],
    version: int,
    allocation: Allocation,
    delay: float = 0.0,
    slo: float | None = None,
    first_gpu: int = 0,
) -> dict[str, Any]:
    """The complete configuration that makes ``allocation`` run, from the repository's ``base``.

    ``version`` is the variant's, and its device decides on the kind of its instances: on GPUs there is one on each that
    the replicas hold, from ``first_gpu`` on. ``delay`` (seconds) is how long a batch may wait to fill. With an ``slo``
    (seconds, above 0) the queue goes by the deadlines that requests state (``ipa_seldon.deadlines``): those of the
    lowest priority number come first, and Triton rejects what queues longer than its own timeout, or than the SLO.

    That has its price, so it is for clients that no gateway orders, and without an SLO the queue policy of ``base`` is
    left out: with priorities or any queue timeout Triton 2.51 forms batches on a path that misses wake-ups, and idle
    instances let requests wait for up to 0.5 s while no other comes (see triton-inference-server/server#8870); with
    both it leaves some of what it rejects without an answer. What was measured is in docs/kubernetes.md.
    """
    # What the base has may be what a plan with deadlines left.
    dropped = {_POLICY, _LEVELS, _DEFAULT_LEVEL} if queue_slo(base) else {_POLICY}
    batching = {key: value for key, value in base.get("dynamic_batching", {}).items() if key not in dropped}
    batching["preferred_batch_size"] = [allocation.batch]
    batching["max_queue_delay_microseconds"] = round(delay * MICROSECONDS)
    if slo is not None:
        batching |= _by_deadline(slo)
    parameters = base.get("parameters", {})
    threads = [THREADS, *({ONNX_THREADS} & parameters.keys())]
    group = {key: value for key, value in next(iter(base.get("instance_group", ())), {}).items() if key != "gpus"}
    device = {"kind": "KIND_CPU", "count": allocation.replicas}
    if allocation.gpus:  # Triton's count is per GPU
        gpus = range(first_gpu, first_gpu + allocation.replicas * allocation.gpus)
        device = {"kind": "KIND_GPU", "gpus": list(gpus), "count": 1}
    return {
        **base,
        "version_policy": {"specific": {"versions": [version]}},
        "max_batch_size": allocation.batch,
        "dynamic_batching": batching,
        "instance_group": [group | device],
        "parameters": parameters | {key: {"string_value": str(allocation.cores)} for key in threads},
    }


def allocation_of(configuration: Mapping[str, Any], variants: Mapping[int, str]) -> Allocation:
    """What a configuration that Triton reports makes run; the inverse of ``model_configuration``.

    ``variants`` maps versions to variants. Numbers may be strings, as protobuf writes 64-bit ones. PlatformError when
    the configuration was not made by ``model_configuration``.
    """
    name = configuration.get("name", "")
    versions = configuration.get("version_policy", {}).get("specific", {}).get("versions", ())
    if len(versions) != 1:
        raise PlatformError(f"model {name!r}: serves {len(versions)} chosen versions; expected exactly one")
    version = int(versions[0])
    if version not in variants:
        accepted = ", ".join(str(known) for known in sorted(variants))
        raise PlatformError(f"model {name!r}: serves version {version}, which is no variant; variants are: {accepted}")
    groups = configuration.get("instance_group", ())
    threads = configuration.get("parameters", {}).get(THREADS, {}).get("string_value", "1")
    return Allocation(
        variant=variants[version],
        replicas=sum(int(group.get("count", 1)) for group in groups),
        cores=int(threads),
        batch=int(configuration.get("max_batch_size", 0)),
        gpus=max((len(group.get("gpus", ())) for group in groups if group.get("kind") == "KIND_GPU"), default=0),
    )


def batch_delay(configuration: Mapping[str, Any]) -> float:
    """How long (seconds) a batch may wait to fill, in a configuration that Triton reports."""
    return int(configuration.get("dynamic_batching", {}).get("max_queue_delay_microseconds", 0)) / MICROSECONDS


def queue_slo(configuration: Mapping[str, Any]) -> float | None:
    """The SLO (seconds) of a configuration whose queue goes by deadlines, as Triton reports it; None: it does not."""
    batching = configuration.get("dynamic_batching", {})
    if int(batching.get(_LEVELS, 0)) != LEVELS or _POLICY not in batching:
        return None
    return int(batching[_POLICY].get("default_timeout_microseconds", 0)) / MICROSECONDS or None


def _by_deadline(slo: float) -> dict[str, Any]:
    """Of dynamic batching. What states no deadline has the whole SLO."""
    return {
        _LEVELS: LEVELS,
        _DEFAULT_LEVEL: LEVELS,
        _POLICY: {
            "timeout_action": "REJECT",
            "default_timeout_microseconds": timeout(slo),
            "allow_timeout_override": True,
        },
    }
