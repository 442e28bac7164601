"""The seeded pictures."""

import io

import numpy as np
from PIL import Image

from ipa_seldon.demo.snippets import HEIGHT, LINE_HEIGHT, LINE_WIDTH, WIDTH, cuttings, matched, snippet


def test_the_same_seed_and_index_give_the_same_picture() -> None:
    """A picture depends on nothing but its seed and index."""
    first = [snippet(1, index) for index in range(5)]
    snippet.cache_clear()
    assert [snippet(1, index) for index in range(5)] == first


def test_other_seeds_and_indices_give_other_pictures() -> None:
    """No two of many pictures are alike, so a load does not repeat itself."""
    pictures = {snippet(seed, index).png for seed in (1, 2) for index in range(20)}
    assert len(pictures) == 40


def test_pictures_are_grey_pngs_of_one_size() -> None:
    """Every picture is a grey PNG of WIDTH x HEIGHT that is not blank."""
    for index in range(10):
        picture = Image.open(io.BytesIO(snippet(3, index).png))
        assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (WIDTH, HEIGHT))
        assert np.asarray(picture).std() > 1


def test_text_is_one_or_two_lines_without_stray_spaces() -> None:
    """What a picture says can be compared exactly with what was read."""
    for index in range(50):
        lines = snippet(4, index).lines
        assert len(lines) in (1, 2)
        assert all(line and line == " ".join(line.split()) and line.isascii() for line in lines)


def test_matched_counts_exactly_read_lines() -> None:
    """Only exact lines count, in any order, each as often as it is expected; empty strings do no harm."""
    assert matched(("one", "two"), ["one", "two", "", ""]) == 2
    assert matched(("one", "two"), ["two", "One"]) == 1
    assert matched(("one", "one"), ["one"]) == 1
    assert matched(("one",), ["one", "one", "more"]) == 1
    assert matched(("one",), []) == 0


def test_cuttings_are_the_lines_of_the_picture() -> None:
    """A grey PNG for each line of the snippet of that seed and index, always the same, of one height, not blank; a
    longer line is wider.
    """
    cut = [cuttings(5, index) for index in range(40)]
    cuttings.cache_clear()
    assert [cuttings(5, index) for index in range(40)] == cut
    longest, shortest = 0.0, float(LINE_WIDTH)
    for index, one in enumerate(cut):
        assert one.lines == snippet(5, index).lines
        assert len(one.pngs) == len(one.lines)
        for png, line in zip(one.pngs, one.lines, strict=True):
            picture = Image.open(io.BytesIO(png))
            assert (picture.format, picture.mode, picture.height) == ("PNG", "L", LINE_HEIGHT)
            assert 0 < picture.width <= LINE_WIDTH
            assert np.asarray(picture).std() > 1
            if len(line) > 20:
                shortest = min(shortest, picture.width)
            if len(line) < 6:
                longest = max(longest, picture.width)
    assert 0 < longest < shortest < LINE_WIDTH
