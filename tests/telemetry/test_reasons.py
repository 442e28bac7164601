"""Labels' values: every real reason has a word of its own, and whatever is said besides has one in common."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ipa_seldon.algorithms import ALGORITHMS
from ipa_seldon.plan import Allocation, Decision, Observation, Outcome, Proposal, Status
from ipa_seldon.platforms.seldon.platform import AUTOSCALED
from ipa_seldon.telemetry.audit import read_audit_log
from ipa_seldon.telemetry.reasons import (
    CONSTRAINTS,
    OTHER,
    REASONS,
    REFUSALS,
    constraint_of,
    direction_of,
    reason_of,
    refusal_reason,
)
from tests.telemetry.test_audit import log_a_run

PACKAGE = Path(__file__).parents[2] / "ipa_seldon"
PLAN = {"a": (Allocation("x", 2, 2, 1),)}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_binds_by_a_known_constraint(tmp_path: Path, algorithm: str) -> None:
    """On a load that comes and goes, beyond what any plan carries too, no reason has to be called by no name."""
    _, path = log_a_run(tmp_path, "max", algorithm=algorithm, limits={"batch": 8, "replicas": 2})
    decisions = read_audit_log(path)[2]
    for decision in decisions:
        assert constraint_of(decision) in (*CONSTRAINTS[:-1], "")
        assert reason_of(decision) in REASONS[decision.outcome]
        # A plan that never changes breaks promises though nothing keeps a better one out.
        assert reason_of(decision) != OTHER or not constraint_of(decision)
    assert len({reason_of(decision) for decision in decisions}) >= 4


def test_every_damping_has_a_reason(tmp_path: Path) -> None:
    """A cool-down and a gain that is too small are told apart."""
    held = set()
    for alpha in (2, 2000):
        _, path = log_a_run(tmp_path, "last", steps=60, objective={"alpha": alpha})
        held |= {reason_of(d) for d in read_audit_log(path)[2] if d.outcome is Outcome.HELD}
    assert held <= {"cooldown", "gain"}
    assert "cooldown" in held


def test_every_refusal_has_a_reason() -> None:
    """All that the platform of Seldon Core can say begins with a word that is known here."""
    sources = [path.read_text() for path in (*(PACKAGE / "specs").glob("*.py"), *PACKAGE.glob("platforms/**/*.py"))]
    said = {word for text in sources for word in re.findall(r'(?:Refusal\(|RefusedError\(f?)\s*"([^:"{]+)[:"]', text)}
    assert said >= {"Paused", "Reverted"}
    assert said | {AUTOSCALED} <= set(REFUSALS)


def test_words_that_nobody_knows_are_one_reason() -> None:
    """However many different things are said, labels take no new values."""
    proposal = Proposal(PLAN, Status.DEGRADED, 0.0, 0.5, 4, 0.1, 5.0, "labels", {"binding": "moon"}, "tides", held=True)
    decision = Decision(Observation(0.0, (1.0,), PLAN), Outcome.DEGRADED, 5.0, proposal, "apply: Moon: full")
    assert constraint_of(decision) == OTHER
    for outcome in (Outcome.DEGRADED, Outcome.HELD, Outcome.REFUSED):
        assert reason_of(replace(decision, outcome=outcome)) == OTHER
    assert refusal_reason("Moon") == OTHER


@pytest.mark.parametrize(("cores", "direction"), [(1, "down"), (2, "level"), (3, "up")])
def test_a_switch_goes_where_the_cores_go(cores: int, direction: str) -> None:
    """Whatever else changes."""
    after = {"a": (Allocation("y", 2, cores, 8),)}
    proposal = Proposal(after, Status.OPTIMAL, 0.0, 0.5, 2 * cores, 0.1, 5.0, "labels")
    assert direction_of(Decision(Observation(0.0, (1.0,), PLAN), Outcome.APPLIED, 5.0, proposal)) == direction
