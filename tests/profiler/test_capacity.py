"""Capacities: the search on known answers, trials on a server that fails, the table, and a real Triton."""

from __future__ import annotations

import csv
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ipa_seldon.cli.profile import profile
from ipa_seldon.config import read_capacities
from ipa_seldon.errors import ConfigError
from ipa_seldon.gateway.messages import Body
from ipa_seldon.profiler import (
    Bench,
    CapacityRow,
    CapacityTable,
    Effort,
    Goal,
    Point,
    calibrate_capacity,
    measure_capacity,
    sweep,
    this_machine,
)
from ipa_seldon.profiler.capacity import LEAST_REQUESTS, Trials, highest_rate
from ipa_seldon.profiler.clients import Clients, PointTimeoutError
from ipa_seldon.profiles import USABLE
from tests.platforms.load import body, message
from tests.platforms.test_local import toy_pipeline

MACHINE = "a machine, 2 cores"
LIGHT, HEAVY = Point("double", "light", 1, 1), Point("double", "heavy", 1, 1)
ROW = CapacityRow(81.25, 0.51, 900)
COARSE = Goal(slo=0.5, tolerance=0.25)
QUICK = Effort(seconds=0.5)


@dataclass
class Searched:
    """A search whose loads hold by ``rule``; ``tried`` are those it asked about."""

    rule: Callable[[float], bool]
    tried: list[float] = field(default_factory=list)

    def holds(self, rate: float) -> bool:
        """Whether a rate holds."""
        self.tried.append(rate)
        return self.rule(rate)


@pytest.mark.parametrize("part", [0.75, 0.9, 0.949, 0.951, 1.0, 1.1])
def test_a_capacity_near_the_estimate_takes_few_trials(part: float) -> None:
    """Between what held and what did not lie 4 %, after at most six trials; the lower end is the answer."""
    search = Searched(lambda rate: rate <= 80 * part)
    found = highest_rate(search.holds, estimate=80.0)
    assert found <= 80 * part < found * 1.04
    assert found in search.tried
    assert len(search.tried) <= 6


@pytest.mark.parametrize("capacity", [3.0, 40.0, 1000.0])
def test_a_capacity_far_from_the_estimate_is_found_too(capacity: float) -> None:
    """An estimate that is wrong by an order of magnitude costs trials, not accuracy."""
    found = highest_rate(lambda rate: rate <= capacity, estimate=80.0, tolerance=0.1)
    assert found <= capacity < found * 1.1


def test_a_variant_that_holds_no_load_has_no_capacity() -> None:
    """The search ends at 0 where even the lightest loads do not hold."""
    assert highest_rate(lambda rate: False, estimate=80.0) == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_search_finds_what_a_simulated_queue_takes(seed: int) -> None:
    """One server of 12 ms, Poisson arrivals, 1 % of the waits may exceed 500 ms. With the same gaps at every rate the
    outcome is monotone, so the answer is that of a scan over all rates.
    """
    gaps = np.random.default_rng(seed).exponential(size=1500)

    def holds(rate: float) -> bool:
        wait, late = 0.0, 0
        for gap in gaps / rate:
            wait = max(0.0, wait + 0.012 - gap)
            late += wait + 0.012 > 0.5
        return late <= 15

    scanned = max(rate for rate in np.arange(40.0, 110.0, 0.25).tolist() if holds(rate))
    assert all(holds(rate) for rate in np.arange(40.0, scanned, 2.5).tolist())
    search = Searched(holds)
    found = highest_rate(search.holds, estimate=1 / 0.012)
    assert found <= scanned + 0.25
    assert found * 1.04 >= scanned
    assert len(search.tried) <= 6


