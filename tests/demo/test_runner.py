"""What a demo shows by default, and how much load it replays: before anything is served."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from ipa_seldon.bootstrap import build_algorithm, repository_of
from ipa_seldon.config import read_config, read_yaml
from ipa_seldon.demo.loads import Shape
from ipa_seldon.demo.runner import (
    PEAK,
    RECOGNISE_PIPELINE,
    SPONGE_PIPELINE,
    TEXT_PIPELINE,
    Demo,
    Subject,
    fill,
    pipeline_named,
    pipeline_of,
)
from ipa_seldon.errors import ConfigError, PluginError
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.plan import Observation, Status
from ipa_seldon.simulation.network import pattern_bandwidth
from ipa_seldon.weights.catalogue import CATALOGUE
from ipa_seldon.weights.record import read_record
from tests.demo.recogniser import recogniser_on
from tests.weights.repositories import published, tiny_pipeline

CAPACITIES = """variant,cores,slo,capacity,load_time
v6-160,1,0.5,80,1
v6-224,1,0.5,60,1
v6-288,1,0.5,50,1
v6-384,1,0.5,40,1
"""


@pytest.fixture
def recognise(tmp_path: Path) -> Path:
    """The recogniser's pipeline file on made-up capacities, and a budget of two cores."""
    return recogniser_on(tmp_path, CAPACITIES, slo="500ms")


def names(pipeline: Pipeline) -> list[tuple[str, int, float]]:
    """Of all variants, with their versions and accuracies."""
    return [(v.name, v.version, v.accuracy) for stage in pipeline.stages for v in stage.variants]


def test_a_pipeline_of_the_project_has_a_name() -> None:
    """Its file for one small machine, where it has one, which can be planned with; one line where there is none of that
    name.
    """
    small = read_config(pipeline_named("video"))
    assert small.path.name == "local.yaml"
    assert build_algorithm(small).decide(2.0, Observation(time=0.0, arrivals=(), plan={})).status is Status.OPTIMAL
    assert names(small.pipeline) == names(published("video").pipeline)
    assert pipeline_named("nlp").name == "pipeline.yaml"
    with pytest.raises(ConfigError, match=r"pipeline 'vidoe': accepted: .*nlp, .*video"):
        pipeline_named("vidoe")


def test_weights_that_are_missing_are_made(tmp_path: Path) -> None:
    """Random ones, once, and those that are there stay as they are; without a catalogue there is nothing to make."""
    config = tiny_pipeline("video", tmp_path, ["yolov5n"])
    repository = repository_of(config)
    catalogue: Any = read_yaml(repository / CATALOGUE)
    for weights in [one for stage in catalogue["stages"].values() for one in stage.values()]:
        weights["options"] = weights["options"] | weights["tiny"]
    (repository / CATALOGUE).write_text(yaml.safe_dump(catalogue))
    before = read_record(repository / "crop" / "1")
    words: list[str] = []
    fill(config, words.append)
    assert words[0] == "making random weights of the true size for 9 variants, once"
    assert read_record(repository / "crop" / "1") == before
    assert read_record(repository / "crop" / "2")
    fill(config, said)
    fill(read_config(TEXT_PIPELINE), said)


def said(words: str) -> None:
    raise AssertionError(words)


def quiet(_: str) -> None:
    """What is said does not matter."""


def test_the_algorithm_decides_what_is_shown() -> None:
    """A set of variants needs a pipeline of one stage, and so do deadlines."""
    assert pipeline_of(None) == pipeline_of("ipa") == TEXT_PIPELINE
    assert pipeline_of("infadapter") == RECOGNISE_PIPELINE
    assert pipeline_of("sponge") == pipeline_of("sponge-hv") == SPONGE_PIPELINE


