"""What a scrape of a hundred pipelines takes, and what each round does for it: put its series in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ipa_seldon.config import Config, read_config
from ipa_seldon.plan import Allocation, Decision, Observation, Outcome, Plan, Proposal, Status, allocated_cores
from ipa_seldon.telemetry.metrics import AdapterMetrics

PIPELINES = 100
BAR_MS = 50
"""Of a scrape, on the project's 2-core reference machine; printed, not asserted."""
NLP = Path(__file__).parents[2] / "manifests" / "pipelines" / "nlp" / "pipeline.yaml"


def adapted(config: Config) -> tuple[AdapterMetrics, Decision]:
    """A hundred pipelines after a round each, every stage running all of its variants; and such a round."""
    plan: Plan = {
        stage.name: tuple(Allocation(variant.name, 2, 1, 4, 1 / len(stage.variants)) for variant in stage.variants)
        for stage in config.pipeline.stages
    }
    proposal = Proposal(plan, Status.OPTIMAL, 1.0, 0.5, allocated_cores(plan), 0.2, 20.0, "labels", {"binding": "slo"})
    decision = Decision(Observation(100.0, (10.0,) * 150, plan), Outcome.APPLIED, 12.0, proposal, "", 0.01, 0.1, 0.005)
    metrics = AdapterMetrics("models")
    for number in range(PIPELINES):
        metadata = config.document.metadata.model_copy(update={"name": f"pipeline-{number}"})
        document = config.document.model_copy(update={"metadata": metadata})
        metrics.add(Config(config.path, document, config.profiles, config.pipeline))
        metrics.decided(f"pipeline-{number}", decision, 0.01)
    return metrics, decision


@pytest.fixture(scope="module")
def subject() -> tuple[AdapterMetrics, Decision]:
    """Made once."""
    return adapted(read_config(NLP))


def bench_scrape(benchmark: BenchmarkFixture, subject: tuple[AdapterMetrics, Decision]) -> None:
    """The whole exposition."""
    text = benchmark(subject[0].exposition)
    benchmark.extra_info |= {"bar_ms": BAR_MS, "bytes": len(text), "series": text.count(b'namespace="models"')}


def bench_round(benchmark: BenchmarkFixture, subject: tuple[AdapterMetrics, Decision]) -> None:
    """What one round of one pipeline adds to its decision."""
    metrics, decision = subject
    benchmark(metrics.decided, "pipeline-7", decision, 0.01)
