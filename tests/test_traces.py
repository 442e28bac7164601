"""Traces: what is read, and what a wrong line says."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from ipa_seldon.errors import ConfigError
from ipa_seldon.traces import read_trace, window


def test_one_number_a_line(tmp_path: Path) -> None:
    """A plain trace is one rate a line; trailing blank lines do not count."""
    trace = tmp_path / "trace.txt"
    trace.write_text("3\n0\n4.5\n\n")
    assert read_trace(trace) == [3.0, 0.0, 4.5]


def test_compressed_equals_plain(tmp_path: Path) -> None:
    """An xz trace reads as its text does, CSV included."""
    for name, text in (("a.txt", "1\n2\n"), ("b.csv", "second,rps\n0,1\n1,2\n")):
        packed = tmp_path / f"{name}.xz"
        packed.write_bytes(lzma.compress(text.encode()))
        assert read_trace(str(packed)) == [1.0, 2.0]


def test_csv_may_start_anywhere_skip_seconds_and_have_more_columns(tmp_path: Path) -> None:
    """Columns are found by name; a skipped second is a 0; the first row is the first second."""
    trace = tmp_path / "trace.csv"
    trace.write_text("note, rps, second\nx,5,100\ny,6,101\nz,7,104\n")
    assert read_trace(trace) == [5.0, 6.0, 0.0, 0.0, 7.0]


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("1\ntwo\n3\n", "line 2", "'two'"),
        ("1\n\n3\n", "line 2", "''"),
        ("1\n-2\n", "line 2", "'-2'"),
        ("1\nnan\n", "line 2", "'nan'"),
        ("1\ninf\n", "line 2", "'inf'"),
        ("", "", "empty"),
        ("second,rate\n0,1\n", "line 1", "'rps'"),
        ("second,rps\n", "", "no rows"),
        ("second,rps\n0,1\n1\n", "line 3", "1 columns"),
        ("second,rps\n0,1\n1,x\n", "line 3", "'x'"),
        ("second,rps\n5,1\n5,2\n", "line 3", "'5'"),
        ("second,rps\n5,1\n5.5,2\n", "line 3", "'5.5'"),
        ("second,rps\n0,1\n99999999999,2\n", "line 3", "within a day"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, place: str, said: str) -> None:
    """What cannot be used is one line with the file, the line and the value."""
    trace = tmp_path / "trace.txt"
    trace.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_trace(trace)
    message = str(caught.value)
    assert str(trace) in message
    assert place in message
    assert said in message
    assert "\n" not in message


def test_a_file_that_is_none_or_not_text_is_named(tmp_path: Path) -> None:
    """A missing file, a directory, binary content and broken compression are ConfigErrors naming the file."""
    binary, broken = tmp_path / "binary.txt", tmp_path / "broken.xz"
    binary.write_bytes(b"\xff\xfe\x00")
    broken.write_bytes(lzma.compress(b"1\n2\n")[:-8])
    for path in (tmp_path / "missing.txt", tmp_path, binary, broken):
        with pytest.raises(ConfigError, match=path.name):
            read_trace(path)


def test_a_window_of_a_trace() -> None:
    """From a second on, so many seconds, or all that are left; a start beyond the end is told."""
    trace = [float(k) for k in range(10)]
    assert window(trace, 0.0, None).tolist() == trace
    assert window(trace, 3.0, 2.0).tolist() == [3.0, 4.0]
    assert window(trace, 8.0, 60.0).tolist() == [8.0, 9.0]
    with pytest.raises(ConfigError, match="start: 10: accepted: below the 10 seconds of the trace"):
        window(trace, 10.0, 1.0)
