"""InfAdapter's service as published: its capacities, what the fit makes of them, and what sets of variants gain."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ipa_seldon.bootstrap import build_algorithm
from ipa_seldon.config import Config, read_capacities, read_config
from ipa_seldon.plan import Observation, Status
from ipa_seldon.profiles import USABLE
from tests.scripts import load_script

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "profiling" / "results" / "published" / "infadapter.csv"
DOCUMENT = ROOT / "docs" / "published-pipelines.md"
ORIGINAL = ROOT / "../shared/data/published/infadapter_capacity.csv"
SLO = 0.75
LINES = {
    "resnet18": (24.446, -6.17),
    "resnet34": (13.044, -1.88),
    "resnet50": (10.321, -3.79),
    "resnet101": (5.090, 0.04),
    "resnet152": (3.815, -2.25),
}
"""The published k and c at 750 ms."""
USABLE_RATES = {
    "resnet18": (34, 73, 151, 229, 308, 386),
    "resnet34": (20, 40, 82, 124, 166, 207),
    "resnet50": (14, 30, 63, 96, 129, 162),
    "resnet101": (8, 16, 32, 48, 65, 81),
    "resnet152": (4, 10, 22, 35, 47, 59),
}
"""The published whole requests/s on 2, 4, 8, 12, 16 and 20 cores."""


@pytest.fixture(scope="module")
def config() -> Config:
    """The pipeline file, with any shares, as published."""
    config = read_config(ROOT / "manifests" / "pipelines" / "resnet" / "pipeline.yaml")
    section = config.spec.infadapter.model_copy(update={"quantum": 0.0})
    spec = config.spec.model_copy(update={"infadapter": section})
    return replace(config, document=config.document.model_copy(update={"spec": spec}))


@pytest.mark.parametrize("variant", LINES)
def test_the_fit_is_the_published_one(variant: str) -> None:
    """Least squares over the five core counts of the table give the published line, and that the published rates to
    less than one request/s.
    """
    capacity = read_capacities(TABLE)[variant, SLO]
    slope, intercept = LINES[variant]
    k, c = capacity.line
    assert k == pytest.approx(slope, abs=6e-4)
    assert c == pytest.approx(intercept, abs=6e-3)
    assert [USABLE * (k * n + c) for n in (2, 4, 8, 12, 16, 20)] == pytest.approx(USABLE_RATES[variant], abs=1)
    for cores in (12, 20):  # not in the table
        assert capacity.usable(cores) == pytest.approx(USABLE * (k * cores + c))


def test_the_table_is_the_published_one() -> None:
    """Row by row; a capacity that was published without the latency it was measured at is marked as derived."""
    if not ORIGINAL.exists():
        pytest.skip(f"{ORIGINAL} is not there")
    with ORIGINAL.open(encoding="utf-8", newline="") as file:
        rows = {(f"resnet{row['ARCH']}", row["CPU"], int(row["SLA"]) / 1e3): row for row in csv.DictReader(file)}
    with TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            published = rows[row["variant"], row["cores"], float(row["slo"])]
            assert row["capacity"] == published["capacity"]
            assert row["source"] == ("measured" if published["p99_latency"] else "derived")


def test_the_document_has_the_fit() -> None:
    """Lines and usable rates in docs/published-pipelines.md are those of the table."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for variant in LINES:
        capacity = read_capacities(TABLE)[variant, SLO]
        k, c = capacity.line
        rates = " / ".join(f"{USABLE * (k * n + c):.1f}" for n in (2, 4, 8, 12, 16, 20))
        assert f"| {variant} | {k:.3f} | {c:+.3f} | {rates} | {capacity.load_time:g} |" in text


def test_the_document_has_the_tails_of_the_physics() -> None:
    """The row of ResNet-152 in docs/simulation.md is what the script prints: what pods take in a simulation at their
    published and at their usable capacities.
    """
    script = load_script("capacity_tails")
    capacity = read_capacities(TABLE)["resnet152", SLO]
    rows = (script.table({"resnet152": capacity}, part, np.empty(0))[0] for part in (1.0, USABLE))
    cells = " | ".join(f"{whole:.2f} / {usable:.2f}" for whole, usable in zip(*rows, strict=True))
    assert f"| resnet152 | {cells} |" in (ROOT / "docs" / "simulation.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("rate", range(0, 381, 20))
def test_every_load_up_to_the_capacity_is_carried(config: Config, rate: int) -> None:
    """Optimal up to 380 requests/s on 20 cores, each pod within its capacity, by what the decision counts on."""
    proposal = build_algorithm(config).decide(rate, Observation(0.0, (), {}))
    (stage,) = config.pipeline.stages
    assert proposal.status is Status.OPTIMAL
    assert proposal.cost <= 20
    for allocation in proposal.plan[stage.name]:
        capacity = stage.variant(allocation.variant).capacity
        assert capacity is not None
        assert allocation.share * rate <= capacity(allocation.cores) * (1 + 1e-9)


def test_sets_gain_over_single_variants(config: Config) -> None:
    """As published: between the loads at which one variant just fits the budget a set is worth more than any alone."""
    (stage,) = config.pipeline.stages
    gains = {}
    for rate in range(20, 381, 20):
        best = build_algorithm(config).decide(rate, Observation(0.0, (), {})).objective
        alone = []
        for variant in stage.variants:
            one = replace(config.pipeline, stages=(replace(stage, variants=(variant,)),))
            proposal = build_algorithm(replace(config, pipeline=one)).decide(rate, Observation(0.0, (), {}))
            if proposal.status is Status.OPTIMAL:
                alone.append(proposal.objective)
        gains[rate] = best - max(alone)
    assert min(gains.values()) > -1e-3  # loading is relative to the longest: alone, a variant's own
    assert sum(gain > 0.005 for gain in gains.values()) >= 5, gains
    assert max(gains.values()) > 0.01


def test_the_service_is_as_published(config: Config) -> None:
    """Accuracies rise with the versions, load times with the networks; the shortest and the longest are published."""
    (stage,) = config.pipeline.stages
    assert [variant.version for variant in stage.variants] == [1, 2, 3, 4, 5]
    for values in ([v.accuracy for v in stage.variants], [v.load_time for v in stage.variants]):
        assert values == sorted(values)
    assert (stage.variants[0].load_time, stage.variants[-1].load_time) == (6.44, 8.52)
    assert (config.pipeline.slo, config.spec.infadapter.budget, config.spec.interval) == (SLO, 20, 30)
