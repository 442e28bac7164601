"""Names follow one scheme, whoever exposes them."""

from __future__ import annotations

import re
from pathlib import Path

from ipa_seldon.gateway.metrics import OF_GATEWAY
from ipa_seldon.metric import Metric
from ipa_seldon.sidecar.metrics import OF_SIDECAR
from ipa_seldon.telemetry.catalogue import OF_ADAPTER, OF_PIPELINE

ALL: tuple[Metric, ...] = (*OF_PIPELINE, *OF_ADAPTER, *OF_GATEWAY, *OF_SIDECAR)
PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
BELONGS = ("namespace", "pipeline", "stage", "variant")
UNITS = {"histogram": r"_seconds", "counter": r"_total", "gauge": r"[a-z]"}


def test_names_follow_one_scheme() -> None:
    """Each once, with our prefix, in base units by its kind, none abbreviated."""
    names = [metric.name for metric in ALL]
    assert len(names) == len(set(names))
    for metric in ALL:
        assert re.fullmatch(r"ipa(_[a-z]+)+", metric.name)
        assert re.search(rf"{UNITS[metric.kind]}$", metric.name)
        assert not re.search(r"_(ms|milliseconds|percent|rps|s)(_|$)", metric.name)
        assert metric.help.endswith(".")


def test_labels_say_what_a_series_belongs_to_first() -> None:
    """Namespace, pipeline, stage and variant in this order, each only with those above it that its source knows; every
    metric of a pipeline has its namespace.
    """
    for metric in ALL:
        placed = [label for label in metric.labels if label in BELONGS]
        assert placed == sorted(placed, key=BELONGS.index) == list(metric.labels[: len(placed)])
    assert all(metric.labels[:2] == BELONGS[:2] for metric in OF_PIPELINE)


def test_the_page_has_every_metric() -> None:
    """Name, type, labels and words of each, in docs/metrics.md."""
    rows = {row.split("`")[1]: row for row in PAGE.read_text().splitlines() if row.startswith("| `ipa_")}
    assert set(rows) == {metric.name for metric in ALL}
    for metric in ALL:
        assert f"| {metric.kind} | {', '.join(metric.labels)} |" in rows[metric.name]
