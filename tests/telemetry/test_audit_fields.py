"""What is said about the fields of an audit log is said about all that it has, and about no others."""

from __future__ import annotations

import json
from pathlib import Path

from ipa_seldon.plan import Outcome
from ipa_seldon.telemetry.audit_fields import ALLOCATION, DECISION, HEAD, LOAD, OUTCOMES, PROPOSAL, WHY
from tests.telemetry.test_audit import log_a_run


def test_every_field_is_described(tmp_path: Path) -> None:
    """Head, decisions, proposals, allocations, and ``why`` of whichever algorithm: the tables have just these."""
    why: set[str] = set()
    for algorithm in ("ipa", "infadapter", "sponge-hv"):
        directory = tmp_path / algorithm
        directory.mkdir()
        # One core a pod, so that several are needed, and some are kept.
        _, path = log_a_run(directory, "max", algorithm=algorithm, sponge={"cores": 1})
        head, *decisions = map(json.loads, path.read_text().splitlines())
        assert set(head) == set(HEAD)
        proposals = [decision["proposal"] for decision in decisions if "proposal" in decision]
        assert len(proposals) > 5
        for decision in decisions:
            assert {*decision, "proposal"} == set(DECISION)
            assert set(decision["load"]) == set(LOAD)
        for proposal in proposals:
            assert set(proposal) == set(PROPOSAL)
            assert all(set(one) == set(ALLOCATION) for stage in proposal["plan"].values() for one in stage)
            why |= set(proposal["why"])
    assert why == set(WHY)


def test_every_outcome_is_described() -> None:
    """One sentence for each way in which a round can end."""
    assert set(OUTCOMES) == set(Outcome)