class Failing(ThreadingHTTPServer):
    """Answers at once; the k-th request with 500 where ``fails(k)``."""

    daemon_threads = True

    def __init__(self, fails: Callable[[int], bool]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.fails = fails
        self.asked: list[str] = []


class Answer(BaseHTTPRequestHandler):
    """One connection of a Failing server."""

    protocol_version = "HTTP/1.1"
    server: Failing

    def do_POST(self) -> None:
        """Answer an inference request."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path)
        self.send_response(500 if self.server.fails(len(self.server.asked)) else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(fails: Callable[[int], bool]) -> Iterator[Failing]:
    with Failing(fails) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def trials(server: Failing, seconds_left: float = 300.0, slo: float = 60.0) -> tuple[Clients, Trials]:
    """Trials of LEAST_REQUESTS on a server, with an SLO that only failures miss."""
    url = f"http://127.0.0.1:{server.server_address[1]}"
    clients = Clients(url, "double", [Body(b"{}"), Body(b"[]")], 1, time.monotonic() + seconds_left)
    return clients, Trials(clients, Goal(slo, tolerance=1e6), estimate=1.0, seconds=0.0)


@pytest.mark.parametrize(("every", "holds"), [(150, True), (50, False)])
def test_failed_requests_miss_the_slo(every: int, holds: bool) -> None:
    """Two failures in three hundred requests are within 1 %; six are not, and end the trial before it has sent all."""
    with served(lambda k: k % every == 0) as server:
        clients, load = trials(server)
        with clients:
            assert load.counted == LEAST_REQUESTS
            assert load.holds(400.0) is holds
        whole = 1.1 * LEAST_REQUESTS + 1
        assert (len(server.asked) == whole) is holds
        assert set(server.asked) == {"/v2/models/double/infer"}


def test_failures_while_warming_up_do_not_count() -> None:
    """The first tenth of the requests before those that count may all fail."""
    with served(lambda k: k <= 20) as server:
        clients, load = trials(server)
        with clients:
            assert load.holds(300.0)


def test_a_trial_that_cannot_end_in_time_is_not_begun() -> None:
    """The point has then taken too long; nothing was sent."""
    with served(lambda _: False) as server:
        clients, load = trials(server, seconds_left=30.0)
        with clients, pytest.raises(PointTimeoutError, match="no time for a trial at 1 requests/s"):
            load.holds(1.0)
        assert server.asked == []


def test_what_is_written_is_read_as_capacities(tmp_path: Path) -> None:
    """The file of a sweep is what a pipeline's ``capacity`` names, also with several SLOs in it."""
    path = tmp_path / "capacity.csv"
    for slo, row in ((0.5, ROW), (0.75, replace(ROW, capacity=90.0, load_time=0.62))):
        CapacityTable(path, MACHINE, 3, slo).add(LIGHT, row)
    read = read_capacities(path)
    assert read["light", 0.5].points == {1: 81.25}
    assert read["light", 0.75].points == {1: 90.0}
    assert (read["light", 0.5].load_time, read["light", 0.75].load_time) == (0.51, 0.62)
    with path.open(newline="") as lines:
        assert next(csv.DictReader(lines)) == {
            **{"variant": "light", "cores": "1", "slo": "0.5", "capacity": "81.25", "load_time": "0.51"},
            **{"samples": "900", "seed": "3", "machine": MACHINE},
        }


def test_an_interrupted_sweep_loses_the_point_under_way_alone(tmp_path: Path) -> None:
    """Ctrl-C in the second point leaves the first in the file; the next run measures the second and the third."""
    path, points, measured = tmp_path / "capacity.csv", [LIGHT, HEAVY, replace(HEAVY, cores=2)], list[Point]()

    def measure(point: Point, interrupted: bool) -> CapacityRow:
        if interrupted and point == HEAVY:
            raise KeyboardInterrupt
        measured.append(point)
        return ROW

    with pytest.raises(KeyboardInterrupt):
        list(sweep(partial(measure, interrupted=True), points, CapacityTable(path, MACHINE, 0, 0.5), 60.0))
    assert list(read_capacities(path)) == [("light", 0.5)]
    list(sweep(partial(measure, interrupted=False), points, CapacityTable(path, MACHINE, 0, 0.5), 60.0))
    assert measured == points
    assert LIGHT not in CapacityTable(path, MACHINE, 0, 0.75), "another SLO is another point"


def test_a_point_that_takes_too_long_is_noted(tmp_path: Path) -> None:
    """It stands beside the capacities, and is not measured again."""
    path = tmp_path / "capacity.csv"

    def hopeless(point: Point) -> CapacityRow:
        raise PointTimeoutError(str(point))

    assert list(sweep(hopeless, [LIGHT], CapacityTable(path, MACHINE, 0, 0.5), 60.0)) == [(LIGHT, None)]
    assert (tmp_path / "capacity.timeouts.csv").read_text() == "variant,cores,slo,timeout\nlight,1,0.5,60.0\n"
    assert list(sweep(hopeless, [LIGHT], CapacityTable(path, MACHINE, 0, 0.5), 60.0)) == []


def test_a_file_of_another_machine_or_kind_is_refused(tmp_path: Path) -> None:
    """One line names the machines, or the columns that are accepted; the file stays as it was."""
    path = tmp_path / "capacity.csv"
    CapacityTable(path, MACHINE, 0, 0.5).add(LIGHT, ROW)
    with pytest.raises(ConfigError, match="holds rows of 'a machine, 2 cores', this is 'another'; accepted: a new"):
        CapacityTable(path, "another", 0, 0.5)
    path.write_text("stage,variant,cores,batch,latency,throughput\ndouble,light,1,1,0.1,9\n")
    with pytest.raises(ConfigError, match=r"line 2: not a table of capacities; accepted: variant,cores,slo,capacity"):
        CapacityTable(path, MACHINE, 0, 0.5)


@pytest.fixture(scope="module")
def bench(toy_repository: Path) -> Iterator[Bench]:
    with Bench(toy_pipeline(), toy_repository, message) as running:
        yield running


@pytest.mark.triton
def test_a_real_pod_takes_no_more_than_it_can_serve(bench: Bench) -> None:
    """Version 3 sleeps 6 ms a request: in a trial of two seconds a load beyond 1.25 times what that allows piles up a
    wait of the SLO. Where no request is fast enough the capacity is 0.
    """
    row = measure_capacity(bench, HEAVY, COARSE, QUICK)
    assert 0 < row.capacity <= 1.3 / 0.006
    assert row.load_time > 0
    assert row.samples >= LEAST_REQUESTS
    assert measure_capacity(bench, HEAVY, replace(COARSE, slo=0.005), QUICK).capacity == 0


@pytest.mark.triton
def test_a_point_without_time_leaves_the_bench_in_order(bench: Bench) -> None:
    """PointTimeoutError names the point; the next one is measured as if nothing had been."""
    with pytest.raises(PointTimeoutError, match=r"double heavy, cores 1, batch 1: not measured within 0\.3 s"):
        measure_capacity(bench, HEAVY, COARSE, replace(QUICK, timeout=0.3))
    assert measure_capacity(bench, LIGHT, COARSE, QUICK).capacity > 0


@pytest.mark.triton
@pytest.mark.alone
def test_calibration_tells_how_much_less_this_machine_takes(toy_repository: Path, bench: Bench) -> None:
    """Against capacities ten times those measured here the factor is near 10; the variant that takes most counts."""
    here = measure_capacity(bench, LIGHT, COARSE, QUICK).capacity

    pipeline = replace(toy_pipeline(), slo=0.3)
    stage = pipeline.stages[0]
    light = replace(stage.variants[0], capacity=lambda cores: USABLE * 10 * here)
    others = tuple(replace(variant, capacity=lambda cores: 1.0) for variant in stage.variants[1:])
    promising = replace(pipeline, stages=(replace(stage, variants=(*others, light)),), edges=())
    assert 3 < calibrate_capacity(promising, toy_repository, message, seed=1) < 30


PIPELINE_FILE = """
apiVersion: ipa.seldon.io/v1alpha1
kind: Pipeline
metadata: {{name: toy}}
spec:
  slo: {{latency: 500ms}}
  graph: {{name: double, children: [{{name: increment}}]}}
  stages:
    double: {{variants: {{light: {{accuracy: 0.5, version: 1}}, heavy: {{accuracy: 0.6, version: 3}}}}}}
    increment: {{variants: {{light: {{accuracy: 0.5, version: 1}}}}}}
  repository: {repository}
"""


@pytest.fixture
def run(tmp_path: Path, toy_repository: Path) -> Callable[..., object]:
    """``ipa-seldon profile --capacity`` of the toy pipeline; raises what the command raises."""
    path = tmp_path / "toy.yaml"
    path.write_text(PIPELINE_FILE.format(repository=toy_repository))
    requests = tmp_path / "requests.jsonl"
    requests.write_text("\n".join(json.dumps(body(number)) for number in range(3)))

    def call(*arguments: str) -> object:
        options = ["-f", str(path), "-o", str(tmp_path / "toy.csv"), "--requests", str(requests), *arguments]
        return CliRunner().invoke(profile, options, catch_exceptions=False, standalone_mode=False).return_value

    return call


@pytest.mark.triton
def test_the_command_writes_capacities(run: Callable[..., object], tmp_path: Path) -> None:
    """Every variant of the stage on the cores asked for, at that SLO; what is there is not measured again."""
    path, words = tmp_path / "toy.csv", ("--capacity", "--stage", "double", "--cores", "1", "--seconds", "500ms")
    CapacityTable(path, this_machine(), 0, 0.2).add(LIGHT, ROW)
    assert run(*words, "--slo", "200ms") == 0
    read = read_capacities(path)
    assert {key: list(capacity.points) for key, capacity in read.items()} == {("light", 0.2): [1], ("heavy", 0.2): [1]}
    assert read["light", 0.2].points[1] == 81.25
    assert 0 < read["heavy", 0.2].points[1] <= 1.15 / 0.006
    written = path.read_text()
    assert run(*words, "--slo", "0.2") == 0
    assert path.read_text() == written


@pytest.mark.triton
def test_the_slo_is_the_files_by_default(run: Callable[..., object], tmp_path: Path) -> None:
    """A file that holds every point at the pipeline's SLO is complete."""
    path = tmp_path / "toy.csv"
    for point in (LIGHT, HEAVY):
        CapacityTable(path, this_machine(), 0, 0.5).add(point, ROW)
    written = path.read_text()
    assert run("--capacity", "--stage", "double", "--cores", "1") == 0
    assert path.read_text() == written


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--capacity",), r"--stage: missing; accepted: one of double, increment, since variant 'light' is in several"),
        (("--slo", "750ms"), r"--slo: 0\.75: accepted: only with --capacity"),
        (("--capacity", "--stage", "double", "--batches", "1,2"), r"--batches: accepted: not with --capacity"),
        (("--capacity", "--stage", "halve"), r"--stage: 'halve': accepted: double, increment"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    run: Callable[..., object], arguments: tuple[str, ...], words: str
) -> None:
    """One line names the option and what is accepted, before any server is started."""
    with pytest.raises(ConfigError, match=words):
        run(*arguments)
