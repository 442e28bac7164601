"""The recogniser's pipeline on made-up capacities."""

from __future__ import annotations

from pathlib import Path

import yaml

from ipa_seldon.demo.runner import RECOGNISE_PIPELINE


def recogniser_on(directory: Path, capacities: str, slo: str) -> Path:
    """Its pipeline file in ``directory``, on ``capacities`` (a CSV's text) at that SLO, and a budget of two cores."""
    document = yaml.safe_load(RECOGNISE_PIPELINE.read_text(encoding="utf-8"))
    spec = document["spec"]
    del spec["profile"]
    spec["repository"] = str((RECOGNISE_PIPELINE.parent / spec["repository"]).resolve())
    spec |= {"capacity": "capacity.csv", "slo": {"latency": slo}, "limits": {"cores": 2}}
    spec["infadapter"] |= {"budget": 2, "min_cores": 1}
    (directory / "capacity.csv").write_text(capacities)
    path = directory / "pipeline.yaml"
    path.write_text(yaml.safe_dump(document))
    return path
