"""The profiler measures a real Triton, point by point, and never loses what it has."""

from __future__ import annotations

import csv
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from ipa_seldon.cli.profile import profile
from ipa_seldon.config import read_profiles
from ipa_seldon.errors import ConfigError, PlatformError
from ipa_seldon.gateway.messages import Message, read_message
from ipa_seldon.pipeline import Pipeline
from ipa_seldon.profiler import Bench, Effort, Point, ProfileTable, Row, calibrate, sweep, sweep_points
from ipa_seldon.profiler.bench import rounds
from tests.platforms.load import body, message
from tests.platforms.test_local import toy_pipeline

QUICK = Effort(seconds=0.6)
MACHINE = "a machine, 2 cores"
FIRST = Point("double", "light", 1, 1)
ROW = Row(latency=0.0123456789, throughput=81.0, samples=40)
PIPELINE_FILE = """
apiVersion: ipa.seldon.io/v1alpha1
kind: Pipeline
metadata: {{name: toy}}
spec:
  slo: {{latency: 1}}
  limits: {{batch: 2}}
  graph: {{name: double, children: [{{name: increment}}]}}
  stages:
    double: {{variants: {{light: {{accuracy: 0.5, version: 1}}}}}}
    increment: {{variants: {{light: {{accuracy: 0.5, version: 1}}}}}}
  repository: {repository}
"""


def either(index: int) -> Message:
    """The number ``index`` in JSON where it is even, else in binary and asking for it."""
    if index % 2 == 0:
        return message(index)
    fields = {"shape": [1, 1], "datatype": "INT32", "parameters": {"binary_data_size": 4}}
    inputs = [{"name": name, **fields} for name in ("number", "trace")]
    return Message({"inputs": inputs, "parameters": {"binary_data_output": True}}, struct.pack("<ii", index, 0))


def swept(
    bench: Bench, points: Sequence[Point], table: ProfileTable, effort: Effort
) -> Iterator[tuple[Point, Row | None]]:
    """A sweep of latency and throughput."""
    return sweep(partial(bench.measure, effort=effort), points, table, effort.timeout)


@pytest.fixture(scope="module")
def bench(toy_repository: Path) -> Iterator[Bench]:
    """Every second request is binary."""
    with Bench(toy_pipeline(), toy_repository, either) as running:
        yield running


def test_points_cover_every_combination_once() -> None:
    """Variants x cores x batches of every stage asked for."""
    stages = toy_pipeline().stages
    points = sweep_points(stages, (1, 2), (1, 2, 4))
    assert len(set(points)) == len(points) == 2 * 3 * 2 * 3


@pytest.mark.triton
def test_measures_what_a_variant_takes(bench: Bench) -> None:
    """Version 3 of a toy stage sleeps 6 ms a batch: latency is at least that, throughput at most batch / that.

    A batch of 4 takes one sleep, not four: the requests really were served as one batch.
    """
    heavy = bench.measure(Point("increment", "heavy", 1, 1), QUICK)
    batched = bench.measure(Point("increment", "heavy", 1, 4), QUICK)
    assert heavy.latency >= 0.006
    assert heavy.throughput <= 1 / 0.006
    assert batched.throughput <= 4 / 0.006
    assert batched.throughput > 1 / 0.006, "more than any unbatched replica can do"
    assert batched.samples >= 12


@pytest.mark.triton
@dataclass
class Fake:
    """Clients of a model that takes ``seconds`` a batch, without waiting for it."""

    seconds: float
    sent: int = 0
    rounds: int = 0

    def batch(self) -> float:
        self.sent += 1
        return self.seconds

    def batches(self, seconds: float) -> list[float]:
        self.rounds += 1
        return [self.batch() for _ in range(3)]

    def saturate(self, seconds: float) -> float:
        return 1 / self.seconds


@pytest.mark.parametrize(("seconds", "expected"), [(0.5, (18, 5)), (0.7, (5, 1))])
def test_heavy_variants_are_measured_in_one_round(seconds: float, expected: tuple[int, int]) -> None:
    """Where a batch takes longer than its part of a round, there is one round, and no more to warm up than two."""
    clients = Fake(seconds)
    row = rounds(clients, Effort(seconds=6.0))  # type: ignore[arg-type]  # what is used of Clients
    assert (clients.sent, clients.rounds) == expected
    assert row == Row(seconds, 1 / seconds, 3 * clients.rounds)


def test_a_later_stage_is_asked_what_the_one_before_answers(bench: Bench) -> None:
    """The most accurate variant doubles and notes that it was version 3; what was asked in binary was answered so."""
    with bench.serving(Point("increment", "light", 1, 1), 30.0) as clients:
        for index, body in enumerate(clients.bodies):
            inputs = read_message(body, "inputs").fields["inputs"]
            assert [tensor["name"] for tensor in inputs] == ["number", "trace"]
            if index % 2 == 0:
                assert body.raw is None
                assert [tensor["data"] for tensor in inputs] == [[2 * index], [3]]
            else:
                assert struct.unpack("<ii", body.raw or b"") == (2 * index, 3)
        answer = read_message(clients.send(1), "outputs")
    assert struct.unpack("<ii", answer.raw or b"") == (3, 31)


