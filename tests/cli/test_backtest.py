"""``ipa-seldon backtest``: of a trace and of a real Prometheus, what it prints and refuses, and its interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ipa_seldon.cli import main
from tests.adapter.files import write_toy
from tests.advice.pasts import Past
from tests.advice.slow import MARK
from tests.prometheus_server import PrometheusServer
from tests.waiting import wait_for

FIGURES = {
    *("requests", "late", "dropped", "violation_ratio", "accuracy", "core_hours", "mean_cost"),
    *("decisions", "switches", "degraded", "failed", "seconds"),
}


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The toy pipeline, a decision a second."""
    return str(write_toy(tmp_path, interval="1s"))


@pytest.fixture
def trace(tmp_path: Path) -> str:
    """A minute that doubles."""
    path = tmp_path / "load.txt"
    path.write_text("70\n" * 30 + "140\n" * 30)
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as ended:
        main(["backtest", *arguments])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def found(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The JSON of a run that ends well."""
    code, out, err = run(capsys, *arguments, "-o", "json")
    assert code == 0, err
    document: dict[str, Any] = json.loads(out)
    return document


def test_the_files_algorithm_and_the_baselines_that_apply(
    file: str, trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each over the same requests, the file's first; what needs one stage, or capacities, is not among them."""
    document = found(capsys, "-f", file, "--trace", trace)
    assert (document["pipeline"], document["seconds"], document["unmeasured_seconds"]) == ("toy", 60, 0)
    assert {"ipa", "fa2-low", "fa2-high", "rim", "static", "hpa"} <= set(document["figures"])
    assert not {"vpa", "model-switching", "static-8"} & set(document["figures"])
    assert (document["failed"], document["interrupted"]) == ({}, False)
    for figures in document["figures"].values():
        assert set(figures) == FIGURES
        assert figures["requests"] == 6300
    ipa, static = document["figures"]["ipa"], document["figures"]["static"]
    assert ipa["violation_ratio"] < 0.02 < static["violation_ratio"]
    assert (ipa["switches"], static["switches"]) == (1, 0)
    assert document["figures"]["fa2-high"]["accuracy"] == 1.0


def test_named_algorithms_as_a_table_and_in_markdown(file: str, trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A row each, in the order they are named; slow starts cost more violations."""
    names = ("--algorithm", "hpa", "--algorithm", "ipa")
    code, out, err = run(capsys, "-f", file, "--trace", trace, *names, "-o", "md")
    assert (code, "toy: 60 s of load" in err) == (0, True)
    title, _, head, line, *rows = out.strip().splitlines()
    assert title == "## toy: 60 s of load"
    assert [cell.strip() for cell in head.strip("|").split("|")][:4] == [
        *("algorithm", "violations", "accuracy", "core hours"),
    ]
    assert set(line) == {"|", "-"}
    assert [row.split("|")[1].strip() for row in rows] == ["hpa", "ipa"]
    _, out, _ = run(capsys, "-f", file, "--trace", trace, *names)
    assert out.index("hpa") < out.index("ipa")
    quick = found(capsys, "-f", file, "--trace", trace, *names[2:])["figures"]["ipa"]
    slow = found(capsys, "-f", file, "--trace", trace, *names[2:], "--startup", "10")["figures"]["ipa"]
    assert slow["violation_ratio"] > quick["violation_ratio"]


def test_an_algorithm_that_falls_over_is_told_and_the_others_are_there(
    file: str, trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a line, with exit code 1."""
    faulty = "tests.adapter.faulty:Faulty"
    code, out, err = run(
        capsys, "-f", file, "--trace", trace, "--algorithm", faulty, "--algorithm", "static", "-o", "json"
    )
    document = json.loads(out)
    assert code == 1
    assert list(document["figures"]) == ["static"]
    assert document["failed"] == {faulty: "ZeroDivisionError: a fault of the plug-in"}
    assert f"failed: {faulty}: ZeroDivisionError" in err
    assert "Traceback" not in err


def test_ctrl_c_reports_what_has_ended(file: str, trace: str, tmp_path: Path) -> None:
    """The algorithms that have ended are printed, exit code 130, and no process is left."""
    mark = tmp_path / "begun"
    command = [sys.executable, "-m", "ipa_seldon", "backtest", "-f", file, "--trace", trace, "--jobs", "1"]
    command += ["--algorithm", "static", "--algorithm", "tests.advice.slow:Slow", "-o", "json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = os.environ | {MARK: str(mark)}
    with subprocess.Popen(command, text=True, start_new_session=True, env=environment, **pipes) as process:  # type: ignore[call-overload]
        wait_for(mark.exists)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    document = json.loads(out)
    assert (list(document["figures"]), document["interrupted"]) == (["static"], True)
    assert "interrupted: 1 of 2 are here" in err
    assert "Traceback" not in err
    wait_for(lambda: not group_lives(process.pid))


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--range", "1h"), "--prometheus: missing; accepted: there, or by PROMETHEUS_URL"),
        (("--trace", "{trace}", "--prometheus", "http://127.0.0.1:9"), "--prometheus: accepted: without --trace"),
        (("--trace", "{trace}", "--range", "7d"), "--range: accepted: without --trace"),
        (("--trace", "{trace}", "--query", "x"), "--query: accepted: without --trace"),
        (("--trace", "/nowhere.csv"), "/nowhere.csv: the trace cannot be read"),
        (("--trace", "{trace}", "--algorithm", "magic"), "'magic' is unknown; accepted: ipa"),
        (("--trace", "{trace}", "--algorithm", "infadapter"), "accepted: one stage, for this algorithm"),
        (("--trace", "{trace}", "-f", "/nowhere.yaml"), "/nowhere.yaml"),
        (("--prometheus", "http://127.0.0.1:9"), "--range: missing; a Prometheus needs one, such as 7d"),
        (("--prometheus", "http://127.0.0.1:9", "--range", "soon"), "'soon'"),
        (("--prometheus", "http://127.0.0.1:9", "--range", "1h", "--end", "noon"), "accepted: 2026-05-01T12:00:00Z"),
        (("--prometheus", "http://127.0.0.1:9", "--range", "1h"), "Prometheus at http://127.0.0.1:9: "),
    ],
)
def test_wrong_input_is_one_line(
    file: str, trace: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    """Exit code 1 or 2 and a line that says what is accepted, before anything runs."""
    code, out, err = run(capsys, "-f", file, *(word.format(trace=trace) for word in arguments))
    assert code in (1, 2)
    assert out == ""
    assert said in err.strip().splitlines()[-1]


@pytest.mark.prometheus
def test_a_history_out_of_prometheus(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten minutes that end in the past, with a gap: their requests, and not those before or after; what is missing is
    told. The end may be a date.
    """
    past = Past(1800)

    def count(second: int) -> float | None:
        return None if 1000 <= second < 1100 else 30 * second + 60 * max(second - 900, 0)

    past.executor("toy", count, 5)
    server = PrometheusServer([], 5, tmp_path / "prometheus")
    server.backfill(past.openmetrics())
    end = past.begin + 1200
    with server:
        arguments = ("-f", file, "--prometheus", server.url, "--range", "10m", "--algorithm", "ipa")
        document = found(capsys, *arguments, "--end", str(end))
        _, _, err = run(capsys, *arguments, "--end", "2026-01-01T00:00:00")
    assert (document["start"], document["seconds"]) == (end - 600, 600)
    assert 80 <= document["unmeasured_seconds"] <= 110
    measured = 300 * 30 + (300 - document["unmeasured_seconds"]) * 90
    assert document["figures"]["ipa"]["requests"] == pytest.approx(measured, rel=0.03)
    assert document["figures"]["ipa"]["decisions"] == 600
    assert "nothing answers 'sum(irate(seldon_api_executor" in err
