"""``ipa-seldon forecast``: what it prints, and what it refuses."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest

from ipa_seldon.cli import EXIT_USAGE, main
from ipa_seldon.forecasters import AUTO, FORECASTERS
from tests.pages import Page, table


@pytest.fixture
def trace(tmp_path: Path) -> str:
    """Ten minutes of a seeded Poisson load."""
    path = tmp_path / "load.txt"
    path.write_text("".join(f"{rate}\n" for rate in np.random.default_rng(0).poisson(80, 600)))
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of ``ipa-seldon forecast``."""
    with pytest.raises(SystemExit) as ended:
        main(["forecast", *arguments])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_compare_prints_every_forecaster(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON has the measures of every forecaster of the table."""
    code, out, _ = run(capsys, "--trace", trace, "--compare", "-o", "json")
    result = json.loads(out)
    assert code == 0
    assert list(result["forecasters"]) == [*FORECASTERS, AUTO]
    for measured in result["forecasters"].values():
        assert measured["steps"] == 47
        assert {"smape", "steps_under", "coverage", "pinball_loss", "milliseconds_median"} <= set(measured)
        assert measured["steps_under"] + measured["coverage"] == pytest.approx(100)


def test_the_table_names_the_chosen_forecasters(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One row for each --forecaster, none for the others."""
    _, out, _ = run(capsys, "--trace", trace, "--forecaster", "gate", "--forecaster", "max")
    assert "gate" in out
    assert "pinball" in out
    assert "ewma" not in out


def test_a_plot_is_drawn_beside_the_table(trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same table is printed and in the page, whose folder is made, with a curve for every forecaster."""
    path = tmp_path / "new" / "plot.html"
    code, out, _ = run(capsys, "--trace", trace, "--forecaster", "gate", "--forecaster", "max", "--plot", str(path))
    assert code == 0
    html = path.read_text(encoding="utf-8")
    for name, *cells in table(html, "<table>")[1:]:
        assert [name, *cells] in [line.split() for line in out.splitlines()]
    assert {curve["name"] for curve in Page(html).charts()["forecasts"]["data"]} == {"load", "gate", "max"}


def test_damping_days_limit_and_holes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Damping divides the rates; days, limits and holes leave seconds out, and the output says how many."""
    path = tmp_path / "load.txt.xz"
    path.write_bytes(lzma.compress(b"7\n" * 86_400 + b"80\n" * 400 + b"0\n" * 100 + b"80\n" * 9000))
    common = ("--trace", str(path), "--days", "2", "--limit", "900", "--forecaster", "last", "--quantile", "none")
    _, out, _ = run(capsys, *common, "--damping", "8", "-o", "json")
    result = json.loads(out)
    assert (result["seconds"], result["hole_seconds"]) == (800, 100)
    assert result["forecasters"]["last"]["next_rate"] == 10.0
    assert result["forecasters"]["last"]["smape"] == 0.0
    _, out, _ = run(capsys, *common, "--keep-holes", "-o", "json")
    assert json.loads(out)["forecasters"]["last"]["smape"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--forecaster", "prophet"), "'prophet'"),
        (("--quantile", "1.5"), "forecaster.quantile"),
        (("--quantile", "high"), "'high'"),
        (("--days", "0"), "'0'"),
        (("--days", "3-1"), "'3-1'"),
        (("--days", "2"), "0 s of load"),
        (("--limit", "100"), "100 s of load"),
        (("--damping", "0"), "--damping"),
        (("--window", "5"), "forecaster.window"),
        (("--trace", "/nowhere.txt"), "/nowhere.txt"),
        (("--plot", "plot.svg"), "accepted: a file that ends in .html, .png"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(
    trace: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    """No traceback: the option or key, its value, what is accepted."""
    code, out, err = run(capsys, "--trace", trace, *arguments)
    assert code == EXIT_USAGE
    assert out == ""
    assert said in err
    assert "Traceback" not in err
