"""Changes of what others may change too."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from ipa_seldon.cluster.api import CONFIG_MAPS, ApiError, Cluster, Document
from ipa_seldon.errors import PlatformError

ATTEMPTS = 4
"""How often something is tried whose documents change under it."""

_Result = TypeVar("_Result")


def read_again(attempt: Callable[[], _Result], told: Callable[[], None] = lambda: None) -> _Result:
    """What ``attempt`` returns, which reads and writes: again, and ``told``, where somebody has written in between.

    ApiError 409 when that happens ATTEMPTS times.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            return attempt()
        except ApiError as error:
            if error.code != HTTPStatus.CONFLICT or not left:
                raise
            told()
    raise AssertionError


def save_config_map(cluster: Cluster, wanted: Document) -> bool:
    """Create a ConfigMap, or give the one of that name the labels and exactly the data wanted; returns whether it was
    not so already. PlatformError where that one has none of the labels: it is somebody else's.
    """
    name, labels = wanted["metadata"]["name"], wanted["metadata"]["labels"]
    there = cluster.get(CONFIG_MAPS, name)
    if there is None:
        cluster.create(CONFIG_MAPS, wanted)
        return True
    if not labels.keys() & (there["metadata"].get("labels") or {}).keys():
        raise PlatformError(f"ConfigMap {name}: is there already, and not ours; accepted: none, or one of {labels}")
    data = {**dict.fromkeys(there.get("data") or {}), **wanted["data"]}
    if data == there.get("data"):
        return False
    cluster.patch(CONFIG_MAPS, name, {"metadata": {"labels": labels}, "data": data})
    return True
