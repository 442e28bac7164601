"""Traces: what is read, and what a wrong line says."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest

from ipa_seldon.errors import ConfigError
from ipa_seldon.simulation.network import DEVIATION, LEAST, MEAN, MEMORY, MOST, SLOW, pattern_bandwidth, sizes_of
from ipa_seldon.traces import read_bandwidth, read_network, read_trace, window

BUS = Path(__file__).parents[1] / "../shared/data/network/4g-bus.csv"


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


def test_a_bandwidth_holds_until_the_next_row(tmp_path: Path) -> None:
    """Columns are found by name; a second that is skipped is as the one before it; the first row is second 0."""
    trace = tmp_path / "network.csv"
    trace.write_text("bytes_per_second,note,second\n5e6,x,7\n0,y,8\n3.5,z,11\n1,,12\n")
    assert read_bandwidth(trace).tolist() == [5e6, 0.0, 0.0, 0.0, 3.5, 1.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ": the trace is empty; accepted: CSV with 'second,bytes_per_second'"),
        ("1\n2\n", ", line 1: columns 1; accepted: a header with 'second' and 'bytes_per_second'"),
        ("second,rps\n0,1\n", ", line 1: columns second, rps; accepted: a header with"),
        ("second,bytes_per_second\n", ": the trace has a header but no rows"),
        ("second,bytes_per_second\n0,1\n1,fast\n", ", line 3, bytes_per_second: 'fast'; accepted: a number >= 0"),
        ("second,bytes_per_second\n0,1\n1,-1\n", ", line 3, bytes_per_second: '-1'; accepted: a number >= 0"),
        ("second,bytes_per_second\nzero,1\n", ", line 2, second: 'zero'; accepted: a number >= 0"),
        ("second,bytes_per_second\n3,1\n2,1\n", ", line 3: second '2'; accepted: whole seconds, rising"),
    ],
)
def test_a_wrong_network_trace_is_named(tmp_path: Path, text: str, said: str) -> None:
    """One line with the file, the line, the column, what it has and what is accepted."""
    trace = tmp_path / "network.csv"
    trace.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_bandwidth(trace)
    assert str(caught.value).startswith(f"{trace}{said}")
    assert "\n" not in str(caught.value)


def test_a_network_is_a_file_or_a_pattern(tmp_path: Path) -> None:
    """A file is read, a name is a pattern as long as the load, nothing is none; the sizes come along."""
    trace = tmp_path / "network.csv"
    trace.write_text("second,bytes_per_second\n0,5000000\n")
    of_file, of_pattern = (read_network(source, "1KB-2KB", 90, 3) for source in (str(trace), "4g-bus"))
    assert of_file is not None
    assert of_pattern is not None
    assert of_file.bandwidth.tolist() == [5e6]
    assert np.array_equal(of_pattern.bandwidth, pattern_bandwidth("4g-bus", 90, 3))
    assert of_file.sizes == of_pattern.sizes == sizes_of("1KB-2KB")
    assert read_network(None, None, 90, 3) is None
    with pytest.raises(ConfigError, match=r"'/nowhere.csv': accepted: a CSV file .* or one of 4g-bus"):
        read_network("/nowhere.csv", "1KB", 90, 3)


def test_the_statistics_of_the_bus_are_those_of_its_trace() -> None:
    """What the patterns are made of is what the trace has, and its distribution close to normal, as is stated."""
    if not BUS.exists():
        pytest.skip(f"{BUS} is not there")
    bandwidth = read_bandwidth(BUS)
    found = (bandwidth.mean(), bandwidth.std(), bandwidth.min(), bandwidth.max())
    assert found == pytest.approx((MEAN, DEVIATION, LEAST, MOST), rel=5e-4)
    standard = (bandwidth - MEAN) / DEVIATION
    assert [np.mean(standard**3), np.mean(standard**4)] == pytest.approx([0.31, 2.8], abs=0.03)
    lags = np.arange(1, 21)
    correlations = np.array([np.sum(standard[:-lag] * standard[lag:]) / np.sum(standard**2) for lag in lags])
    assert np.abs(correlations - SLOW * MEMORY**lags).mean() < 0.05
