"""A router of the graph ``read``: what its kustomization puts into the ConfigMap that the router's pod mounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class ByTag:
    """Requests with the tag ``tag`` in their ``meta`` go to the second child, all others to the first."""

    def __init__(self, tag: str) -> None:
        self._tag = tag

    def route(self, data: Any, names: Sequence[str], meta: Mapping[str, Any] | None = None) -> int:
        """The number of a child."""
        del data, names
        return int(bool(((meta or {}).get("tags") or {}).get(self._tag)))
