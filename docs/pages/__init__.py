"""Reference pages, made of the code."""

from __future__ import annotations

from docs.pages.audit_log import audit_log
from docs.pages.commands import commands
from docs.pages.metrics import metrics
from docs.pages.pipeline_file import pipeline_file


def pages() -> dict[str, str]:
    """File name in docs/ -> content."""
    return {
        "reference.md": commands(),
        "pipeline-file.md": pipeline_file(),
        "metrics.md": metrics(),
        "audit-log.md": audit_log(),
    }
