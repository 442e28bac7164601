"""Whether the weights of a model repository are those that the accuracies of its pipeline file are about."""

from __future__ import annotations

from pathlib import Path

from ipa_seldon.pipeline import Pipeline
from ipa_seldon.weights.record import read_record

ELSEWHERE = {"random": "random", "folder": "from a local directory"}


def doubt(pipeline: Pipeline, repository: Path | None) -> str | None:
    """Where weights are random or one's own, a line that says so: what the file states of accuracy is then published,
    and was not measured with these. None where there is nothing to say, or no record.
    """
    if repository is None:
        return None
    found: dict[str, list[str]] = {}
    for stage in pipeline.stages:
        for variant in stage.variants:
            record = read_record(repository / stage.name / str(variant.version))
            if record and record.origin.source in ELSEWHERE:
                found.setdefault(ELSEWHERE[record.origin.source], []).append(variant.name)
    if not found:
        return None
    whence = "; ".join(f"{origin}: {', '.join(dict.fromkeys(names))}" for origin, names in found.items())
    return f"accuracies are published figures, not measured with the weights in use ({whence})"
