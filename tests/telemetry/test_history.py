"""What is kept of a loop's last rounds."""

from __future__ import annotations

from pathlib import Path

from ipa_seldon.bootstrap import replay_decisions
from ipa_seldon.telemetry.audit import read_audit_log
from ipa_seldon.telemetry.history import KEPT, POINTS, SPAN, History
from tests.telemetry.rounds import UNKNOWN, Rounds, toy

START = 1_700_000_000.0


def test_load_is_counted_once_though_rounds_overlap(tmp_path: Path) -> None:
    """Each round looks back over seconds that an earlier one saw: every second has one count, the latest known, at its
    own time; a second nobody counted is a gap.
    """
    config = toy(tmp_path)
    history = History(config, START)
    loop = Rounds(config, history)
    loop.round(START + 3.4, [1.0, 2.0, UNKNOWN[0]])
    loop.round(START + 7.9, [3.0, UNKNOWN[0], 5.0, 6.0])
    past = history.past()
    assert past.start == START
    assert past.load == (1.0, 2.0, None, 3.0, None, 5.0, 6.0)
    loop.round(START + 8.0, [2.5, UNKNOWN[0], 4.0, 5.5, 6.0, 7.0])
    assert history.past().load == (1.0, 2.0, 2.5, 3.0, 4.0, 5.5, 6.0, 7.0)


def test_before_the_first_round_there_is_nothing(tmp_path: Path) -> None:
    """Neither load nor decisions, and no error; the audit log is its head."""
    history = History(toy(tmp_path), START)
    past = history.past()
    assert (past.last, past.load, past.forecasts) == (None, (), ())
    assert len(list(history.audit_log())) == 1


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    """Whatever number of rounds, and even when the clock leaps a day ahead and back."""
    config = toy(tmp_path)
    history = History(config, START)
    loop = Rounds(config, history)
    times = [START + 0.5 * step for step in range(3 * POINTS)]
    for now in [*times, times[-1] + 86400, *times[-5:]]:
        loop.round(now, [20.0] * 5)
    past = history.past()
    assert len(past.decisions) == KEPT
    assert past.decisions[-1][0] == 3 * POINTS + 5
    assert len(past.forecasts) <= POINTS
    assert len(past.load) <= SPAN
    assert past.last is not None
    assert past.last.observation.time == times[-1]


def test_forecasts_go_with_the_load_they_were_for(tmp_path: Path) -> None:
    """Those older than the load that is kept are forgotten; each says what was forecast, what its plan carries, and
    whether that replaced another.
    """
    config = toy(tmp_path)
    history = History(config, START)
    loop = Rounds(config, history)
    loop.round(START, [10.0] * 5)
    loop.round(START + SPAN, UNKNOWN)
    last = loop.round(START + SPAN + 1, [300.0] * 5)
    first, second = history.past().forecasts
    assert (first.rate, first.served, first.switched) == (None, None, False)
    assert last.proposal is not None
    assert (second.rate, second.served, second.switched) == (300.0, last.proposal.served, True)


def test_the_decisions_that_are_held_are_an_audit_log(tmp_path: Path) -> None:
    """Written to a file it is read, decides the same again, and numbers decisions as the whole log would."""
    config = toy(tmp_path)
    history = History(config, START, "fa2-low")
    loop = Rounds(config, history)
    for step in range(KEPT + 10):
        loop.platform.observe_fails = step == KEPT
        loop.round(START + 10 * step, [5.0 + step % 7] * 10 if step % 9 else UNKNOWN)
    lines = list(history.audit_log())
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(lines) + "\n")
    again, algorithm, decisions = read_audit_log(path)
    assert (again.name, algorithm, len(decisions)) == ("toy", "fa2-low", KEPT)
    assert '"tick": 10,' in lines[1]
    assert str(decisions[-1]) == str(history.past().last)
    assert replay_decisions(again, "ipa", decisions) == []
