"""The report in Markdown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ipa_seldon.plan import Outcome
from ipa_seldon.runs import markdown
from ipa_seldon.runs.recorded import Recorded, read_run
from ipa_seldon.runs.summary import RunResult, summary
from ipa_seldon.words import figure, share
from tests.runs.made_up import keep


def test_it_says_what_the_page_says(three_runs: list[RunResult], tmp_path: Path) -> None:
    """Summary with the best in bold, variants, decisions of every run, machine and load, the pipeline file."""
    text = markdown.render(read_run(keep(tmp_path, *three_runs)))
    figures = [summary(run) for run in three_runs]
    cheapest = min(one["mean_cost"] for one in figures)
    costs = (f"**{figure(c)}**" if c == cheapest else figure(c) for c in (one["mean_cost"] for one in figures))
    lines = text.splitlines()
    assert lines[0] == "## text: made up"
    assert "|  | adaptive | lightest | heaviest |" in lines
    assert f"| mean cost (cores) | {' | '.join(costs)} |" in lines
    one = figures[0]["variants"]["detect"]["v6-256x96"]
    assert any(line.startswith(f"| adaptive | detect | v6-256x96 | {one['requests']} |") for line in lines)
    assert text.count("<details><summary>Decisions of the ") == 3
    assert "| Machine | made up, 2 cores |" in lines
    assert "```yaml\napiVersion: ipa.seldon.io/v1alpha1\n" in text
    assert share(1 - figures[0]["violation_ratio"], 4) in lines[2]


def test_long_runs_fit_into_a_comment(make_run: Callable[..., RunResult]) -> None:
    """Of 720 decisions those that changed something are told, of these the last 50, and how many are left out."""
    run = make_run(seconds=3600, level=1)
    switches = [replace(one, outcome=Outcome.APPLIED) for one in run.decisions[100:200]]
    run = replace(run, decisions=(*run.decisions[:100], *switches, *run.decisions[200:]), records=())
    text = markdown.render(Recorded("long", (run,), {}, ""))
    table = text[text.index("Decisions of the") :]
    rows = [line for line in table[: table.index("</details>")].splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 1 + 50  # the rule below the headings, too
    assert rows[-1].startswith("| 995 | ")
    assert "670 rounds that changed nothing, or are older, are left out." in table
    assert len(text) < 65_536


def test_text_of_a_run_cannot_become_markup(make_run: Callable[..., RunResult]) -> None:
    """Neither HTML, nor another cell or row of a table."""
    hostile = "<b>x</b> | y\nz"
    run = make_run(seconds=20, name=hostile, renamed={"detect": hostile})
    text = markdown.render(Recorded(hostile, (run,), {hostile: hostile}, ""))
    assert "<b>" not in text
    for line in text.splitlines():
        assert not line.startswith("z")
        assert not line.startswith("|") or line.replace("\\|", "").count("|") in (3, 9, 10)
