"""What a demo shows by default, and how much load it replays: before anything is served."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ipa_seldon.demo.runner import PEAK, RECOGNISE_PIPELINE, TEXT_PIPELINE, Demo, Subject, pipeline_of
from ipa_seldon.errors import ConfigError, PluginError
from tests.demo.recogniser import recogniser_on

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


def said(words: str) -> None:
    raise AssertionError(words)


def test_the_algorithm_decides_what_is_shown() -> None:
    """A set of variants needs a pipeline of one stage."""
    assert pipeline_of(None) == pipeline_of("ipa") == TEXT_PIPELINE
    assert pipeline_of("infadapter") == RECOGNISE_PIPELINE


def test_the_load_peaks_at_what_the_capacities_allow(recognise: Path, tmp_path: Path) -> None:
    """Two pods on a core each: the two lightest variants take 140 requests/s. Requests are those of the stage."""
    load = Demo(Subject(recognise, "infadapter"), tmp_path, lambda _: None).load(20.0, 7)
    arguments = dict(zip(load.arguments[::2], load.arguments[1::2], strict=True))
    assert arguments["--tensor"] == "lines"
    # Of what was measured, not of the 0.8 of it that plans count on; a single core is shared by the two pods.
    assert float(arguments["--scale"]) == pytest.approx(PEAK * 140 * min((os.cpu_count() or 1) / 2, 1), rel=1e-4)
    whole = Demo(Subject(TEXT_PIPELINE), tmp_path, lambda _: None).load(20.0, 7).arguments
    assert whole[whole.index("--tensor") + 1] == "image"


def test_what_cannot_be_shown_is_refused_before_anything_is_measured(recognise: Path, tmp_path: Path) -> None:
    """An algorithm that does not fit the file, or is none: one line, nothing said of a calibration."""
    with pytest.raises(ConfigError, match=r"spec\.graph: detect, recognise: accepted: one stage, for this algorithm"):
        Demo(Subject(TEXT_PIPELINE, "infadapter", 1), tmp_path, said)
    with pytest.raises(PluginError, match="accepted: ipa, fa2-low"):
        Demo(Subject(recognise, "magic", 1), tmp_path, said)
