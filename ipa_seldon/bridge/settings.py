"""What a bridge is told: the parameters of its unit, and what a request may still take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

REMAINING_SLO = "Ipa-Remaining-Slo"
"""Header, as the gateway reads it, and tag of ``meta``: the seconds that a request may still take."""


class Settings(NamedTuple):
    """The unit's parameters: ``url`` of the server and name of the ``stage`` there; the ``input`` that data goes to
    where the stage takes several; ``timeout`` of a request in seconds.
    """

    url: str
    stage: str
    input: str = ""
    timeout: float = 5.0


def read_settings(parameters: Mapping[str, Any]) -> Settings:
    """SystemExit with one line for a parameter that is unknown, missing or none that is accepted."""
    for name in parameters:
        if name not in Settings._fields:
            raise _unusable(name, "unknown", ", ".join(Settings._fields))
    for name, accepted in (("url", "http://host:port"), ("stage", "the name of a model")):
        if not parameters.get(name):
            raise _unusable(name, "missing", accepted)
    settings = Settings(**parameters)
    address = urlsplit(str(settings.url))
    if address.scheme not in ("http", "https") or not address.netloc:
        raise _unusable("url", repr(settings.url), "http://host:port or https://host:port")
    try:
        seconds = float(settings.timeout)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise _unusable("timeout", repr(settings.timeout), "seconds, more than 0")
    return settings._replace(timeout=seconds)


def _unusable(name: str, problem: str, accepted: str) -> SystemExit:
    return SystemExit(f"ipa_seldon.bridge.stage.TritonStage: parameter {name!r}: {problem}; accepted: {accepted}")
