"""Decisions in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ipa_seldon.errors import LoadReason
from ipa_seldon.plan import Decision, LoadHealth, Outcome
from ipa_seldon.words import decision_words
from tests.telemetry.rounds import Rounds, toy


@pytest.fixture
def decisions(tmp_path: Path) -> list[Decision]:
    """Of the toy pipeline: its first plan, the same again, and one for a load of which the old one carries a part."""
    loop = Rounds(toy(tmp_path))
    return [loop.round(1_700_000_000.0 + 10 * step, [load] * 5) for step, load in enumerate((50.0, 50.0, 150.0))]


def test_what_changed_and_why_is_told(decisions: list[Decision]) -> None:
    """The first plan whole; of a switch the stages that change, from what to what and how long it took; and what bound
    each of them.
    """
    first, same, switch = decisions
    assert decision_words(first) == "first plan: double: light ×1 b1; increment: light ×1 b1 — no limit in the way"
    assert decision_words(same) == "unchanged — no limit in the way"
    told = replace(switch, apply_seconds=0.4)
    assert decision_words(told).startswith("double: light ×1 b1 → light ×2 b1; increment: light ×1 b1 → light ×2 b1")
    assert decision_words(told).endswith(" in 400 ms — no limit in the way")


def test_a_load_that_is_missing_is_told(decisions: list[Decision]) -> None:
    """Why nothing is decided; and a floor that is, with the reason for it."""
    load = LoadHealth(LoadReason.TIMEOUT, "no answer within 5 s", 3, True)
    kept = replace(decisions[2], proposal=None, outcome=Outcome.FALLBACK, load=load)
    assert decision_words(kept) == "fallback, what ran keeps running — no answer within 5 s"
    assert decision_words(replace(decisions[2], outcome=Outcome.FALLBACK)).startswith("fallback, double: light ×1 b1 →")


@pytest.mark.parametrize(
    ("outcome", "error", "words"),
    [
        (Outcome.FAILED, "no server", "failed, what ran keeps running — no server"),
        (Outcome.REFUSED, "Paused: night shift", "refused, what runs keeps running — Paused: night shift"),
        (Outcome.NO_DATA, "", "no load is known, what ran keeps running"),
        (Outcome.FALLBACK, "", "fallback, what ran keeps running"),
        (Outcome.HELD, "", "held, what ran keeps running"),
    ],
)
def test_a_decision_that_changed_nothing_is_told_too(
    decisions: list[Decision], outcome: Outcome, error: str, words: str
) -> None:
    """Whether or not it would have; failures and refusals carry their reason."""
    assert decision_words(replace(decisions[2], proposal=None, outcome=outcome, error=error)) == words
    if error:
        assert decision_words(replace(decisions[2], outcome=outcome, error=error)) == words
