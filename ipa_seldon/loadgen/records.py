"""Request records as JSON lines, and what they sum up to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ipa_seldon.errors import ConfigError
from ipa_seldon.loadgen import ANSWERED, RequestOutcome, RequestRecord

LATE_START = 0.01
"""Seconds after which a request's start counts as late: then the generator, not the server, shaped the load."""


def line_of(record: RequestRecord) -> str:
    """One JSON object, without the line end; the inverse of ``record_of``."""
    return json.dumps(asdict(record), separators=(",", ":"))


def record_of(line: str) -> RequestRecord:
    """The record in one line."""
    fields = json.loads(line)
    return RequestRecord(**{**fields, "outcome": RequestOutcome(fields["outcome"])})


def read_records(path: Path) -> list[RequestRecord]:
    """Every record of a file, in the order of completion; ConfigError naming the line that is none."""
    records = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: the records cannot be read: {error.strerror or error}") from error
    for number, line in enumerate(lines, start=1):
        try:
            records.append(record_of(line))
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"{path}, line {number}: no request record: {error}") from error
    return records


def summary(records: Sequence[RequestRecord]) -> dict[str, Any]:
    """The figures of a load, as JSON types.

    ``violation_ratio``: late, dropped and failed requests over all. ``latency``: percentiles in seconds of the
    answered, None without any. ``accuracy``: lines matched over lines expected, of the answered. ``late_starts``: how
    many requests left more than 10 ms later than they were to, and the longest such delay in seconds. ``network``,
    where requests passed one: the seconds they were on it.
    """
    counts = {outcome: sum(record.outcome is outcome for record in records) for outcome in RequestOutcome}
    answered = [record for record in records if record.outcome in ANSWERED]
    latencies = [record.latency for record in answered]
    expected = sum(record.expected for record in answered)
    delays = [record.delay for record in records]
    transfers = [record.transfer for record in records]
    network = {"network": {"mean": float(np.mean(transfers)), "max": max(transfers)}} if any(transfers) else {}
    return {
        "requests": len(records),
        **{outcome.value: count for outcome, count in counts.items()},
        "violation_ratio": (len(records) - counts[RequestOutcome.COMPLETED]) / len(records) if records else 0.0,
        "latency": {f"p{p}": float(np.percentile(latencies, p)) if latencies else None for p in (50, 99)},
        "accuracy": sum(record.matched for record in answered) / expected if expected else None,
        "late_starts": {
            "count": sum(delay > LATE_START for delay in delays),
            "longest": max((delay for delay in delays if delay > LATE_START), default=0.0),
        },
        **network,
    }
