"""Charts as pictures, by a real headless Chromium."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from ipa_seldon.errors import ConfigError, PlatformError
from ipa_seldon.runs.charts import every_chart
from ipa_seldon.runs.slides import write_slides
from ipa_seldon.runs.summary import RunResult
from tests.pages import need_chromium


@pytest.mark.browser
def test_every_chart_is_a_slide(three_runs: list[RunResult], tmp_path: Path) -> None:
    """Each is a PNG of 1920 x 1080 in which something is drawn, called after its chart."""
    need_chromium()
    charts = every_chart(three_runs)
    paths = write_slides(charts, tmp_path / "new" / "slides")
    assert [path.stem for path in paths] == [chart.name for chart in charts]
    for path in paths:
        data = path.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", data[16:24]) == (1920, 1080)
        assert len(data) > 20_000  # an empty picture of that size takes some 10,000


def test_no_browser_is_one_line(
    make_run: Callable[..., RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what to install."""
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "absent"))
    with pytest.raises(PlatformError, match=r"^pictures need Chromium or Chrome: apt-get install chromium"):
        write_slides(every_chart([make_run(seconds=20)]), tmp_path)


def test_a_directory_that_cannot_be(make_run: Callable[..., RunResult], tmp_path: Path) -> None:
    """One line that names it, before a browser is started."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file.*: cannot be written"):
        write_slides(every_chart([make_run(seconds=20)]), tmp_path / "file")
