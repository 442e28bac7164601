"""The Grafana dashboards, as code: ``make docs`` writes them to ``manifests/monitoring/dashboards``."""

from __future__ import annotations

import json

from docs.dashboards.fleet import fleet
from docs.dashboards.health import health
from docs.dashboards.panels import FLEET, HEALTH, PIPELINE
from docs.dashboards.pipeline import pipeline


def dashboards() -> dict[str, str]:
    """File name -> JSON of every dashboard."""
    documents = {FLEET: fleet(), PIPELINE: pipeline(), HEALTH: health()}
    return {f"{uid}.json": json.dumps(document, indent=2) + "\n" for uid, document in documents.items()}
