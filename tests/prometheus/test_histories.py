"""The load out of a real Prometheus: histories that are written into it to the second, and a live executor."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from operator import mul
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Histogram, start_http_server

from ipa_seldon.errors import LoadReason, PlatformError
from ipa_seldon.prometheus import WINDOW, Executor, Prometheus
from tests.prometheus_server import PrometheusServer
from tests.waiting import wait_for

pytestmark = pytest.mark.prometheus
REQUESTS = "seldon_api_executor_server_requests_seconds"
SCRAPE = 5
LENGTH = 120
RATE = 40.0
HOST = "127.0.0.1"


class History:
    """What Prometheus scraped every SCRAPE seconds from ``begin`` on, six hours ago."""

    def __init__(self) -> None:
        self.begin = math.floor(time.time()) - 6 * 3600
        self._lines: list[str] = []

    def write(self, graph: str, count: Callable[[int], float | None], suffix: str = "count", **labels: str) -> None:
        """One series; ``count`` says what is scraped at a second, None that nothing is."""
        common = {"deployment_name": graph, "predictor_name": "default", "service": "predictions", "code": "200"}
        names = {name: value.replace("\\", r"\\").replace('"', r"\"") for name, value in (common | labels).items()}
        pairs = ",".join(f'{name}="{value}"' for name, value in names.items())
        for second in range(0, LENGTH + 1, SCRAPE):
            if (value := count(second)) is not None:
                self._lines.append(f"{REQUESTS}_{suffix}{{{pairs}}} {value} {self.begin + second}")

    def histogram(self, graph: str, rates: dict[str, float], code: str) -> None:
        """Buckets that grow by ``rates`` (upper bound -> requests/s up to it)."""
        for bound, rate in rates.items():
            self.write(graph, partial(mul, rate), "bucket", code=code, le=bound)

    def openmetrics(self) -> str:
        return "\n".join([*self._lines, "# EOF", ""])


def steadily(second: int) -> float:
    return RATE * second


def with_a_gap(second: int) -> float | None:
    return None if 40 <= second < 80 else steadily(second)


def with_a_restart(second: int) -> float:
    """A new container in the old pod: the counter starts again just after a scrape."""
    return steadily(second if second <= 60 else second - 60)


def with_a_restart_between_scrapes(second: int) -> float:
    """Half of what came between two scrapes was counted by the container that went, and is seen by nobody."""
    return steadily(second) if second <= 60 else RATE * (second - 60 - SCRAPE / 2)


def from_a_minute_on(second: int) -> float | None:
    """A new pod, which takes over; its first scrape comes half an interval later."""
    return None if second <= 60 else RATE * (second - 60 - SCRAPE / 2)


def until_a_minute(second: int) -> float:
    """The pod before it, which idles from then on."""
    return RATE * min(second, 60)


def twice_as_much_after_a_minute(second: int) -> float:
    return RATE * second + RATE * max(second - 60, 0)


def nan_in_the_middle(second: int) -> float:
    return math.nan if second == 60 else steadily(second)


def write_histories() -> History:
    """Every graph of the tests below."""
    history = History()
    history.write("steady", steadily)
    history.write("gap", with_a_gap)
    history.write("restarted", with_a_restart)
    history.write("halved", with_a_restart_between_scrapes)
    history.write("replaced", until_a_minute, instance="old")
    history.write("replaced", from_a_minute_on, instance="new")
    history.write("step", twice_as_much_after_a_minute)
    history.write("nan", nan_in_the_middle)
    history.write('we"ird\\', steadily)
    for pod in "ab":
        history.write("pods", steadily, instance=pod)
        history.write("namespaces", steadily, namespace=pod)
    history.write("steady", steadily, service="feedback")
    history.write("steady", steadily, predictor_name="other")
    history.histogram("mixed", {"0.25": 6, "0.5": 8, "1": 9, "+Inf": 9}, "200")
    history.histogram("mixed", {"0.25": 1, "0.5": 1, "1": 1, "+Inf": 1}, "503")
    history.histogram("grpc", {"0.5": 3, "+Inf": 3}, "OK")
    history.histogram("grpc", {"0.5": 1, "+Inf": 1}, "Unavailable")
    history.histogram("failing", {"0.5": 2, "+Inf": 2}, "500")
    history.histogram("idle", {"0.5": 0, "+Inf": 0}, "200")
    return history


class Past:
    """A running Prometheus, and the seconds of its histories."""

    def __init__(self, url: str, begin: int) -> None:
        self.prometheus = Prometheus(url)
        self.begin = begin

    def arrivals(self, executor: Executor, window: float = WINDOW) -> dict[int, float]:
        """Second of the history -> requests per second in its whole length."""
        query = executor.arrivals_query(window)
        return dict(enumerate(self.prometheus.arrivals(query, LENGTH, self.begin + LENGTH), start=1))

    def violations(self, graph: str, slo: float) -> float | None:
        return self.prometheus.violation_ratio(executor(graph), slo, 60, self.begin + LENGTH + 0.5)


def executor(graph: str, namespace: str | None = None) -> Executor:
    return Executor(graph, "default", namespace)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """The histories in a Prometheus that scrapes nothing any more."""
    history = write_histories()
    server = PrometheusServer([], SCRAPE, tmp_path_factory.mktemp("prometheus"))
    server.backfill(history.openmetrics())
    with server:
        yield Past(server.url, history.begin)


class TestArrivals:
    """What a range query makes of the histories."""

    def test_seconds(self, past: Past) -> None:
        """One value per second, oldest first, the last of the last complete second before now."""
        now = past.begin + 60
        assert past.prometheus.arrivals("time()", 4, now + 0.9) == [now - 3, now - 2, now - 1, now]

    def test_steady(self, past: Past) -> None:
        """A steady load is read as it is, from the second scrape on; feedback and other predictors are not it."""
        found = past.arrivals(executor("steady"))
        assert [math.isnan(found[second]) for second in (1, SCRAPE - 1, SCRAPE)] == [True, True, False]
        assert [found[second] for second in range(15, LENGTH + 1)] == pytest.approx([RATE] * (LENGTH - 14))

    @pytest.mark.parametrize("scrapes", [2, 3, 6])
    def test_lag(self, past: Past, scrapes: int) -> None:
        """A step is followed with the next scrape, however long the window, and never before it."""
        found = past.arrivals(executor("step"), scrapes * SCRAPE)
        assert [found[second] for second in range(60, 60 + SCRAPE)] == pytest.approx([RATE] * SCRAPE)
        after = range(60 + SCRAPE, LENGTH + 1)
        assert [found[second] for second in after] == pytest.approx([2 * RATE] * len(after))

    def test_gap(self, past: Past) -> None:
        """Where scrapes stop the last mean is repeated until the window has one left; then NaN, never zero."""
        found = past.arrivals(executor("gap"))
        measured = [second for second, rate in found.items() if not math.isnan(rate)]
        last_with_two, first_with_two = 30 + int(WINDOW), 80 + SCRAPE
        assert measured == [*range(SCRAPE, last_with_two + 1), *range(first_with_two, LENGTH + 1)]
        assert [found[second] for second in measured] == pytest.approx([RATE] * len(measured))

    def test_restart(self, past: Past) -> None:
        """A counter that starts again is no drop in load."""
        found = past.arrivals(executor("restarted"))
        assert [found[second] for second in range(15, LENGTH + 1)] == pytest.approx([RATE] * (LENGTH - 14))

    @pytest.mark.parametrize("graph", ["halved", "replaced"])
    def test_counters_that_begin(self, past: Past, graph: str) -> None:
        """What nobody has counted while containers and pods change is no drop in load; and it is told that they did."""
        query = executor(graph).arrivals_query()
        rates, fault = past.prometheus.load(query, LENGTH, past.begin + LENGTH)
        assert rates[14:] == pytest.approx([RATE] * (LENGTH - 14))
        assert fault is not None
        assert fault.reason is LoadReason.COUNTER_RESET
        unmended = past.prometheus.arrivals(query.partition(" or label_replace")[0], LENGTH, past.begin + LENGTH)
        assert min(unmended[14:]) < 0.75 * RATE

    def test_pods(self, past: Past) -> None:
        """The executors of a predictor are summed, of one namespace where it is given."""
        assert past.arrivals(executor("pods"))[60] == pytest.approx(2 * RATE)
        assert past.arrivals(executor("namespaces"))[60] == pytest.approx(2 * RATE)
        assert past.arrivals(executor("namespaces", "a"))[60] == pytest.approx(RATE)

    def test_odd_name(self, past: Past) -> None:
        """A name with quotes and backslashes is that name in PromQL."""
        assert past.arrivals(executor('we"ird\\'))[60] == pytest.approx(RATE)

    def test_nan(self, past: Past) -> None:
        """A value that is no finite number is a second nobody measured."""
        found = past.arrivals(executor("nan"))
        assert math.isnan(found[62])
        assert found[LENGTH] == pytest.approx(RATE)
        assert all(map(math.isnan, past.prometheus.arrivals("vector(1) / 0", 3, past.begin)))

    def test_nothing(self, past: Past) -> None:
        """A query that finds no series is NaN throughout, and told from one that finds no number."""
        found, fault = past.prometheus.load(executor("unknown").arrivals_query(), 5, past.begin + 60)
        assert len(found) == 5
        assert all(map(math.isnan, found))
        assert fault is not None
        assert fault.reason is LoadReason.EMPTY
        _, fault = past.prometheus.load("vector(0) / 0", 5, past.begin + 60)
        assert fault is not None
        assert fault.reason is LoadReason.NAN

    def test_several_series(self, past: Past) -> None:
        """A query that does not sum is refused."""
        query = f"rate({REQUESTS}_count{executor('pods').selector}[15s])"
        with pytest.raises(PlatformError, match=r"2 series answer 'rate\(.*'; accepted: one, as of sum\(...\)"):
            past.prometheus.arrivals(query, 5, past.begin + 60)

    def test_bad_query(self, past: Past) -> None:
        """Prometheus's own words on a query it cannot read, in one line."""
        url = re.escape(past.prometheus.url)
        with pytest.raises(PlatformError, match=rf"^Prometheus at {url}: answers 400: .*parse error.*") as refused:
            past.prometheus.arrivals("sum(rate(\nx", 5, past.begin)
        assert "\n" not in str(refused.value)