def test_the_load_peaks_at_what_the_capacities_allow(recognise: Path, tmp_path: Path) -> None:
    """Two pods on a core each: the two lightest variants take 140 requests/s. Requests are those of the stage."""
    load = Demo(Subject(recognise, "infadapter"), Shape(20.0), tmp_path, quiet).load
    arguments = dict(zip(load.arguments[::2], load.arguments[1::2], strict=True))
    assert arguments["--tensor"] == "lines"
    # Of what was measured, not of the 0.8 of it that plans count on; a single core is shared by the two pods.
    assert float(arguments["--scale"]) == pytest.approx(PEAK * 140 * min((os.cpu_count() or 1) / 2, 1), rel=1e-4)
    whole = Demo(Subject(TEXT_PIPELINE), Shape(20.0), tmp_path, quiet).load.arguments
    assert whole[whole.index("--tensor") + 1] == "image"


def test_what_cannot_be_shown_is_refused_before_anything_is_measured(recognise: Path, tmp_path: Path) -> None:
    """An algorithm that does not fit the file, or is none: one line, nothing said of a calibration."""
    with pytest.raises(ConfigError, match=r"spec\.graph: detect, recognise: accepted: one stage, for this algorithm"):
        Demo(Subject(TEXT_PIPELINE, "infadapter", True), Shape(), tmp_path, said)
    with pytest.raises(ConfigError, match="--network and --size together"):
        Demo(Subject(TEXT_PIPELINE, calibrate=True), Shape(network="4g-bus"), tmp_path, said)
    with pytest.raises(ConfigError, match=r"network: 'by-pigeon': accepted: .*4g-bus"):
        Demo(Subject(SPONGE_PIPELINE, calibrate=True), Shape(network="by-pigeon"), tmp_path, said)
    with pytest.raises(PluginError, match="accepted: ipa, fa2-low"):
        Demo(Subject(recognise, "magic", True), Shape(), tmp_path, said)


def test_requests_with_deadlines_come_over_a_network(tmp_path: Path) -> None:
    """By default over that of Sponge's evaluation, at a peak that all cores carry; what is asked for goes before."""
    load = Demo(Subject(SPONGE_PIPELINE), Shape(20.0), tmp_path, quiet).load
    arguments = dict(zip(load.arguments[::2], load.arguments[1::2], strict=True))
    assert (arguments["--network"], arguments["--size"]) == ("4g-bus", "200KB-500KB")
    assert load.bandwidth == tuple(pattern_bandwidth("4g-bus", 20, seed=7))
    (variant,) = read_config(SPONGE_PIPELINE).pipeline.stages[0].variants
    assert variant.throughput(1, 1) / 2 < float(arguments["--scale"]) < variant.throughput(2, 4)
    asked = Demo(Subject(SPONGE_PIPELINE), Shape(20.0, size="1MB", scale=3.0), tmp_path, quiet).load.arguments
    assert asked[-6:] == ("--scale", "3.000", "--network", "4g-bus", "--size", "1MB")
    assert "--network" not in Demo(Subject(TEXT_PIPELINE), Shape(20.0), tmp_path, quiet).load.arguments


def test_what_stays_fixed_is_compared_with(tmp_path: Path) -> None:
    """Variants; where requests have deadlines the cores of one pod, first come, first served, with quota and
    observations as Sponge has them.
    """
    text = Demo(Subject(TEXT_PIPELINE), Shape(20.0), tmp_path, quiet).fixed()
    assert [(run.name, run.algorithm, run.order) for run in text] == [
        ("lightest", "fa2-low", "edf"),
        ("heaviest", "fa2-high", "edf"),
    ]
    fixed = Demo(Subject(SPONGE_PIPELINE), Shape(20.0), tmp_path, quiet).fixed()
    assert [(run.name, run.order) for run in fixed] == [("fifo-1-core", "fifo"), ("fifo-2-cores", "fifo")]
    for cores, run in enumerate(fixed, start=1):
        algorithm = build_algorithm(run.config, run.algorithm)
        plans = [algorithm.decide(rate, Observation(0.0, (), {})).plan["recognise"] for rate in (0.0, 5.0, 100.0)]
        assert {(a.replicas, a.cores) for (a,) in plans} == {(1, cores)}
        assert run.config.pipeline.by_deadline
