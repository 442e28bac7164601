"""The drawing of forecasters side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("plotly", reason="the extra `report` is not installed")

from ipa_seldon.errors import ConfigError, PlatformError
from ipa_seldon.forecasters.evaluate import Step
from ipa_seldon.forecasters.score import forecast_error
from ipa_seldon.reports.forecasts import HEIGHT, WIDTH, figure, write_drawing
from tests.pages import Page, need_chromium, table

TABLE = (("forecaster", "sMAPE %"), (("high", "20.0"), ("<b>low", "30.0")))
WORDS = ("Forecasters", "load.csv: 10 s of load")


def steps(*rates: float) -> list[Step]:
    """What was forecast every half hour for a peak of 10, judged at .9."""
    return [Step(1800 * step, rate, 10.0, forecast_error(10.0, rate, 0.9)) for step, rate in enumerate(rates)]


COMPARED = {"high": steps(20.0, 20.0, 10.0, 10.0), "<b>low": steps(10.0, 0.0, 0.0, 10.0)}


def test_it_shows_load_forecasts_errors_and_the_loss_of_the_last_hour() -> None:
    """One curve of what came; of every forecaster the rates, how far they are off, and the mean of two half hours."""
    curves = [(curve.name, list(curve.y)) for curve in figure(COMPARED).data]
    assert curves == [
        ("load", [10.0] * 4),
        ("high", [20.0, 20.0, 10.0, 10.0]),
        ("high", [10.0, 10.0, 0.0, 0.0]),
        ("high", pytest.approx([1.0, 1.0, 0.5, 0.0])),
        ("&lt;b&gt;low", [10.0, 0.0, 0.0, 10.0]),
        ("&lt;b&gt;low", [0.0, -10.0, -10.0, 0.0]),
        ("&lt;b&gt;low", pytest.approx([0.0, 4.5, 9.0, 4.5])),
    ]


def test_the_page_needs_nothing_else_and_is_the_same_again(tmp_path: Path) -> None:
    """Drawing and table in one file without a link, names as text; the same figures give the same file."""
    path, again = tmp_path / "forecasts.html", tmp_path / "again.html"
    for file in (path, again):
        write_drawing(COMPARED, TABLE, WORDS, file)
    html = path.read_text(encoding="utf-8")
    assert html == again.read_text(encoding="utf-8")
    page = Page(html)
    assert not any({"src", "href"} & set(attributes) for _, attributes in page.tags)
    assert sum("plotly.js v" in text for text in page.scripts.values()) == 1
    assert table(html, "<table>") == [list(TABLE[0]), *map(list, TABLE[1])]
    assert [attributes.get("class") for tag, attributes in page.tags if tag == "td"] == [None, "number"] * 2
    assert len(page.charts()["forecasts"]["data"]) == 7


@pytest.mark.browser
def test_a_picture_is_as_wide_as_a_page(tmp_path: Path) -> None:
    """A PNG, at twice the pixels."""
    need_chromium()
    path = tmp_path / "forecasts.png"
    write_drawing(COMPARED, TABLE, WORDS, path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert (int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")) == (2 * WIDTH, 2 * HEIGHT)


def test_what_cannot_be_written_or_drawn_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is a file, and a machine without a browser."""
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "nothing"))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"plot\.html: cannot be written: [^\n]+$"):
        write_drawing(COMPARED, TABLE, WORDS, tmp_path / "file" / "plot.html")
    with pytest.raises(PlatformError, match=r"^pictures need Chromium or Chrome: [^\n]+$"):
        write_drawing(COMPARED, TABLE, WORDS, tmp_path / "plot.png")
