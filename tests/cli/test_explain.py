"""``ipa-seldon explain``: what it prints of a file and of a running adapter, and what it refuses."""

from __future__ import annotations

import json

import pytest

from ipa_seldon.cli import main
from ipa_seldon.telemetry.audit import Log
from tests.explain.logs import published, simulated
from tests.telemetry.test_remote import adapter

KEYS = {
    "pipeline", "algorithm", "tick", "time", "outcome", "reason", "error", "title", "words", "load", "limits", "before",
    "after", "slo", "held_back", "runner_up", "decided_again", "changes",
}  # fmt: skip
CHANGES = [
    "load -10 %", "load +10 %", "SLO -10 %", "SLO +10 %", "alpha -10 %", "alpha +10 %", "beta -10 %", "beta +10 %",
    "without damping", "without a price on switches",
]  # fmt: skip


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """A minute of the video pipeline; the file is its config's path."""
    return simulated(tmp_path_factory.mktemp("logs") / "run.jsonl", published("video"), 30.0, seconds=60)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as ended:
        main(["explain", *arguments])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_json_has_the_documented_keys(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON is an interface: its keys are pinned, changes say what they are changes of, and what is decided again
    is what was decided.
    """
    code, out, err = run(capsys, str(log.config.path), "--tick", "5", "-o", "json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert set(document) == KEYS
    assert (document["tick"], document["time"]) == (5, 15.0)
    assert document["decided_again"]["changed"] == {}
    assert document["decided_again"]["plan"] == document["after"]["plan"]
    assert [change["change"] for change in document["changes"]] == CHANGES
    slo = document["changes"][2]
    assert slo["edits"]["spec.slo.latency"] == pytest.approx(0.9 * 6.89)
    assert set(slo) == {
        "change", "load", "edits", "effect", "reason", "plan", "changed", "status", "accuracy", "cost", "latency",
        "objective", "served",
    }  # fmt: skip


@pytest.mark.parametrize("output", ["table", "md"])
def test_for_people(log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    """Words, the plan stage by stage, and a row for every change, as a table and as Markdown."""
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = run(capsys, str(log.config.path), "-o", output)
    assert (code, err) == (0, "")
    assert "by ipa: applied" in out
    for words in ("expected of 6.89 s at p99", "runner-up", "bound by", "classification", "as it was", *CHANGES):
        assert words in out
    if output == "md":
        assert "| change | plan | accuracy | cores | latency |\n|---|---|---|---|---|\n| as it was |" in out


def test_which_one(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """The last one; and the one in force at a time, also in words of ISO 8601, which are UTC."""
    assert "decision 23 at 60 s" in run(capsys, str(log.config.path), "--last")[1]
    assert "decision 3 at 10 s" in run(capsys, str(log.config.path), "--at", "11")[1]
    assert "decision 3 at 10 s" in run(capsys, str(log.config.path), "--at", "1970-01-01T00:00:11")[1]


def test_of_a_running_adapter(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """The same as of its log, over HTTP."""
    text = log.config.path.read_text(encoding="utf-8")
    from_file = json.loads(run(capsys, str(log.config.path), "-o", "json")[1])
    with adapter(text) as url:
        code, out, _ = run(capsys, "--url", url, "--pipeline", "video", "-o", "json")
    assert code == 0
    assert json.loads(out) == from_file


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("LOG", "--tick", "99"), 2, "tick 99: accepted: 0 to 23"),
        (("LOG", "--at", "99999"), 2, "time 99999: accepted: 2.5 to 62.5, seconds"),
        (("LOG", "--at", "noon"), 2, "'noon': accepted: seconds as in the log"),
        (("LOG", "--tick", "1", "--last"), 2, "--tick, --at, --last: accepted: one of them"),
        (("LOG", "--url", "http://127.0.0.1:1"), 2, "or --url with --pipeline in place of it"),
        (("--pipeline", "video"), 2, "or --url with --pipeline in place of it"),
        ((), 2, "or --url with --pipeline in place of it"),
        (("nowhere.jsonl",), 2, "nowhere.jsonl: cannot be read"),
        (("--url", "http://127.0.0.1:1", "--pipeline", "video"), 1, "127.0.0.1:1/api/decisions/video"),
    ],
)
def test_what_is_refused(
    log: Log, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, words: str
) -> None:
    """One line that says what is accepted, and the exit code of usage or of an error."""
    given = [str(log.config.path) if argument == "LOG" else argument for argument in arguments]
    found, out, err = run(capsys, *given)
    assert (found, out) == (code, "")
    assert words in err
    assert "Traceback" not in err
