"""Triton's own perf_analyzer and the profiler measure the same on one server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from ipa_seldon.cli.profile import profile
from ipa_seldon.config import read_profiles
from ipa_seldon.demo.models import Member, Wheel, fetch, models_directory
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.profiler import Bench, Effort, Point, Row
from ipa_seldon.profiler.bench import rounds
from ipa_seldon.profiles import Measurement
from tests.conftest import write_toy_repository
from tests.platforms.load import message
from tests.platforms.test_local import toy_pipeline

# Triton's version in nvidia-pytriton 0.7.0, and the last whose perf_analyzer runs on the C library of Debian 12.
WHEEL = Wheel(
    "tritonclient==2.51.0",
    "c485bb0123bdf310f90bc8b03d3489b28df2ffed55b30c7eee0b795b48113d52",
    13_956_700,
    (
        Member(
            "tritonclient-2.51.0.data/data/bin/perf_analyzer",
            "a8e3fa6d2fcd535770f18fa3c9baf21aee85697352637d24c6b2818401c95a34",
        ),
    ),
)
LIBRARIES = ("libb64.so.0d", "libcudart.so.12")
"""What perf_analyzer needs besides the system's; nvidia-pytriton carries them under names of its own."""
POINT = Point("double", "light", cores=1, batch=2)
PERCENTILE = 50.0
"""A stall of the machine moves it least."""
TRIES = 3


def alike(ours: Row, theirs: Measurement) -> bool:
    """Whether both are the same to 15 %."""
    near = pytest.approx((ours.latency, ours.throughput), rel=0.15)
    return bool((theirs.latency, theirs.throughput) == near)


@pytest.fixture
def perf_analyzer(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """The program, and the environment that it runs in."""
    pytriton = find_spec("pytriton")
    if pytriton is None or pytriton.origin is None:
        pytest.skip("nvidia-pytriton is not installed")
    (program,) = fetch(models_directory(), (WHEEL,))
    program.chmod(0o755)
    folder = Path(pytriton.origin).parents[1] / "nvidia_pytriton.libs"
    for library in LIBRARIES:
        stem, _, rest = library.partition(".")
        (carried,) = folder.glob(f"{stem}-*.{rest}*")
        (tmp_path / library).symlink_to(carried)
    return program, os.environ | {"LD_LIBRARY_PATH": str(tmp_path)}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Of the toy pipeline's light variants, which take 80 ms a batch, whatever else the machine does."""
    repository = write_toy_repository(tmp_path / "models", versions=1)
    for configuration in repository.glob("*/config.pbtxt"):
        configuration.write_text(configuration.read_text().replace('"0.002"', '"0.08"'))
    with Bench(light(toy_pipeline()), repository, message) as running:
        yield running


def light(pipeline: Pipeline) -> Pipeline:
    """The pipeline with the first variant of each stage."""
    return replace(pipeline, stages=tuple(replace(stage, variants=stage.variants[:1]) for stage in pipeline.stages))


def theirs(program: tuple[Path, dict[str, str]], url: str, folder: Path) -> Measurement:
    """What perf_analyzer says of the model at ``url``, imported."""
    (path, environment), report, output = program, folder / "perf.csv", folder / "profile.csv"
    load = ("-b", str(POINT.batch), "--concurrency-range", "1:2", "--input-data", "zero")
    # Windows of 0.96 s, of which it takes three in a row that agree so far.
    windows = ("--measurement-interval", "800", "--stability-percentage", "20")
    run = [str(path), "-m", POINT.stage, "-u", url.removeprefix("http://"), "-f", str(report), *load, *windows]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    said = ("--stage", POINT.stage, "--variant", POINT.variant, "--cores", "1", "--batch", str(POINT.batch))
    words = ["import", str(report), "-o", str(output), *said, "--percentile", f"{PERCENTILE:g}", "--replace"]
    assert CliRunner().invoke(profile, words, catch_exceptions=False).exit_code == 0
    return read_profiles(output)[POINT.stage, POINT.variant].points[POINT.cores, POINT.batch]


@pytest.mark.alone
@pytest.mark.triton
def test_perf_analyzer_and_the_profiler_agree(
    bench: Bench, perf_analyzer: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    """Batches one by one give the latency, two at a time the throughput: both tools find the same to 15 %, of a model
    that sleeps. With two at a time half of what a request takes is the queue. Another try where the machine stalled.
    """
    pairs: list[tuple[Row, Measurement]] = []
    with bench.serving(POINT, timeout=250.0) as clients:
        while len(pairs) < TRIES and not any(alike(*pair) for pair in pairs):
            ours = rounds(clients, Effort(seconds=2.0, percentile=PERCENTILE))
            pairs.append((ours, theirs(perf_analyzer, clients.url, tmp_path)))
    assert alike(*pairs[-1]), pairs
