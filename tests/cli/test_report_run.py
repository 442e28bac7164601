"""``ipa-seldon report RUN``: of a demo's directory and of an audit log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ipa_seldon.cli import main
from ipa_seldon.loadgen.records import line_of
from ipa_seldon.runs.recorded import read_run
from ipa_seldon.runs.report import render
from ipa_seldon.runs.summary import summary
from tests.pages import assert_needs_nothing_else
from tests.runs.made_up import keep, log_decisions, made_up


def run(capsys: pytest.CaptureFixture[str], *arguments: Path | str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as ended:
        main(["report", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """What a short demo with --compare leaves."""
    runs = [made_up(seconds=30), made_up(seconds=30, name="lightest", level=0)]
    return keep(tmp_path, *runs)


def test_a_demo_is_reported_from_its_directory(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page beside what it is made of, that needs nothing else; the summary as the demo prints it; Markdown."""
    code, out, err = run(capsys, demo)
    assert (code, out, err) == (0, "", f"report: {demo / 'report.html'}\n")
    html = (demo / "report.html").read_text()
    assert html == render(read_run(demo))
    assert_needs_nothing_else(html)
    figures = json.loads(run(capsys, demo, "-o", "json")[1])
    assert figures == {one.name: json.loads(json.dumps(summary(one))) for one in read_run(demo).runs}
    assert run(capsys, demo, "-o", "md")[1].startswith("## text: made up\n")
    assert "violation_ratio" in run(capsys, demo, "-o", "table")[1]


def test_a_log_is_reported_beside_it_or_where_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One run's figures are told without its name; requests only where their records are given."""
    made = made_up(seconds=30)
    log = log_decisions(tmp_path / "audit.jsonl", made)
    assert run(capsys, log)[2] == f"report: {tmp_path / 'audit.html'}\n"
    to = tmp_path / "report.json"
    assert run(capsys, log, "-o", "json", "--output-file", to)[1:] == ("", f"report: {to}\n")
    assert "requests" not in json.loads(to.read_text())
    records = tmp_path / "requests.jsonl"
    records.write_text("".join(line_of(record) + "\n" for record in made.records))
    figures = json.loads(run(capsys, log, "--records", records, "-o", "json")[1])
    assert figures["requests"] == len(made.records)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "RUN: missing; accepted: the directory of a demo, or an audit log"),
        (("{tmp}",), "run.json: missing; accepted: the directory of a demo, or an audit log alone (none is there)"),
        (("{tmp}/absent.jsonl",), "absent.jsonl: cannot be read"),
        (("{tmp}", "--range", "7d"), "--range: accepted: without RUN"),
        (("{tmp}", "-f", "pipeline.yaml"), "--file: accepted: with --agreement"),
        (("{tmp}", "--records", "r.jsonl"), "--records: accepted: where RUN is an audit log"),
        (("{tmp}", "--agreement", "--png", "slides"), "--png: accepted: without --agreement"),
        (("{tmp}", "--agreement", "-o", "html"), "--output: html: accepted: table, json, md, with --agreement"),
        (("{tmp}", "-o", "table", "--output-file", "t"), "--output-file: accepted: with -o html, md or json"),
    ],
)
def test_what_cannot_be_reported_is_one_line(
    arguments: tuple[str, ...], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the option or the file; exit code 2."""
    code, out, err = run(capsys, *(word.format(tmp=tmp_path) for word in arguments))
    assert (code, out) == (2, "")
    assert expected in err.splitlines()[-1]


def test_a_file_that_cannot_be_written_is_one_line(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the file."""
    code, _, err = run(capsys, demo, "--output-file", demo / "absent" / "report.html")
    assert (code, err.count("\n")) == (2, 1)
    assert "report.html: cannot be written: No such file or directory" in err