class TestViolations:
    """What the histogram's histories say of an SLO."""

    @pytest.mark.parametrize(
        ("slo", "expected"), [(0.2, 0.4), (0.25, 0.4), (0.3, 0.2), (0.5, 0.2), (1, 0.1), (20, 0.1)]
    )
    def test_bounds(self, past: Past, slo: float, expected: float) -> None:
        """Late is what is beyond the smallest bound at or above the SLO; errors are violations however fast."""
        assert past.violations("mixed", slo) == pytest.approx(expected)

    def test_codes(self, past: Past) -> None:
        """Over gRPC success is called OK; where nothing succeeds all are violations."""
        assert past.violations("grpc", 0.5) == pytest.approx(0.25)
        assert past.violations("failing", 0.5) == 1.0

    @pytest.mark.parametrize("graph", ["idle", "unknown"])
    def test_no_requests(self, past: Past, graph: str) -> None:
        """Without requests there is no fraction of them."""
        assert past.violations(graph, 0.5) is None


class LiveExecutor:
    """Exports what Seldon's executor would, on a free port; answers requests by itself, one in five with an error."""

    RATE = 50

    def __init__(self) -> None:
        registry = CollectorRegistry()
        labels = ("deployment_name", "predictor_name", "service", "code")
        histogram = Histogram(REQUESTS, "Of the whole graph.", labels, buckets=(0.1, 0.5, 1), registry=registry)
        self._by_code = {code: histogram.labels("live", "default", "predictions", code) for code in ("200", "500")}
        self._server, self._serving = start_http_server(0, HOST, registry)
        self.target = f"{HOST}:{self._server.server_port}"
        self._ended = threading.Event()
        self._answering = threading.Thread(target=self._answer)

    def __enter__(self) -> LiveExecutor:
        self._answering.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._answering.join()
        self.stop_serving()

    def stop_serving(self) -> None:
        """As a pod that is gone: its metrics cannot be scraped any more."""
        if self._serving.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._serving.join()

    def _answer(self) -> None:
        begin, answered = time.monotonic(), 0
        while not self._ended.wait(0.02):
            for number in range(answered, due := int(self.RATE * (time.monotonic() - begin))):
                self._by_code["500" if number % 5 == 0 else "200"].observe(0.2)
            answered = due


def test_live(tmp_path: Path) -> None:
    """An executor's load is seen while it is scraped, is NaN soon after that, and the past stays."""
    with LiveExecutor() as live, PrometheusServer([live.target], 1, tmp_path) as server:
        prometheus, query = Prometheus(server.url), executor("live").arrivals_query(3)

        def newest(seconds: int) -> list[float]:
            return prometheus.arrivals(query, seconds, time.time())

        def violations() -> float | None:
            return prometheus.violation_ratio(executor("live"), 0.3, 5, time.time())

        wait_for(lambda: newest(3) == pytest.approx([live.RATE] * 3, rel=0.25), 20)
        wait_for(lambda: violations() == pytest.approx(0.2, abs=0.05), 20)
        live.stop_serving()
        wait_for(lambda: math.isnan(newest(1)[0]), 20)
        assert any(rate == pytest.approx(live.RATE, rel=0.25) for rate in newest(30))
