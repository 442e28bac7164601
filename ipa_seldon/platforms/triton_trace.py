"""Triton's traces: which batches a server ran, and when. Off until they are asked for; a few microseconds a request."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipa_seldon.errors import PlatformError

PER_FILE = 1000
"""Requests after which Triton writes what it has gathered."""
NANOSECONDS = 1e9
TIMEOUT = 10.0


@dataclass(frozen=True)
class Execution:
    """One batch on a replica of ``stage``: the ``id`` of each of its requests as its sender wrote it, when each came
    into Triton's queue (``queued``), when the replica began with the batch and when it was done; seconds on the
    machine's monotonic clock.
    """

    stage: str
    ids: tuple[str, ...]
    queued: tuple[float, ...]
    began: float
    ended: float

    @property
    def size(self) -> int:
        """Requests in the batch."""
        return len(self.queued)

    @property
    def seconds(self) -> float:
        """How long it kept its replica."""
        return self.ended - self.began


def switch_tracing(url: str, on: bool) -> None:
    """Trace every request from now on, or none any more; ``url`` is Triton's HTTP endpoint. PlatformError when it
    refuses. Switched off, Triton writes what it has gathered.
    """
    level = "TIMESTAMPS" if on else "OFF"
    settings = {"trace_level": [level], "trace_rate": "1", "trace_count": "-1", "log_frequency": str(PER_FILE)}
    request = urllib.request.Request(  # noqa: S310  # our own http URL
        f"{url}/v2/trace/setting", json.dumps(settings).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT):  # noqa: S310  # our own http URL
            pass
    except OSError as error:
        raise PlatformError(f"Triton cannot trace requests: {error}") from error


def read_executions(file: Path) -> list[Execution]:
    """Every batch in the traces that Triton wrote to ``file``, by which it means ``file`` with numbers appended."""
    parts = sorted(file.parent.glob(f"{file.name}.*"), key=lambda part: int(part.suffix[1:]))
    return executions_of(entry for part in parts for entry in json.loads(part.read_text(encoding="utf-8")))


def executions_of(entries: Iterable[Mapping[str, Any]]) -> list[Execution]:
    """The batches in the entries of traces, in the order in which they began.

    A request's trace is spread over entries of one number; those of a batch have the very same COMPUTE_START. Requests
    that were not computed are left out.
    """
    named: dict[int, tuple[str, str]] = {}
    moments: dict[int, dict[str, float]] = {}
    for entry in entries:
        if "model_name" in entry:
            named[entry["id"]] = entry["model_name"], entry.get("request_id", "")
        for moment in entry.get("timestamps", ()):
            moments.setdefault(entry["id"], {})[moment["name"]] = moment["ns"] / NANOSECONDS
    batches: dict[tuple[float, str], list[tuple[str, dict[str, float]]]] = {}
    for number, (stage, request) in named.items():
        of_request = moments.get(number, {})
        if "COMPUTE_END" in of_request:
            batches.setdefault((of_request["COMPUTE_START"], stage), []).append((request, of_request))
    return [
        Execution(
            stage,
            tuple(request for request, _ in batch),
            tuple(of_request["QUEUE_START"] for _, of_request in batch),
            began,
            max(of_request["COMPUTE_END"] for _, of_request in batch),
        )
        for (began, stage), batch in sorted(batches.items(), key=lambda item: item[0])
    ]
