"""What an experiment leaves beside its rows: figures, a report, a Parquet file, decision times."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("pyarrow", reason="the extra `experiments` is not installed", exc_type=ImportError)

import pandas

from tests.experiments.conftest import Workspace
from tests.pages import CHROMIUM, Page, assert_needs_nothing_else, browse, table

PAIRS = [f"{pipeline}-{load}" for pipeline in ("one", "two") for load in ("calm", "wild")]


@pytest.fixture
def html(finished: Workspace) -> str:
    """The report."""
    return (finished.directory / "report.html").read_text("utf-8")


@pytest.fixture
def cells(finished: Workspace) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The figures of every cell, by pipeline, load and method."""
    kept = pandas.read_csv(finished.results)
    means = kept.groupby(["pipeline", "load", "method"]).mean(numeric_only=True)
    return {cell: dict(row) for cell, row in means.iterrows()}


def texts(svg: Path) -> set[str]:
    """The words in a drawing."""
    return {"".join(element.itertext()).strip() for element in ElementTree.parse(svg).iter() if "text" in element.tag}  # noqa: S314


def curve(trace: dict[str, Any]) -> list[tuple[float, float]]:
    """The points of a chart's trace."""
    return list(zip(trace["x"], trace["y"], strict=True))


def test_every_pipeline_and_load_is_drawn(finished: Workspace) -> None:
    """As SVG with its axes and methods in words, and as PNG of some size."""
    figures = finished.directory / "figures"
    assert sorted(path.stem for path in figures.glob("*.svg")) == sorted([*PAIRS, "decision-times"])
    for pair in PAIRS:
        words = texts(figures / f"{pair}.svg")
        assert {"default", "fixed", "accuracy", "mean cost (cores)", "violations"} <= words
        assert {"load (rps)", "p99 (s)", "accuracy loss", "cost (cores)", "time (s)"} <= words
        assert pair.replace("-", ", ") in words
        assert (figures / f"{pair}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert (figures / f"{pair}.png").stat().st_size > 20_000
    assert {"IPA, published", "ours, HiGHS", "ours, auto", "stages"} <= texts(figures / "decision-times.svg")


def test_figures_are_the_same_again(finished: Workspace, tmp_path: Path) -> None:
    """Equal results give equal files, so that they can be kept under version control."""
    first = (finished.directory / "figures" / "two-wild.svg").read_bytes()
    finished.run("--baseline", "fixed")
    assert (finished.directory / "figures" / "two-wild.svg").read_bytes() == first


def test_the_report_needs_nothing_else(html: str) -> None:
    """Neither a network nor a server; plotly is in it once."""
    assert_needs_nothing_else(html)
    assert sum("plotly.js v" in text for text in Page(html).scripts.values()) == 1


def test_the_plane_has_the_means(html: str, cells: dict[tuple[str, str, str], dict[str, Any]]) -> None:
    """A point per method and load, at its mean cost and accuracy, with its confidence."""
    data = Page(html).charts()["plane-two"]["data"]
    assert [trace["name"] for trace in data] == ["default", "fixed"] * 2
    for trace, load in zip(data, ("calm", "calm", "wild", "wild"), strict=True):
        expected = cells["two", load, trace["name"]]
        assert trace["x"] == [pytest.approx(expected["mean_cost"])]
        assert trace["y"] == [pytest.approx(expected["accuracy"])]
    assert any(trace["error_x"]["array"][0] > 0 for trace in data)


def test_violations_are_bars(html: str, cells: dict[tuple[str, str, str], dict[str, Any]]) -> None:
    """A bar per method under each load, as high as its mean ratio; no whisker reaches below zero."""
    for trace in Page(html).charts()["violations-two"]["data"]:
        assert trace["x"] == ["calm", "wild"]
        assert trace["y"] == [pytest.approx(cells["two", x, trace["name"]]["violation_ratio"]) for x in trace["x"]]
        assert all(low <= y for low, y in zip(trace["error_y"]["arrayminus"], trace["y"], strict=True))


def test_curves_over_time_are_the_series(html: str, finished: Workspace) -> None:
    """Load, p99, accuracy loss and cores hold each value until the next; every second of the load is drawn."""
    data = Page(html).charts()["time-two-wild"]["data"]
    assert [trace["name"] for trace in data] == ["load (rps)", *["default"] * 3, *["fixed"] * 3]
    with (finished.directory / "series" / "two-wild-default.csv").open(newline="") as stream:
        seconds = list(csv.DictReader(stream))
    for trace, column in zip(data[:4], ("rps", "p99", "loss", "cores"), strict=True):
        held = dict(curve(trace))
        drawn, value = [], None
        for second in range(60):
            value = held.get(second, value)
            drawn.append(value)
        assert drawn == [pytest.approx(float(second[column])) if second[column] else None for second in seconds]
    assert len(curve(data[3])) < 60


def test_tables_have_every_cell_and_the_comparison(html: str) -> None:
    """Means in a table per pipeline, and the differences to the baseline."""
    rows = table(html, "two: mean ± 95 % confidence")
    assert [row[:3] for row in rows[1:]] == [[x, m, "2"] for x in ("calm", "wild") for m in ("default", "fixed")]
    assert "±" in rows[1][5]
    compared = table(html, "two: difference to fixed, paired by seed")
    assert [row[:2] for row in compared[1:]] == [["calm", "default"], ["wild", "default"]]
    assert compared[0][-1] == "dominates"


def test_the_footer_says_what_the_loads_were(html: str) -> None:
    """A trace that was not there is not claimed."""
    assert "<dt>Load wild</dt><dd>bursty, peak 20 rps</dd>" in html


def test_parquet_is_the_csv(finished: Workspace) -> None:
    """The same rows and figures."""
    pandas.testing.assert_frame_equal(
        pandas.read_parquet(finished.directory / "results.parquet"),
        pandas.read_csv(finished.results),
        check_dtype=False,
    )


def test_decision_times_are_measured_once(finished: Workspace) -> None:
    """Every size with both solvers; the file stays until other sizes are asked for."""
    path = finished.directory / "decision-times.csv"
    text = path.read_text()
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    sizes = {(row["solver"], row["stages"], row["variants"]) for row in rows}
    assert sizes == {(solver, s, v) for solver in ("auto", "highs") for s in "12" for v in "12"}
    assert all(0 < float(row["mean"]) <= float(row["max"]) < 10 for row in rows)
    finished.run("--baseline", "fixed")
    assert path.read_text() == text


def test_decision_times_stand_beside_the_published(html: str) -> None:
    """Against stages at the most variants, against variants at the most stages; published ones where they fit."""
    data = Page(html).charts()["decision-times"]["data"]
    ours = ["ours, HiGHS", "ours, auto"]
    assert [trace["name"] for trace in data] == [*ours, "IPA, published", *ours]
    assert [trace["showlegend"] for trace in data] == [True, True, True, False, False]
    assert data[2]["x"] == [1]
    assert data[2]["y"] == [0.8]


def test_part_of_an_experiment_leaves_the_report_alone(workspace: Workspace) -> None:
    """With --only there are rows, and neither report nor figures."""
    workspace.run("--only", "pipeline=one,load=calm,method=fixed")
    assert sorted(path.name for path in workspace.directory.iterdir()) == ["results.csv", "results.parquet", "series"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "published.csv: cannot be read"),
        ("stages,variants,mean\n1,1,2\n", "accepted: the columns stages, variants, mean and max"),
        ("stages,variants,mean,max\n1,one,2,3\n", "accepted: the columns stages, variants, mean and max"),
    ],
)
def test_published_times_that_cannot_be_read(workspace: Workspace, text: str | None, words: str) -> None:
    """One line names the file, before anything runs."""
    if text is not None:
        (workspace.path / "published.csv").write_text(text)
    workspace.change("decision_times", {"stages": [1], "variants": [1], "published": "published.csv"})
    code, _, err = workspace.run()
    assert code == 2
    assert words in err
    assert not workspace.results.exists()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_draws_every_chart(html: str, tmp_path: Path) -> None:
    """Each chart becomes an SVG, without an error."""
    watch = "<script>window.onerror = (m) => document.documentElement.setAttribute('data-error', m)</script></head>"
    head, body = html.rsplit("</head>", 1)
    dom = browse(head + watch + body, tmp_path)
    assert "data-error" not in dom[: dom.index("<head")]
    assert len(re.findall(r'class="chart js-plotly-plot"', dom)) == len(Page(html).charts()) == 2 * 4 + 1


def test_json_has_the_comparison(finished: Workspace) -> None:
    """What the table shows, as numbers."""
    _, out, _ = finished.run("--baseline", "fixed", "-o", "json")
    found = json.loads(out)
    assert [(one["pipeline"], one["load"], one["method"]) for one in found["comparison"]] == [
        (pipeline, load, "default") for pipeline in ("one", "two") for load in ("calm", "wild")
    ]
