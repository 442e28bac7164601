"""Work in processes: each item as it ends, how far it is, and what went wrong with it."""

from __future__ import annotations

from multiprocessing import active_children

import pytest

from ipa_seldon.errors import ConfigError
from ipa_seldon.experiments.processes import Note, in_processes, words_of


def halved(number: int, note: Note) -> float:
    """Half of an even number; an odd one is refused."""
    note(0.5)
    if number % 2:
        raise ConfigError(f"{number}: accepted: even")
    return number / 2


def test_each_item_ends_well_or_not_and_tells_how_far_it_is() -> None:
    """Results and faults by item, whatever the number of processes; nothing is left of them."""
    heard: list[tuple[float, ...]] = []
    before = active_children()
    ended = dict(in_processes(halved, [2, 3, 4], 2, lambda progress: heard.append(tuple(progress))))
    assert (ended[2].result(), ended[4].result()) == (1.0, 2.0)
    error = ended[3].exception()
    assert error is not None
    assert words_of(error) == "3: accepted: even"
    assert heard[-1] == (0.5, 0.5, 0.5)
    assert active_children() == before
    assert list(in_processes(halved, [], 2)) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConfigError("one\ntwo"), "one"),
        (ValueError("a fault\nof ours"), "ValueError: a fault"),
        (KeyError(), "KeyError: "),
    ],
)
def test_what_ended_an_item_is_one_line(error: Exception, words: str) -> None:
    """Faults of ours with their kind."""
    assert words_of(error) == words
