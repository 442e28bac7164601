"""The report: that it needs nothing else, says what the summary says, and draws in a real browser."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("plotly", reason="the extra `report` is not installed")
pytest.importorskip("jinja2", reason="the extra `report` is not installed")

from ipa_seldon.loadgen import RequestOutcome
from ipa_seldon.plan import Outcome, is_switch
from ipa_seldon.runs import report
from ipa_seldon.runs.recorded import Recorded
from ipa_seldon.runs.series import offered, smoothed
from ipa_seldon.runs.summary import RunResult, by_variant, summary
from ipa_seldon.words import figure, share
from tests.pages import CHROMIUM, Page, assert_needs_nothing_else, browse, table

CONFIGURATION = "spec: {}"
TIMED = ["load", "stages", "latency", "cost", "accuracy", "violations"]


def render(runs: Sequence[RunResult], title: str, notes: Mapping[str, str]) -> str:
    """The report of ``runs``."""
    return report.render(Recorded(title, tuple(runs), notes, CONFIGURATION))


def values(array: Any) -> list[Any]:
    """The numbers of a chart, however plotly wrote them."""
    if isinstance(array, list):
        return array
    found: list[Any] = np.frombuffer(base64.b64decode(array["bdata"]), dtype=array["dtype"]).tolist()
    return found


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


def test_requests_without_lines_are_judged_by_what_was_expected(make_run: Callable[..., RunResult]) -> None:
    """Where no request had lines to read, none are told of: accuracies are the expected ones, and so labelled."""
    runs = [make_run(), make_run(name="lightest", level=0)]
    runs = [replace(run, records=tuple(replace(r, expected=0, matched=0) for r in run.records)) for run in runs]
    html = render(runs, "A demo", {})
    charts, expected = Page(html).charts(), [summary(run)["expected_accuracy"] for run in runs]
    assert charts["comparison"]["layout"]["yaxis"]["title"]["text"] == "accuracy (as expected)"
    assert [mark["y"] for mark in charts["comparison"]["data"]] == [[accuracy] for accuracy in expected]
    assert [trace["name"] for trace in charts["accuracy"]["data"]] == ["expected, adaptive"]
    assert "accuracy" not in {row[0] for row in table(html, 'id="summary"')}
    assert f"accuracy {figure(expected[0])}" in unescape(html)
    assert "read exactly" not in re.sub("<script.*?</script>|<th.*?</th>", "", html, flags=re.DOTALL)


def test_every_stage_and_plan_is_named(make_run: Callable[..., RunResult]) -> None:
    """A band for each time a stage changed what it runs, with variant, replicas and batch."""
    run = make_run()
    stages = Page(render([run], "A demo", {})).charts()["stages"]
    labels = [text for trace in stages["data"] for text in trace.get("text", [])]
    titles = [axis["title"]["text"] for name, axis in stages["layout"].items() if name.startswith("yaxis")]
    assert [re.sub("<.*?>", " ", title).split()[0] for title in titles] == ["detect", "recognise"]
    assert "v6-256x96<br>×1 b3" in labels
    assert "v6-224<br>×2 b2" in labels
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
    for variant, planned, stated in (("v6-224", "75 %", "82 %"), ("v6-160", "25 %", "44 %")):
        one = figures[variant]
        cells = [str(one["requests"]), share(one["requests"] / total), planned, share(one["accuracy"]), stated]
        assert rows["adaptive", "recognise", variant] == cells
    assert rows["lightest", "recognise", "v6-160"][1:3] == ["100 %", "100 %"]
    charts = Page(html).charts()
    assert list(charts) == ["comparison", "load", "stages", "mix-0", *TIMED[2:]]
    heights = [trace["y"] for trace in charts["mix-0"]["data"]]
    assert len(heights) == 2
    assert [a + b for a, b in zip(*heights, strict=True)] == pytest.approx([1.0] * len(heights[0]))
    labels = [text for trace in charts["stages"]["data"] for text in trace.get("text", [])]
    assert "v6-224 75 %<br>×1 b1<br>v6-160 25 %<br>×1 b1" in labels


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
    """Time, load, forecast, plan, outcome with its reason, what was changed and why, expected latency and seconds;
    trouble carries its reason.
    """
    run = make_run(seconds=60)
    broken = replace(run.decisions[-1], outcome=Outcome.FAILED, proposal=None, error="decide: the server is gone")
    run = replace(run, decisions=(*run.decisions[:-1], broken))
    rows = table(render([run], "A demo", {}), "Decisions of the adaptive run")[1:]
    assert len(rows) == len(run.decisions)
    assert rows[1][:3] == ["5", "7", "9.75"]
    assert rows[1][3] == "detect: v6-256x96 ×1 b3; recognise: v6-320 ×1 b3"
    assert rows[0][4:6] == ["applied: first plan", f"first plan: {rows[0][3]} — limited by the SLO"]
    assert rows[1][4:8] == ["unchanged", "unchanged — limited by the SLO", "400 ms", "12 ms"]
    assert rows[-1][4:6] == ["failed: decide", "failed, what ran keeps running — decide: the server is gone"]


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


def test_a_log_alone_shows_what_it_knows(make_run: Callable[..., RunResult]) -> None:
    """Load as the decisions counted it, forecasts, plans, expected latency beside the SLO, cost, expected accuracy; and
    nothing of requests.
    """
    run = replace(make_run(), records=())
    html = render([run], "A log", {})
    charts = Page(html).charts()
    assert list(charts) == ["load", "stages", "latency", "cost", "accuracy"]
    load = charts["load"]["data"][0]["y"]
    assert (values(load)[:175:40], values(load)[52]) == ([7, 7, 24, 7, 7], 24)
    (expected,) = charts["latency"]["data"]
    assert set(values(expected["y"])) == {0.4}
    assert charts["accuracy"]["data"][0]["name"] == "expected, adaptive"
    labels = {row[0] for row in table(html, 'id="summary"')[1:]}
    assert "expected accuracy" in labels
    assert not labels & {"requests", "violation ratio", "accuracy", "latency p99"}
    assert 'id="variants"' not in html
    assert "lines read exactly" not in html


def test_what_nobody_counted_is_a_gap(make_run: Callable[..., RunResult]) -> None:
    """Seconds of a log in which no load was measured are neither drawn as no load nor smoothed over."""
    run = make_run(seconds=60)
    blind = tuple(
        replace(one, observation=replace(one.observation, arrivals=(float("nan"),) * 5)) for one in run.decisions
    )
    times, rates = offered(replace(run, decisions=blind[:6] + run.decisions[10:], records=()))
    assert not np.isfinite(rates[:25]).any()
    assert (rates[30:50] == 7).all()
    assert not np.isfinite(smoothed(rates)[:20]).any()
    assert times[0] == 0.5
    assert "load" in Page(render([replace(run, decisions=blind, records=())], "Blind", {})).charts()


def test_long_runs_stay_readable(make_run: Callable[..., RunResult]) -> None:
    """Two hours: the load in columns of some seconds, their means; of 1440 decisions those that changed something."""
    run = replace(make_run(seconds=7200), records=())
    html = render([run], "Long", {})
    load = Page(html).charts()["load"]["data"][0]
    assert (len(values(load["y"])), load["width"], load["name"]) == (1800, 4, "load, mean of 4 s")
    told = [one for one in run.decisions if one.outcome is not Outcome.UNCHANGED]
    assert len(table(html, "Decisions of the adaptive run")) - 1 == len(told) < 1000
    assert f"{1440 - len(told)} rounds that changed nothing" in html


def test_where_the_figures_come_from_is_folded(make_run: Callable[..., RunResult]) -> None:
    """Machine, load and versions, and the pipeline file, as text."""
    html = render([make_run(seconds=20)], "A demo", {"Machine": "made up", "Load": "bursty, seed 7"})
    assert table(html, 'id="notes"') == [["Machine", "made up"], ["Load", "bursty, seed 7"]]
    assert f'<pre id="configuration">{CONFIGURATION}</pre>' in html
    assert [a for tag, a in Page(html).tags if tag == "details"][1:] == [{"class": "card"}] * 2


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
