"""The report: that it needs nothing else, says what the summary says, and draws in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

pytest.importorskip("plotly", reason="the extra `report` is not installed")
pytest.importorskip("jinja2", reason="the extra `report` is not installed")

from ipa_seldon.demo.report import render
from ipa_seldon.demo.summary import RunResult, by_variant, summary
from ipa_seldon.loadgen import RequestOutcome
from ipa_seldon.plan import Outcome, is_switch
from ipa_seldon.words import figure, share
from tests.pages import CHROMIUM, Page, assert_needs_nothing_else, browse, table

TIMED = ["load", "stages", "latency", "cost", "accuracy", "violations"]


def test_the_file_needs_nothing_else(three_runs: list[RunResult]) -> None:
    """No element loads from elsewhere, and the page itself forbids every request."""
    assert_needs_nothing_else(render(three_runs, "A demo", {"machine": "made up"}))


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


def test_requests_that_passed_a_network_are_drawn(make_run: Callable[..., RunResult]) -> None:
    """The bandwidth of each second in MB/s, and when and how long each request was on it, beside the SLO."""
    run = make_run(seconds=20)
    records = tuple(replace(record, transfer=0.01 * record.index) for record in run.records)
    run = replace(run, records=records, bandwidth=(2e6, 4e6) * 10)
    charts = Page(render([run], "A demo", {})).charts()
    assert list(charts) == ["load", "network", *TIMED[1:]]
    bandwidth, requests = charts["network"]["data"]
    assert bandwidth["y"] == [2, 4] * 10 + [4]
    assert bandwidth["yaxis"] == "y2"
    assert requests["y"] == [record.transfer for record in records]
    assert requests["x"] == [record.due - run.start for record in records]
    assert any("SLO 1 s" in note["text"] for note in charts["network"]["layout"]["annotations"])


def test_runs_that_differ_in_cores_alone_are_compared_by_them(make_run: Callable[..., RunResult]) -> None:
    """Where one variant answers in all runs, its accuracy tells nothing: the comparison is of violations and cost."""
    runs = [make_run(name=name, level=1, seed=seed) for seed, name in enumerate(("adaptive", "fixed"))]
    comparison = Page(render(runs, "A demo", {})).charts()["comparison"]
    assert comparison["layout"]["yaxis"]["title"]["text"] == "cost (cores)"
    assert [mark["y"] for mark in comparison["data"]] == [[summary(run)["mean_cost"]] for run in runs]
    others = Page(render([*runs, make_run(level=2, name="heaviest")], "A demo", {})).charts()["comparison"]
    assert others["layout"]["yaxis"]["title"]["text"] == "accuracy (lines read exactly)"


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


def test_variants_of_a_set_are_told_apart(set_run: RunResult, make_run: Callable[..., RunResult]) -> None:
    """A row per run, stage and variant with what it answered, its share beside the planned one, and its accuracy; a
    chart of who answered when; bands that name the shares.
    """
    html = render([set_run, make_run(name="lightest", level=0, seconds=60)], "A demo", {})
    rows = {tuple(row[:3]): row[3:] for row in table(html, 'id="variants"')[1:]}
    figures = by_variant(set_run)["recognise"]
    total = sum(one["requests"] for one in figures.values())
    for variant, planned, stated in (("v6@224", "75 %", "82 %"), ("v6@160", "25 %", "44 %")):
        one = figures[variant]
        cells = [str(one["requests"]), share(one["requests"] / total), planned, share(one["accuracy"]), stated]
        assert rows["adaptive", "recognise", variant] == cells
    assert rows["lightest", "recognise", "v6@160"][1:3] == ["100 %", "100 %"]
    charts = Page(html).charts()
    assert list(charts) == ["comparison", "load", "stages", "mix-0", *TIMED[2:]]
    heights = [trace["y"] for trace in charts["mix-0"]["data"]]
    assert len(heights) == 2
    assert [a + b for a, b in zip(*heights, strict=True)] == pytest.approx([1.0] * len(heights[0]))
    labels = [text for trace in charts["stages"]["data"] for text in trace.get("text", [])]
    assert "v6@224 75 %<br>×1 b1<br>v6@160 25 %<br>×1 b1" in labels


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
