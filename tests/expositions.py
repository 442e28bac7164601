"""What a scrape must look like: read by Prometheus' own client, checked by its own tool, as the catalogue has it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

from prometheus_client import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from ipa_seldon.metric import Metric
from tests.prometheus_server import binary

SUFFIXES = {
    "counter": {"_total"},
    "gauge": {""},
    "histogram": {"_bucket", "_count", "_sum"},
}
"""Of a family's samples."""


def families(text: str) -> dict[str, Family]:
    """By the name that the catalogue has: a counter's ends in ``_total``."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in text_string_to_metric_families(text)
    }


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Value by name, and by the values of the labels in the order of their names."""
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def assert_catalogued(text: str, catalogue: Iterable[Metric]) -> None:
    """Every family has the type, words and labels that the catalogue says, and none is missing there; promtool has
    nothing to say. No series comes twice.
    """
    known = {metric.name: metric for metric in catalogue}
    found = families(text)
    assert set(found) <= set(known)
    for name, family in found.items():
        metric = known[name]
        assert (family.type, family.documentation) == (metric.kind, metric.help), name
        for sample in family.samples:
            assert sample.name.removeprefix(family.name) in SUFFIXES[metric.kind]
            assert set(sample.labels) - {"le"} == set(metric.labels)
    series = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(series) == len(set(series))
    checked = subprocess.run(
        [binary("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
