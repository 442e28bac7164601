"""The audit log."""

from __future__ import annotations

from docs.pages.markdown import ORIGIN, table
from ipa_seldon.telemetry.audit_fields import ALLOCATION, DECISION, HEAD, LOAD, OUTCOMES, PROPOSAL, WHY

LEAD = f"""# The audit log

{ORIGIN} JSON lines, written by `ipa-seldon run --audit`, the adapter of a cluster and the demo. The first line
describes the configuration, each of the others is one decision. A log is complete: `ipa-seldon replay` decides it again
from nothing else. Times are seconds since the epoch, durations seconds, loads requests/s. Fields are never renamed.
"""
SECTIONS = {
    "The first line": HEAD,
    "A decision": DECISION,
    "load": LOAD,
    "proposal": PROPOSAL,
    "why": WHY,
    "An allocation": ALLOCATION,
}


def audit_log() -> str:
    """Every field of a log, by the object that it is in; and the outcomes."""
    parts = [LEAD]
    for title, fields in SECTIONS.items():
        rows = [(f"`{name}`", field.type, field.meaning) for name, field in fields.items()]
        parts.append(f"## {title}\n\n{table(('field', 'type', 'meaning'), rows)}")
    outcomes = [(f"`{outcome}`", words) for outcome, words in OUTCOMES.items()]
    parts.append(f"## Outcomes\n\n{table(('outcome', 'what it means'), outcomes)}")
    return "\n".join(parts)