@pytest.mark.triton
def test_a_sweep_writes_each_point_and_resumes(bench: Bench, tmp_path: Path) -> None:
    """Interrupted after one point, a second run measures only the others; what it wrote is a profile."""
    path = tmp_path / "toy.csv"
    points = [FIRST, replace(FIRST, batch=2)]
    interrupted = swept(bench, points, ProfileTable(path, MACHINE, seed=3), QUICK)
    first, row = next(interrupted)
    assert row is not None
    assert read_profiles(path)["double", "light"].latency(1, 1) == pytest.approx(row.latency, rel=1e-4)
    resumed = [point for point, _ in swept(bench, points, ProfileTable(path, MACHINE, seed=3), QUICK)]
    assert [first, *resumed] == points
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(r["batch"], r["seed"], r["machine"]) for r in rows] == [("1", "3", MACHINE), ("2", "3", MACHINE)]


@pytest.mark.triton
def test_a_point_that_takes_too_long_is_recorded_and_skipped(bench: Bench, tmp_path: Path) -> None:
    """The sweep goes on to the next point, and does not try again in a later run."""
    path = tmp_path / "toy.csv"
    table = ProfileTable(path, MACHINE, seed=0)
    hopeless = replace(QUICK, seconds=60.0, timeout=0.4)
    assert list(swept(bench, [FIRST], table, hopeless)) == [(FIRST, None)]
    assert list(swept(bench, [FIRST], ProfileTable(path, MACHINE, seed=0), QUICK)) == []
    following = replace(FIRST, batch=2)
    [(point, row)] = swept(bench, [following], table, QUICK)
    assert (point, row is not None) == (following, True)


@pytest.mark.triton
def test_a_refused_request_is_an_error_with_tritons_reason(toy_repository: Path) -> None:
    """Inputs the model refuses end the run in words, they are not measured."""
    with (
        pytest.raises(PlatformError, match="number must not be negative"),
        Bench(toy_pipeline(), toy_repository, lambda _: message(-1)),
    ):
        pass


@pytest.mark.triton
@pytest.mark.alone
def test_calibration_tells_how_much_slower_this_machine_is(toy_repository: Path, bench: Bench) -> None:
    """Against a profile made here the factor is near 1; against one of a machine ten times as fast, near 10."""
    row = bench.measure(FIRST, QUICK)

    def profiled(scale: float) -> Pipeline:
        pipeline = toy_pipeline()
        stages = tuple(
            replace(
                stage,
                variants=tuple(
                    replace(v, latency=lambda c, b: row.latency * scale, throughput=lambda c, b: row.throughput / scale)
                    for v in stage.variants[:1]
                ),
            )
            for stage in pipeline.stages
        )
        return replace(pipeline, stages=stages)

    assert 0.3 < calibrate(profiled(1.0), toy_repository, message, seconds=1.2) < 3
    assert 3 < calibrate(profiled(0.1), toy_repository, message, seconds=1.2) < 30


def test_a_profile_of_another_machine_is_not_mixed(tmp_path: Path) -> None:
    """The two machines and what to do are in the message."""
    path = tmp_path / "toy.csv"
    ProfileTable(path, MACHINE, seed=0).add(FIRST, ROW)
    with pytest.raises(ConfigError, match="holds rows of 'a machine, 2 cores', this is 'another'"):
        ProfileTable(path, "another", seed=0)


def test_a_file_that_is_no_profile_is_named(tmp_path: Path) -> None:
    """File, line and the accepted columns, instead of overwriting it."""
    path = tmp_path / "notes.csv"
    path.write_text("some,other\n1,2\n")
    with pytest.raises(ConfigError, match=r"notes\.csv: line 2: not a profile; accepted: stage,variant"):
        ProfileTable(path, MACHINE, seed=0)
    assert path.read_text() == "some,other\n1,2\n"


@pytest.fixture
def run(tmp_path: Path, toy_repository: Path) -> Callable[..., object]:
    """``ipa-seldon profile`` of the toy pipeline; raises what the command raises."""
    path = tmp_path / "toy.yaml"
    path.write_text(PIPELINE_FILE.format(repository=toy_repository))

    def call(*arguments: str) -> object:
        options = ["-f", str(path), "-o", str(tmp_path / "toy.csv"), *arguments]
        return CliRunner().invoke(profile, options, catch_exceptions=False, standalone_mode=False).return_value

    return call


@pytest.mark.triton
def test_the_command_writes_a_profile(run: Callable[..., object], tmp_path: Path) -> None:
    """Batches up to the file's limit, for the stage and cores asked for, from the requests of a file."""
    requests = tmp_path / "requests.jsonl"
    requests.write_text("\n".join(json.dumps(body(number)) for number in range(3)))
    assert run("--requests", str(requests), "--cores", "1", "--stage", "increment", "--seconds", "600ms") == 0
    profiles = read_profiles(tmp_path / "toy.csv")
    assert {key: sorted(found.points) for key, found in profiles.items()} == {
        ("increment", "light"): [(1, 1), (1, 2)],
    }


def test_the_command_needs_requests_it_can_send(run: Callable[..., object], tmp_path: Path) -> None:
    """A stage that does not take images, a malformed file and an unknown stage are named in one line."""
    with pytest.raises(ConfigError, match=r"--requests: missing; .*'double', which takes number, trace"):
        run()
    (tmp_path / "bad.jsonl").write_text('{"outputs": []}\n')
    with pytest.raises(ConfigError, match=r"bad\.jsonl: accepted: a JSON object with a list 'inputs'; one"):
        run("--requests", str(tmp_path / "bad.jsonl"))
    with pytest.raises(ConfigError, match="--stage: 'halve': accepted: double, increment"):
        run("--stage", "halve")
