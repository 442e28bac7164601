"""The report: that it needs nothing else, says what the summary says, and draws in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("plotly", reason="the extra `report` is not installed")
pytest.importorskip("jinja2", reason="the extra `report` is not installed")

from ipa_seldon.demo.report import render
from ipa_seldon.demo.summary import RunResult, summary
from ipa_seldon.loadgen import RequestOutcome
from ipa_seldon.plan import Outcome, is_switch
from ipa_seldon.reports.words import figure, share

TIMED = ["load", "stages", "latency", "cost", "accuracy", "violations"]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page(HTMLParser):
    """The tags of a page, the text of its elements by id, and its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self._script: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag."""
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs).get("id") or f"script-{len(self.scripts)}"
            self.scripts[self._script] = ""

    def handle_endtag(self, tag: str) -> None:
        """A script is over."""
        if tag == "script":
            self._script = None

    def handle_data(self, data: str) -> None:
        """Note the text of scripts."""
        if self._script is not None:
            self.scripts[self._script] += data

    def charts(self) -> dict[str, dict[str, Any]]:
        """Chart name -> plotly's specification."""
        prefix = "spec-"
        return {
            key.removeprefix(prefix): json.loads(text) for key, text in self.scripts.items() if key.startswith(prefix)
        }


def table(html: str, marker: str) -> list[list[str]]:
    """The cells of the rows of the table that follows ``marker``, as plain text."""
    part = html[html.index(marker) :]
    rows = re.findall(r"<tr.*?</tr>", part[: part.index("</table>")], re.S)
    return [
        [unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)]
        for row in rows
    ]


def browse(html: str, folder: Path) -> str:
    """The document as it stands after a headless Chromium ran its scripts."""
    assert CHROMIUM is not None
    page = folder / "report.html"
    page.write_text(html, "utf-8")
    quiet = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-sync", *quiet]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=10000", "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_file_needs_nothing_else(three_runs: list[RunResult]) -> None:
    """No element loads from elsewhere, and the page itself forbids every request."""
    page = Page(render(three_runs, "A demo", {"machine": "made up"}))
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "img", "object", "embed", "base"}
        assert not {"src", "href", "srcset", "action"} & set(attributes)
    policies = [attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes]
    assert any(policy and "default-src 'none'" in policy and "http" not in policy for policy in policies)
    styles = re.findall(r"<style>.*?</style>", render(three_runs[:1], "A demo", {}), re.S)
    assert not any("url(" in style or "@import" in style for style in styles)


def test_plotly_is_inlined_once(three_runs: list[RunResult]) -> None:
    """However many runs and charts there are."""
    page = Page(render(three_runs, "A demo", {}))
    assert sum("plotly.js v" in text for text in page.scripts.values()) == 1


def test_charts_share_one_time_axis(three_runs: list[RunResult]) -> None:
    """Every chart over time spans the whole run in seconds, has a title, a caption and a unit on its axis."""
    page = Page(render(three_runs, "A demo", {}))
    specs = page.charts()
    assert list(specs) == ["comparison", *TIMED]
    for name in TIMED:
        layout = specs[name]["layout"]
        assert layout["xaxis"]["range"] == [0, 180]
        assert layout["xaxis"]["title"]["text"] == "time (s)"
        assert layout["yaxis"]["title"]["text"]
    described = [a for _, a in page.tags if a.get("role") == "img"]
    ids = {a.get("id") for _, a in page.tags}
    assert all({a["aria-labelledby"], a["aria-describedby"]} <= ids for a in described)
    assert len(described) == len(specs)


def test_one_run_needs_no_comparison(make_run: Callable[..., RunResult]) -> None:
    """The scatter is there only when there is something to compare."""
    assert list(Page(render([make_run()], "A demo", {})).charts()) == TIMED


def test_every_stage_and_plan_is_named(make_run: Callable[..., RunResult]) -> None:
    """A band for each time a stage changed what it runs, with variant, replicas and batch."""
    run = make_run()
    stages = Page(render([run], "A demo", {})).charts()["stages"]
    labels = [text for trace in stages["data"] for text in trace.get("text", [])]
    titles = [axis["title"]["text"] for name, axis in stages["layout"].items() if name.startswith("yaxis")]
    assert [re.sub("<.*?>", " ", title).split()[0] for title in titles] == ["detect", "recognise"]
    assert "v6@256x96<br>×1 b3" in labels
    assert "v6@224<br>×2 b2" in labels
    assert len(labels) == 2 * (1 + sum(map(is_switch, run.decisions)))


def test_the_summary_is_in_the_table(three_runs: list[RunResult]) -> None:
    """A column per run, with the figures of its summary."""
    rows = table(render(three_runs, "A demo", {}), 'id="summary"')
    assert rows[0][1:] == ["adaptive", "lightest", "heaviest"]
    cells = {row[0]: row[1:] for row in rows[1:]}
    for column, run in enumerate(three_runs):
        figures = summary(run)
        assert cells["violation ratio"][column] == share(figures["violation_ratio"])
        assert cells["accuracy"][column] == share(figures["accuracy"])
        assert cells["mean cost (cores)"][column] == figure(figures["mean_cost"])
        assert cells["switches"][column] == str(figures["switches"])
        assert cells["dropped"][column] == str(figures["dropped"])


