"""Allocation <-> Triton model configuration, as JSON types (field names as in Triton's ``model_config.proto``).

Triton replaces a model's configuration as a whole, so what is sent is always complete: what the repository holds, with
the fields an allocation decides on put in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ipa_seldon.errors import PlatformError
from ipa_seldon.plan import Allocation

THREADS = "intra_op_num_threads"
_MICROSECONDS = 1_000_000


def set_model(stage: str, version: int | str) -> str:
    """The model that serves one version of a stage that runs a set of variants, such as ``recognise.3``: no name of
    a stage has a dot.

    Each has a model of its own: the versions of one model share its instances, batch and parameters, and a change to
    one of them reloads all.
    """
    return f"{stage}.{version}"


def model_configuration(
    base: Mapping[str, Any], version: int, allocation: Allocation, delay: float = 0.0, timeout: float | None = None
) -> dict[str, Any]:
    """The complete configuration that makes ``allocation`` run, from the repository's ``base``.

    ``version`` is the variant's; ``delay`` (seconds) is how long a batch may wait to fill. With a ``timeout`` (seconds,
    above 0) Triton rejects requests that queue longer, and a request's own timeout shortens it.

    Without one the queue policy of ``base`` is left out: with any queue timeout Triton 2.51 forms batches on a path
    that misses wake-ups, and idle instances let requests wait for up to 0.5 s (triton-inference-server/server#8870).
    """
    batching = {key: value for key, value in base.get("dynamic_batching", {}).items() if key != "default_queue_policy"}
    batching["preferred_batch_size"] = [allocation.batch]
    batching["max_queue_delay_microseconds"] = round(delay * _MICROSECONDS)
    if timeout is not None:
        batching["default_queue_policy"] = {
            "timeout_action": "REJECT",
            "default_timeout_microseconds": round(timeout * _MICROSECONDS),
            "allow_timeout_override": True,
        }
    group = {"kind": "KIND_CPU", **next(iter(base.get("instance_group", ())), {}), "count": allocation.replicas}
    return {
        **base,
        "version_policy": {"specific": {"versions": [version]}},
        "max_batch_size": allocation.batch,
        "dynamic_batching": batching,
        "instance_group": [group],
        "parameters": {**base.get("parameters", {}), THREADS: {"string_value": str(allocation.cores)}},
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
    threads = configuration.get("parameters", {}).get(THREADS, {}).get("string_value", "1")
    return Allocation(
        variant=variants[version],
        replicas=sum(int(group.get("count", 1)) for group in configuration.get("instance_group", ())),
        cores=int(threads),
        batch=int(configuration.get("max_batch_size", 0)),
    )


def batch_delay(configuration: Mapping[str, Any]) -> float:
    """How long (seconds) a batch may wait to fill, in a configuration that Triton reports."""
    return int(configuration.get("dynamic_batching", {}).get("max_queue_delay_microseconds", 0)) / _MICROSECONDS
