"""Request records: round trip and sums."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ipa_seldon.errors import ConfigError
from ipa_seldon.loadgen import RequestOutcome, RequestRecord
from ipa_seldon.loadgen.records import line_of, read_records, record_of, summary


def record(index: int, outcome: RequestOutcome, latency: float, delay: float = 0.0, matched: int = 1) -> RequestRecord:
    """A record of two expected lines."""
    status = {"completed": 200, "late": 200, "dropped": 504, "failed": 0}[outcome]
    due = 100.0 + index
    return RequestRecord(index, due, due + delay, due + latency, outcome, status, {"detect": "v3"}, 2, matched)


def test_records_survive_the_file(tmp_path: Path) -> None:
    """What is written as JSON lines reads back equal, one line each."""
    records = [record(k, outcome, 0.1 * k) for k, outcome in enumerate(RequestOutcome)]
    assert all("\n" not in line_of(one) and record_of(line_of(one)) == one for one in records)
    file = tmp_path / "records.jsonl"
    file.write_text("".join(line_of(one) + "\n" for one in records))
    assert read_records(file) == records


@pytest.mark.parametrize("line", ["{", "{}", '{"outcome": "lost"}', "[]"])
def test_broken_records_name_file_and_line(tmp_path: Path, line: str) -> None:
    """A line that is no record is a ConfigError with file and line."""
    file = tmp_path / "records.jsonl"
    file.write_text(line_of(record(0, RequestOutcome.COMPLETED, 0.1)) + "\n" + line + "\n")
    with pytest.raises(ConfigError, match=r"records\.jsonl, line 2"):
        read_records(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_records(tmp_path / "absent")


def test_summary_counts_every_request() -> None:
    """Late, dropped and failed requests are violations; latency and accuracy are those of answered requests."""
    records = [
        *(record(k, RequestOutcome.COMPLETED, 0.1, matched=2) for k in range(6)),
        *(record(k, RequestOutcome.LATE, 0.9, matched=1) for k in range(2)),
        record(8, RequestOutcome.DROPPED, 5.0, delay=0.25, matched=0),
        record(9, RequestOutcome.FAILED, 9.0, delay=0.02, matched=0),
    ]
    figures = summary(records)
    assert {name: figures[name] for name in ("requests", "completed", "late", "dropped", "failed")} == {
        "requests": 10,
        "completed": 6,
        "late": 2,
        "dropped": 1,
        "failed": 1,
    }
    assert figures["violation_ratio"] == pytest.approx(0.4)
    assert figures["latency"]["p50"] == pytest.approx(0.1)
    assert figures["latency"]["p99"] == pytest.approx(0.9)
    assert figures["accuracy"] == pytest.approx(14 / 16)
    assert figures["late_starts"]["count"] == 2
    assert figures["late_starts"]["longest"] == pytest.approx(0.25)


def test_summary_of_a_network() -> None:
    """Seconds on the network are told where there are any, and are no delay of the generator's."""
    over = [
        replace(record(k, RequestOutcome.COMPLETED, 0.9, delay=transfer), transfer=transfer)
        for k, transfer in ((0, 0.1), (1, 0.5))
    ]
    figures = summary([*over, replace(over[0], sent=over[0].sent + 0.2)])
    assert figures["network"] == {"mean": pytest.approx(0.7 / 3), "max": 0.5}
    assert figures["late_starts"] == {"count": 1, "longest": pytest.approx(0.2)}
    assert figures["latency"]["p50"] == pytest.approx(0.9)
    assert "network" not in summary([record(0, RequestOutcome.COMPLETED, 0.9)])


def test_summary_of_nothing() -> None:
    """No request at all sums up without a division by zero."""
    figures = summary([])
    assert figures["requests"] == 0
    assert figures["latency"] == {"p50": None, "p99": None}
    assert figures["accuracy"] is None