def test_a_run_has_one_colour_everywhere(three_runs: list[RunResult]) -> None:
    """A reader who learnt a colour in one chart can use it in all."""
    specs = Page(render(three_runs, "A demo", {})).charts()
    for run in three_runs:
        colours = {
            trace.get("line", {}).get("color") or trace["marker"]["color"]
            for name in ("comparison", "cost", "violations")
            for trace in specs[name]["data"]
            if trace["name"].startswith(run.name)
        }
        assert len(colours) == 1


def test_every_decision_is_in_the_table(make_run: Callable[..., RunResult]) -> None:
    """Time, load, forecast, plan, binding constraint, outcome and seconds; trouble carries its reason."""
    run = make_run(seconds=60)
    broken = replace(run.decisions[-1], outcome=Outcome.FAILED, proposal=None, error="the server is gone")
    run = replace(run, decisions=(*run.decisions[:-1], broken))
    rows = table(render([run], "A demo", {}), "Decisions of the adaptive run")[1:]
    assert len(rows) == len(run.decisions)
    assert rows[1][:3] == ["5", "7", "9.75"]
    assert rows[1][3] == "detect: v6@256x96 ×1 b3; recognise: v6@320 ×1 b3"
    assert rows[1][4:7] == ["limited by the SLO", "unchanged", "12 ms"]
    assert rows[-1][4:6] == ["the server is gone", "failed"]


def test_text_of_a_run_cannot_become_markup(make_run: Callable[..., RunResult]) -> None:
    """Names, titles and errors are escaped in the page, in the charts, and in the JSON that carries the charts."""
    hostile = "</script><script>alert(1)</script><b>"
    run = make_run(seconds=20, name=hostile, renamed={"detect": hostile})
    run = replace(run, decisions=(*run.decisions[:-1], replace(run.decisions[-1], error=hostile)))
    html = render([run, make_run(seconds=20)], hostile, {hostile: hostile})
    plain = render([make_run(seconds=20)] * 2, "A demo", {"key": "value"})
    assert "alert(1)</script>" not in html
    assert [tag for tag, _ in Page(html).tags] == [tag for tag, _ in Page(plain).tags]
    assert "<script>" not in json.dumps(Page(html).charts())


def test_a_run_of_which_little_is_known_is_drawn(make_run: Callable[..., RunResult]) -> None:
    """No decision, no request, no pipeline, a broken decision without data: no chart fails."""
    run = make_run(seconds=20)
    observation = replace(run.decisions[0].observation, arrivals=(float("nan"),) * 3, plan={})
    blank = replace(run.decisions[0], observation=observation, proposal=None, rate=None, outcome=Outcome.NO_DATA)
    failed = tuple(replace(record, outcome=RequestOutcome.FAILED) for record in run.records)
    runs = [
        replace(run, pipeline=None),
        replace(run, name="empty", decisions=(), records=()),
        replace(run, name="blank", decisions=(blank,), records=failed, end=run.start + 0.5),
    ]
    for first in runs:
        others = [other for other in runs if other is not first]
        assert list(Page(render([first, *others], "A demo", {})).charts()) == ["comparison", *TIMED]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_draws_every_chart(three_runs: list[RunResult], tmp_path: Path) -> None:
    """Each chart becomes an SVG with marks in it, a zoom of one zooms all, and nothing is asked of the network."""
    watch = (
        "<script>document.addEventListener('securitypolicyviolation', (e) => document.documentElement.setAttribute("
        "'data-blocked', e.blockedURI)); window.onerror = (m) => document.documentElement.setAttribute('data-error', m)"
        "</script></head>"
    )
    zoom = (
        "<script>Plotly.relayout(timed[0], {'xaxis.range[0]': 30, 'xaxis.range[1]': 60}).then(() => setTimeout(() => "
        "document.documentElement.setAttribute('data-ranges', JSON.stringify(timed.map("
        "(c) => c.layout.xaxis.range))), 2000))</script></body>"
    )
    html = render(three_runs, "A demo", {})
    head, body = html.rsplit("</head>", 1)
    dom = browse(head + watch + body.replace("</body>", zoom), tmp_path)
    root = dom[: dom.index("<head")]
    assert "data-error" not in root
    assert "data-blocked" not in root
    assert len(re.findall(r'class="chart js-plotly-plot"', dom)) == 1 + len(TIMED)
    assert all(mark in dom for mark in ('class="point"', "js-line", "SLO 1 s", "what the plan carries"))
    ranges = re.search(r'data-ranges="(.*?)"', root)
    assert ranges is not None
    assert json.loads(unescape(ranges.group(1))) == [[30, 60]] * len(TIMED)
