"""The five published pipelines: their files read, their profiles are sound, and they plan as published."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ipa_seldon.bootstrap import build_algorithm
from ipa_seldon.config import Config, read_config
from ipa_seldon.options import allowed_batches, base_allocations
from ipa_seldon.plan import Observation, Status
from tests.scripts import load_script

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "profiling" / "results" / "published"
DOCUMENT = ROOT / "docs" / "published-pipelines.md"
ROUNDING = 1 + 1e-3  # profiles are written with four digits

profiles = load_script("published_profiles")
costs = load_script("published_costs")

EXCEPTIONS: dict[str, dict[tuple[str, str], int]] = {
    "video": {},
    # On 1, 1 and 4 cores these carry the threshold of 1 request/s, as run 85 measured them.
    "audio-qa": {("audio", "s2t-medium"): 1, ("audio", "wav2vec2-base"): 1, ("audio", "wav2vec2-large"): 4},
    "audio-sent": {("audio", "s2t-medium"): 1, ("audio", "wav2vec2-base"): 1, ("audio", "wav2vec2-large"): 4},
    "sum-qa": {
        # Measured faster than 6-6 on 2 cores, it is published with 8 cores where 6-6 has 4: no one rule gives both.
        ("nlp-sum", "distilbart-12-3"): 4,
        # Nothing was published of it; by its size it carries 3 requests/s on one core, the threshold is 5.
        ("nlp-qa", "xlm-roberta-large"): 2,
    },
    "nlp": {
        # Measured at batch 1 they carry 3.1 and 2.4 requests/s on the published cores, below the threshold of 4.
        ("nlp-trans", "opus-mt-fr-en"): 8,
        ("nlp-trans", "opus-mt-tc-big-fr-en"): 16,
        # The published cores are those of sum-qa, whose threshold is 5; here it is 4.
        ("nlp-sum", "distilbart-6-6"): 2,
        ("nlp-sum", "distilbart-12-3"): 2,
        ("nlp-sum", "distilbart-9-6"): 4,
        ("nlp-sum", "distilbart-12-6"): 4,
    },
}
"""Base allocations that differ from the published ones, as ours come out."""

TOLERATED = {("resnet34", 2): 1.33}
"""By (variant, cores). Run 75 measured that batches gain on 2 cores; on 1 nothing was published, so no gain is read."""


@pytest.fixture(scope="module", params=profiles.PIPELINES)
def config(request: pytest.FixtureRequest) -> Config:
    """Each pipeline in turn."""
    read: Config = costs.read_pipeline(request.param)
    return read


@pytest.fixture(scope="module")
def published() -> Any:
    """The published points."""
    return profiles.read_published()


def test_the_committed_profiles_are_what_the_script_makes(config: Config, published: Any) -> None:
    """No figure of a profile was edited by hand."""
    assert (RESULTS / f"{config.name}.csv").read_text(encoding="utf-8") == profiles.profile_text(config.name, published)


def test_the_check_names_stale_profiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``--check`` passes on the committed files; with one of them changed it names that one and exits with 1."""
    assert CliRunner().invoke(profiles.main, ["--check"]).exit_code == 0
    for file in RESULTS.glob("*.csv"):
        text = file.read_text(encoding="utf-8")
        (tmp_path / file.name).write_text(text.replace("yolov5n,1,1,0.088", "yolov5n,1,1,0.087"), encoding="utf-8")
    (tmp_path / "points.csv").write_text((RESULTS / "points.csv").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(profiles, "RESULTS", tmp_path)
    answer = CliRunner().invoke(profiles.main, ["--check"])
    assert answer.exit_code == 1
    assert "out of date: video.csv" in answer.output


def test_every_published_point_is_in_the_profiles(config: Config) -> None:
    """A latency that was published arrives unchanged, except where more cores were measured slower than fewer."""
    with (RESULTS / "points.csv").open(encoding="utf-8", newline="") as file:
        points = list(csv.DictReader(file))
    batches = allowed_batches(config.spec.limits.batch)
    checked = 0
    for stage in config.pipeline.stages:
        for variant in stage.variants:
            for point in (p for p in points if p["variant"] == variant.name and int(p["batch"]) in batches):
                cores, batch, latency = int(point["cores"]), int(point["batch"]), float(point["latency"])
                fewer = [variant.latency(c, batch) for c in variant.cores if c < cores]
                assert variant.latency(cores, batch) == pytest.approx(min([latency, *fewer]), rel=1e-3)
                checked += 1
    assert checked >= sum(len(stage.variants) for stage in config.pipeline.stages) - 3  # three variants have no point


def test_stage_slos_sum_to_the_pipelines(config: Config) -> None:
    """The published end-to-end SLO is the sum over the chain, to the last published digit."""
    assert sum(stage.slo or 0 for stage in config.pipeline.stages) == pytest.approx(config.pipeline.slo, abs=0.011)


def test_versions_are_in_order_of_accuracy(config: Config) -> None:
    """A higher version is a more accurate variant, numbered from 1."""
    for stage in config.pipeline.stages:
        ordered = sorted(stage.variants, key=lambda variant: variant.accuracy)
        assert [variant.version for variant in ordered] == list(range(1, len(ordered) + 1))


def test_profiles_are_sound(config: Config) -> None:
    """More cores are never slower, never worth more per core than a measurement tolerates, and larger batches never
    faster.
    """
    batches = allowed_batches(config.spec.limits.batch)
    for stage in config.pipeline.stages:
        for variant in stage.variants:
            for few, many in pairwise(variant.cores):
                for batch in batches:
                    assert variant.latency(many, batch) <= variant.latency(few, batch)
                    assert variant.throughput(many, batch) >= variant.throughput(few, batch)
            for cores in variant.cores:
                for small, large in pairwise(batches):
                    assert variant.latency(cores, large) > variant.latency(cores, small)


def test_throughput_per_core_falls_with_cores(config: Config) -> None:
    """A core is worth no more in a larger replica, apart from the exceptions listed here."""
    for (stage, variant), profile in config.profiles.items():
        for few, many in pairwise(profile.cores):
            for batch in allowed_batches(config.spec.limits.batch):
                gain = profile.throughput(many, batch) / many / (profile.throughput(few, batch) / few)
                assert gain <= TOLERATED.get((variant, many), ROUNDING), (stage, variant, few, many, batch)


def test_base_allocations_are_the_published_ones(config: Config) -> None:
    """IPA's rule on these profiles gives the published cores, apart from the exceptions listed here."""
    wanted = costs.published_cores()
    differing = {
        (stage.name, variant): cores
        for stage in config.pipeline.stages
        for variant, cores in base_allocations(stage, allowed_batches(config.pipeline.max_batch)).items()
        if cores != wanted[variant]
    }
    assert differing == EXCEPTIONS[config.name]


def test_the_document_has_what_the_script_prints() -> None:
    """Counts and base allocations in docs/published-pipelines.md are those of the files."""
    answer = CliRunner().invoke(costs.main, [])
    assert answer.exit_code == 0, answer.output
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = [row for row in answer.output.splitlines() if row.startswith("| ")]
    assert len(rows) == len(profiles.PIPELINES) + 1
    for row in rows:
        assert row in text


def test_the_document_has_the_fits(published: Any) -> None:
    """The fits in docs/published-pipelines.md are those that the script prints."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for line in profiles.report(published):
        assert line in text


@pytest.mark.parametrize("rate", [0.0, 5.0, 20.0, 40.0])
def test_published_loads_can_be_planned(config: Config, rate: float) -> None:
    """Every load of the published experiments has an optimal plan that keeps the SLO and carries the load."""
    proposal = build_algorithm(config).decide(rate, Observation(time=0.0, arrivals=(), plan={}))
    assert proposal.status is Status.OPTIMAL
    assert proposal.latency <= config.pipeline.slo
    for stage in config.pipeline.stages:
        (chosen,) = proposal.plan[stage.name]
        assert chosen.replicas * stage.variant(chosen.variant).throughput(chosen.cores, chosen.batch) >= rate - 1e-6


def test_video_costs_what_was_published() -> None:
    """Where the published points are the published runs', replicas for the same variants cost the same: at the mean
    of the peaks of the bursty load, 14.6 requests/s, FA2-low and FA2-high are within one core of 2.73 and 5.85.
    """
    config, experiment = costs.read_pipeline("video"), costs.EXPERIMENTS["video"]
    for variants, outcome in (experiment.low, experiment.high):
        one = costs.fixed(config.pipeline, variants)
        ours = costs.outcome(one, build_algorithm(replace(config, pipeline=one)), [14.6])
        assert ours.cost == pytest.approx(outcome.cost, abs=1.0)
        assert ours.accuracy == pytest.approx(outcome.accuracy, abs=0.1)


def test_peaks_are_what_a_perfect_forecast_says() -> None:
    """The peak of the next 20 s, every 10 s; a trace shorter than that has one."""
    assert costs.peaks([1.0] * 15 + [9.0] + [2.0] * 24) == [9.0, 9.0, 2.0]
    assert costs.peaks([3.0, 4.0]) == [4.0]


def test_a_trace_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """``--trace`` with a missing file is one line, not a traceback."""
    answer = CliRunner().invoke(costs.main, ["--trace", str(tmp_path / "absent.csv")])
    assert answer.exit_code == 2
    assert "absent.csv" in answer.output


def test_a_serial_fraction_is_recovered() -> None:
    """Latencies by Amdahl's law give their serial fraction back, without error; flat ones are wholly serial."""
    serial, error = profiles.serial_fraction({c: 0.4 * (0.2 + 0.8 / c) for c in (1, 2, 4, 8)})
    assert (serial, error) == (pytest.approx(0.2), pytest.approx(0.0, abs=1e-9))
    assert profiles.serial_fraction({1: 0.1, 2: 0.1, 4: 0.1})[0] == pytest.approx(1.0)


def test_unmeasured_cores_take_the_cautious_fraction() -> None:
    """From 2 cores, 4 are derived with the larger serial fraction and 1 with the smaller."""
    grid = {(2, 1): profiles.Point(1.0, 1.0, True)}
    made = profiles.on_every_core(grid, (1, 2, 4), profiles.Steps(more=0.5, fewer=0.0))
    assert made[1, 1] == (pytest.approx(2.0), pytest.approx(0.5), False)
    assert made[2, 1] == (1.0, 1.0, True)
    assert made[4, 1] == (pytest.approx(0.625 / 0.75), pytest.approx(0.75 / 0.625), False)


def test_a_set_uses_the_core_that_one_variant_cannot() -> None:
    """The README's example: on as many cores as IPA's plan, a better detector takes the requests that one core of it
    carries within the SLO.
    """
    config = read_config(ROOT / "manifests" / "pipelines" / "video" / "pipeline.yaml")
    nothing = Observation(time=0.0, arrivals=(), plan={})
    one, many = (build_algorithm(config, name).decide(20.0, nothing) for name in ("ipa", "ipa-sets"))
    assert (one.cost, round(one.accuracy, 3)) == (3, 0.319)
    assert (many.cost, round(many.accuracy, 3)) == (3, 0.342)
    assert [(a.variant, a.share) for a in many.plan["crop"]] == [("yolov5s", 0.3), ("yolov5n", 0.7)]
    assert many.status is Status.OPTIMAL
