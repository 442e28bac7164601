"""What perf_analyzer and Model Analyzer wrote becomes a profile, or one line says what is wrong with it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from ipa_seldon.cli.profile import profile
from ipa_seldon.config import read_profiles
from ipa_seldon.errors import ConfigError
from ipa_seldon.profiler import Point, ProfileTable, Row

# The columns as the tools write them: perf_analyzer today, with --verbose-csv and metrics of GPUs, before it told the
# parts of computing apart, of a server without statistics, and with request rates.
PARTS = "Client Send,Network+Server Send/Recv,Server Queue"
COMPUTE = "Server Compute Input,Server Compute Infer,Server Compute Output"
CACHE = "Server Cache Hit,Server Cache Miss"
PERCENTILES = "p50 latency,p90 latency,p95 latency,p99 latency"
PLAIN = f"Concurrency,Inferences/Second,{PARTS},{COMPUTE},Client Recv,{PERCENTILES}"
PERF_ANALYZER = f"""{PLAIN}
1,76,100,500,50,25,50800,125,0,51300,52800,53500,55050
2,79.5,100,700,50400,25,50900,175,0,101700,104800,105000,105900
"""
LAYOUTS = {
    "verbose": f"""{PLAIN},Avg latency,request/response,response wait,Avg GPU Utilization,Total GPU Memory
1,79.5,100,500,50,25,50800,125,0,51300,52800,53500,55050,51600,100,51500,GPU-1:0.05;,GPU-1:25769803776;,
""",
    "old": f"""Concurrency,Inferences/Second,{PARTS},Server Compute,Client Recv,{PERCENTILES}
1,79.5,100,500,50,50950,0,51300,52800,53500,55050
""",
    "cached": f"""Concurrency,Inferences/Second,{PARTS},{COMPUTE},{CACHE},Client Recv,{PERCENTILES}
1,79.5,100,500,50,25,50800,125,0,0,0,51300,52800,53500,55050
""",
    "no statistics": f"""Concurrency,Inferences/Second,Client Send,Client Recv,{PERCENTILES}
1,79.5,100,0,51300,52800,53500,55000
""",
    "rates": f"""Request Rate,Inferences/Second,{PARTS},{COMPUTE},Client Recv,{PERCENTILES}
5,5.1,100,500,50,25,50800,125,0,51300,52800,53500,55050
100,79.5,100,700,90000,25,50900,175,0,141700,144800,145000,145900
""",
}
ONE = ("--stage", "detect", "--variant", "small", "--cores", "2", "--batch", "4")
MODEL_ANALYZER = """\
Model,Batch,Concurrency,Model Config Path,Instance Group,Max Batch Size,Satisfies Constraints,Throughput (infer/sec),\
p99 Latency (ms),Server Queue time (ms)
small,1,16,small_config_1,1:CPU,4,Yes,210.0,76.0,57.0
small,1,8,small_config_1,1:CPU,4,Yes,200.0,40.0,20.0
small,1,2,small_config_1,1:CPU,4,Yes,100.0,20.0,8.0
small,1,1,small_config_0,1/CPU,1,No,90.0,11.0,0.0
small,1,2,small_config_0,1/CPU,1,No,95.0,21.0,10.0
small,1,2,small_config_2,2:CPU,1,Yes,180.0,11.5,0.0
large,8,1,large_config_3,1:CPU,8,Yes,50.0,160.0,0.1
"both,large","1,1","2,1","both_config_0,large_config_0","1:CPU,1:CPU","1,1",Yes,"29.0, [17.0,12.0]","7.3, [9.9,4.8]",1.0

