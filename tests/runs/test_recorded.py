"""What a run keeps in its directory: that it is read back as it was, and that what cannot be read is said in a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ipa_seldon.errors import ConfigError
from ipa_seldon.loadgen.records import line_of
from ipa_seldon.runs.recorded import FILE, forget_run, read_log, read_run
from ipa_seldon.runs.report import render
from ipa_seldon.runs.summary import RunResult, summary
from tests.runs.made_up import INTERVAL, NOTES, keep, log_decisions


def test_a_demo_is_read_back_as_it_was(three_runs: list[RunResult], tmp_path: Path) -> None:
    """Runs in their order with every decision, record and figure; notes; the pipeline file; and twice the same page."""
    recorded = read_run(keep(tmp_path, *three_runs))
    assert [run.name for run in recorded.runs] == ["adaptive", "lightest", "heaviest"]
    for found, run in zip(recorded.runs, three_runs, strict=True):
        assert (found.slo, found.percentile, found.start, found.end) == (run.slo, 99, run.start, run.end)
        assert (found.decisions, found.records) == (run.decisions, run.records)
        assert summary(found) == summary(replace(run, forecaster=found.forecaster))
    assert recorded.title == "text: made up"
    assert recorded.notes == {"Algorithm": "adaptive: ipa, lightest: ipa, heaviest: ipa", **NOTES}
    assert "latency: 1.0" in recorded.configuration
    assert render(recorded) == render(read_run(tmp_path))


def test_a_log_alone_is_a_run_without_requests(make_run: Callable[..., RunResult], tmp_path: Path) -> None:
    """It lasts from its first decision until an interval after its last, and is called after what decided."""
    run = make_run(seconds=60)
    recorded = read_log(log_decisions(tmp_path / "audit.jsonl", run, "fa2-low"))
    (found,) = recorded.runs
    assert (found.name, found.start, found.end) == ("fa2-low", run.start, run.start + 60)
    assert (found.decisions, found.records) == (run.decisions, ())
    assert recorded.notes["Audit log"] == "audit.jsonl"
    assert recorded.notes["Began"] == "2023-11-14 22:13:20 UTC"


def test_requests_of_a_log_may_be_given(make_run: Callable[..., RunResult], tmp_path: Path) -> None:
    """Their records count, and the run lasts until the last of them was due."""
    run = make_run(seconds=60)
    late = replace(run.records[-1], due=run.end + 2 * INTERVAL)
    records = tmp_path / "requests.jsonl"
    records.write_text("".join(line_of(record) + "\n" for record in (*run.records, late)))
    (found,) = read_log(log_decisions(tmp_path / "audit.jsonl", run), records).runs
    assert found.records == (*run.records, late)
    assert found.end == late.due
    assert summary(found)["requests"] == len(run.records) + 1


def test_a_run_that_is_begun_again_is_forgotten(make_run: Callable[..., RunResult], tmp_path: Path) -> None:
    """Old words about new logs would be wrong."""
    keep(tmp_path, make_run(seconds=20))
    forget_run(tmp_path)
    forget_run(tmp_path)
    with pytest.raises(ConfigError, match=r"run.json: missing; accepted: .*\(adaptive-audit.jsonl, adaptive-requests"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "cannot be read"),
        ("[]", "accepted: what a demo writes"),
        (json.dumps({"format": 7}), "format: 7: accepted: 1"),
        (json.dumps({"format": 1, "title": "", "notes": {}, "runs": [{}]}), "'name'"),
        (json.dumps({"format": 1, "title": "", "notes": [], "runs": []}), "accepted: what a demo writes"),
        (json.dumps({"format": 1, "title": "", "notes": {}, "runs": []}), "runs: accepted: at least one"),
    ],
)
def test_words_about_a_run_that_are_none(text: str, expected: str, tmp_path: Path) -> None:
    """One line that names the file."""
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError, match=expected) as told:
        read_run(tmp_path)
    assert str(told.value).startswith(str(tmp_path / FILE))


def test_a_log_without_a_decision_is_refused(make_run: Callable[..., RunResult], tmp_path: Path) -> None:
    """There is nothing to report on."""
    path = log_decisions(tmp_path / "audit.jsonl", make_run(seconds=0))
    with pytest.raises(ConfigError, match="no decision; accepted"):
        read_log(path)