"""
RATED = MODEL_ANALYZER.replace("Concurrency", "Request Rate")
LARGE = ("--map", "large=b/c", "--cores", "1")
Import = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Import:
    """``profile import`` of a text, from ``perf.csv`` into ``profile.csv``: what it said; raises what it raises."""

    def call(text: str, *options: str) -> str:
        (tmp_path / "perf.csv").write_text(text)
        words = ["import", str(tmp_path / "perf.csv"), "-o", str(tmp_path / "profile.csv"), *options]
        result = CliRunner().invoke(profile, words, catch_exceptions=False, standalone_mode=False)
        assert result.return_value == 0
        return result.stderr

    return call


def measured(path: Path) -> dict[tuple[str, str, int, int], tuple[float, float]]:
    """(stage, variant, cores, batch) -> milliseconds, requests/s."""
    return {
        (*names, *at): (round(1000 * point.latency, 6), point.throughput)
        for names, found in read_profiles(path / "profile.csv").items()
        for at, point in found.points.items()
    }


def test_a_range_of_concurrencies_is_one_point(run: Import, tmp_path: Path) -> None:
    """The latency of the lower one, its queue left out; the throughput of the higher one; the file is named."""
    assert run(PERF_ANALYZER, *ONE) == f"{tmp_path}/profile.csv: points of perf_analyzer: 1 added\n"
    assert measured(tmp_path) == {("detect", "small", 2, 4): (55.0, 79.5)}
    with (tmp_path / "profile.csv").open(newline="") as lines:
        assert [row["source"] for row in csv.DictReader(lines)] == ["perf_analyzer: perf.csv"]
    run(PERF_ANALYZER, *ONE, "--percentile", "50", "--replace")
    assert measured(tmp_path) == {("detect", "small", 2, 4): (51.25, 79.5)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_perf_analyzer_is_read(run: Import, tmp_path: Path, layout: str) -> None:
    """The same from each; where the queue has no column, that is said."""
    said = run(LAYOUTS[layout], *ONE)
    assert measured(tmp_path) == {("detect", "small", 2, 4): (55.0, 79.5)}
    assert ("the wait in Triton's queue" in said) == (layout == "no statistics")


def test_models_of_model_analyzer_are_named(run: Import, tmp_path: Path) -> None:
    """A model is taken with all its configurations, or one of them: those of one instance, in batches that were full,
    by one request or by twice as many as fit. What is left out is counted.
    """
    said = run(MODEL_ANALYZER, "--map", "small=detect/s", "--map", "large_config_3=detect/l", "--cores", "1")
    assert measured(tmp_path) == {
        ("detect", "s", 1, 4): (20.0, 210.0),
        ("detect", "s", 1, 1): (11.0, 95.0),
        ("detect", "l", 1, 8): (159.9, 50.0),
    }
    for words in ("3 added", "1 whose load does not fill a batch", "1 of more than one instance", "1 of models that"):
        assert words in said


def test_what_was_run_can_be_stated(run: Import, tmp_path: Path) -> None:
    """At request rates only a request that fills a batch tells its size; --batch does for all rows, and for a file of
    a version that had no column for it.
    """
    run(RATED, "--map", "small=detect/s", "--cores", "1")
    assert measured(tmp_path) == {("detect", "s", 1, 1): (11.0, 95.0)}
    old = MODEL_ANALYZER.replace("Max Batch Size", "Preferred Batch Sizes")
    run(old, "--map", "large=detect/l", "--cores", "1", "--batch", "8")
    assert measured(tmp_path)["detect", "l", 1, 8] == (159.9, 50.0)
    with pytest.raises(ConfigError, match=r"column Max Batch Size is missing; accepted: .*, or --batch$"):
        run(old, "--map", "large=detect/l", "--cores", "1")


def test_points_that_are_there_are_kept(run: Import, tmp_path: Path) -> None:
    """With all that was written about them, till --replace; a sweep goes on in the same file."""
    path = tmp_path / "profile.csv"
    point = Point("detect", "small", 2, 4)
    ProfileTable(path, "a machine", seed=3).add(point, Row(0.07, 60.0, 40))
    before = path.read_text()
    assert "0 added, 1 kept" in run(PERF_ANALYZER, *ONE)
    run(PERF_ANALYZER.replace("79.5", "80.5"), *ONE[:-1], "8")
    columns, kept, *_ = path.read_text().splitlines()
    assert [columns, kept] == [line + end for line, end in zip(before.splitlines(), (",source", ","), strict=True)]
    run(PERF_ANALYZER, *ONE, "--replace")
    assert measured(tmp_path) == {("detect", "small", 2, 4): (55.0, 79.5), ("detect", "small", 2, 8): (55.0, 80.5)}
    table = ProfileTable(path, "a machine", seed=3)
    assert point in table
    table.add(Point("detect", "small", 1, 1), Row(0.01, 90.0, 40))
    assert "perf_analyzer: perf.csv" in path.read_text()
    assert len(measured(tmp_path)) == 3


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (PERF_ANALYZER.replace("79.5", "fast"), ONE, "line 3: Inferences/Second: 'fast': accepted: a number > 0"),
        (PERF_ANALYZER.replace(",55050", ""), ONE, "line 2: p99 latency: None: accepted: a number > 0"),
        (PERF_ANALYZER.replace("50400", "-1"), ONE, "line 3: Server Queue: '-1': accepted: a number >= 0"),
        (PERF_ANALYZER.replace("50400", "105900"), ONE, "line 3: p99 latency: '105900': accepted: more than Server"),
        (PERF_ANALYZER, (*ONE, "--percentile", "99.9"), "column p99.9 latency is missing; accepted: p50 latency, p90"),
        (PERF_ANALYZER, ONE[:-2], "--batch: missing; accepted: "),
        (PERF_ANALYZER, ("--map", "a=b/c", "--cores", "1"), "--map: accepted: with Model Analyzer's CSV"),
        (MODEL_ANALYZER, ("--map", "tiny=b/c", "--cores", "1"), "--map: 'tiny': accepted: .*large, large_config_3"),
        (MODEL_ANALYZER, ONE, "column Model: both,large, large, small: accepted: one model, or --map for each"),
        (MODEL_ANALYZER.replace("1:CPU,8", "one,8"), LARGE, "line 8: Instance Group: 'one'"),
        (MODEL_ANALYZER.replace("1:CPU,8", "4:CPU,8"), LARGE, "no row to import; left out"),
        (PLAIN, ONE, "no rows; accepted: "),
        ("second,rps\n1,2\n", ONE, "line 1: 'second,rps': accepted: the CSV of perf_analyzer -f, .*Model Analyzer's"),
        ("\0", ONE, "accepted: the CSV of perf_analyzer"),
    ],
)
def test_what_cannot_be_imported_is_one_line(
    run: Import, tmp_path: Path, text: str, options: tuple[str, ...], words: str
) -> None:
    """With file or option, line, column and what is accepted; nothing is written."""
    with pytest.raises(ConfigError, match=words) as refused:
        run(text, *options)
    assert str(tmp_path / "perf.csv") in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "profile.csv").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "a.csv"), "Missing option '-f' / '--file'"),
        (("-f", "a.yaml"), "Missing option '-o' / '--output'"),
        (("-f", "a.yaml", "import", "perf.csv", "-o", "a.csv", *ONE), "--file: accepted: without import, or behind it"),
        (("import", "perf.csv", "-o", "a.csv", "--cores", "1"), "accepted: --stage and --variant, or --map"),
        (("import", "perf.csv", "-o", "a.csv", *ONE, "--map", "a=b/c"), "accepted: --stage and --variant, or --map"),
        (("import", "perf.csv", "-o", "a.csv", "--cores", "1", "--map", "a/b"), "'a/b': accepted: NAME=STAGE/VARIANT"),
    ],
)
def test_options_that_do_not_fit_are_told(words: tuple[str, ...], said: str) -> None:
    """Of the sweep, which needs its own, and of the import beside it."""
    result = CliRunner().invoke(profile, words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_profile_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """The path, why, and no trace of it."""
    (tmp_path / "perf.csv").write_text(PERF_ANALYZER)
    words = ["import", str(tmp_path / "perf.csv"), "-o", str(tmp_path / "none" / "profile.csv"), *ONE]
    with pytest.raises(ConfigError, match=r"none/profile\.csv: cannot be written: No such file or directory$"):
        CliRunner().invoke(profile, words, catch_exceptions=False)
