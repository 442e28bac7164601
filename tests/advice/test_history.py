"""Histories out of a real Prometheus: page by page, at the pace of its scrapes, with their gaps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from ipa_seldon.advice.gauges import Gauges, moments_in
from ipa_seldon.advice.history import PAGE, Source, Span, counted, recorded
from ipa_seldon.errors import PlatformError
from ipa_seldon.plan import Allocation
from ipa_seldon.prometheus import Executor, Prometheus
from tests.advice.pasts import REQUESTS, Past
from tests.prometheus_server import PrometheusServer

pytestmark = pytest.mark.prometheus
LENGTH = 12_000
"""Seconds: more than Prometheus gives at once."""
TURN, GAP, AGAIN = 6000, 8000, 8600
"""The load doubles at the first; nothing is scraped from the second to the third."""
SLOW = 15


def doubling(second: int) -> float | None:
    """A count that grows by 40 a second, then by 80; what comes in the gap is not seen."""
    if GAP < second < AGAIN:
        return None
    return 40 * second + 40 * max(second - TURN, 0)


class Server:
    """The Prometheus, and the span of its past."""

    def __init__(self, url: str, past: Past) -> None:
        self.prometheus = Prometheus(url)
        self.begin, self.end = past.begin, past.begin + LENGTH

    def source(self, graph: str) -> Source:
        return counted(self.prometheus, Executor(graph, "default"), Span(self.begin, self.end))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that scrapes nothing any more."""
    past = Past(LENGTH)
    past.executor("quick", doubling, 1)
    past.executor("slow", doubling, SLOW)
    past.executor("late", lambda second: None if second < TURN else 40 * second, SLOW)
    one = {"pipeline": "toy", "namespace": "seldon", "stage": "double", "variant": "light"}
    past.plan("current", lambda _: 1, SLOW, **one)
    past.plan("desired", lambda second: 1 if second < TURN else 3, SLOW, **one)
    # Of another adapter, which was replaced at the turn, and of another namespace.
    past.plan("current", lambda second: 1 if second < TURN else None, SLOW, **one, pod="before")
    past.plan("current", lambda _: 7, SLOW, **(one | {"namespace": "other"}))
    past.write("ipa_forecast_requests_per_second", lambda _: 55.5, SLOW, pipeline="toy", namespace="seldon")
    directory = tmp_path_factory.mktemp("prometheus")
    prometheus = PrometheusServer([], SLOW, directory)
    prometheus.backfill(past.openmetrics())
    with prometheus:
        yield Server(prometheus.url, past)


def test_pages_are_small_enough_and_miss_nothing() -> None:
    """Each moment once, in order, up to the end; the past in whole steps before the start."""
    for step, past in ((1, 0), (1, 7), (15, 100), (15, 0)):
        span = Span(1000, 1000 + 3 * PAGE * step + 7, past)
        pages = list(span.pages(step))
        moments = [moment for page in pages for moment in page]
        assert moments == list(range(moments[0], span.end + 1, step))
        assert max(map(len, pages)) <= PAGE
        assert 1000 - past - step < moments[0] - step <= 1000 - past


def test_a_load_is_read_second_by_second_over_several_pages(server: Server) -> None:
    """Scraped every second it is known by the second; where scrapes fail the last mean is repeated while two scrapes
    are near enough, then nobody measured. It can be asked for with what was before.
    """
    source = server.source("quick")
    heard: list[float] = []
    found = recorded(source, Span(server.begin + 100, server.end, 60), heard.append)
    assert source.step == 1
    assert len(heard) == 2
    assert heard[-1] == 1.0
    assert (found.start, len(found.rates), len(found.past)) == (server.begin + 100, LENGTH - 100, 60)
    assert np.allclose(found.past, 40)
    expected = np.repeat([40.0, 80.0], [TURN - 100, LENGTH - TURN])
    missing = np.isnan(found.rates)
    assert np.allclose(found.rates[~missing], expected[~missing])
    lost = np.flatnonzero(missing) + 101 + server.begin
    assert lost.tolist() == list(range(server.begin + GAP + 3, server.begin + AGAIN + 1))
    assert found.unmeasured == (AGAIN - GAP - 2, AGAIN - GAP - 2)


def test_a_load_that_is_scraped_seldom_is_asked_for_seldom(server: Server) -> None:
    """A point for each scrape, which counts for all of its seconds; one scrape that fails is no gap."""
    source = server.source("slow")
    assert source.step == SLOW
    found = recorded(source, Span(server.begin, server.end))
    assert found.start == server.begin  # what two scrapes tell is of the seconds between them
    assert found.unmeasured[1] < AGAIN - GAP
    assert float(np.nansum(found.rates)) == pytest.approx(
        np.nansum(recorded(server.source("quick"), Span(server.begin, server.end)).rates), rel=0.01
    )


def test_what_began_later_is_read_from_there(server: Server) -> None:
    """A range that reaches further back than the history."""
    found = recorded(server.source("late"), Span(server.begin, server.end))
    assert found.start == server.begin + TURN
    assert found.unmeasured == (0, 0)
    assert np.allclose(found.rates, 40)


def test_a_query_of_ones_own(server: Server) -> None:
    """Answers for every second; what is no load is refused in a line."""
    span = Span(server.begin, server.begin + 100)
    found = recorded(Source(server.prometheus, "vector(12.5)", 1), span)
    assert found.rates.tolist() == [12.5] * 100
    for query, words in (
        ("vector(-3)", r"-3 answers 'vector\(-3\)'; accepted: requests/s >= 0"),
        ("absent(vector(1))", r"nothing answers 'absent\(vector\(1\)\)' in 100 s"),
        ("vector(1) / 0", "nothing answers"),
        (REQUESTS, "2 series answer"),
        ("sum(", "answers 400: .*parse error"),
    ):
        with pytest.raises(PlatformError, match=f"^Prometheus at http://[^ ]*: {words}"):
            recorded(Source(server.prometheus, query, 1), span)


def test_a_graph_that_nobody_counts_is_told(server: Server) -> None:
    """By the query that has no answer."""
    with pytest.raises(PlatformError, match=r"nothing answers 'sum.*unknown"):
        recorded(server.source("unknown"), Span(server.begin, server.end))


def test_scrape_interval(server: Server) -> None:
    """The middle one, by the samples themselves; None where there are not two."""
    prometheus = server.prometheus
    assert prometheus.scrape_interval(f'{REQUESTS}{{deployment_name="slow"}}', server.end) == SLOW
    assert prometheus.scrape_interval(f'{REQUESTS}{{deployment_name="slow"}}', server.begin + SLOW - 1) is None
    assert prometheus.scrape_interval("absent_metric", server.end) is None


def test_what_ran_and_what_was_advised_are_read_back(server: Server) -> None:
    """A moment a scrape, with plan, advice and forecast; cores are those of one replica again. An adapter's predecessor
    counts once, another namespace's not at all.
    """
    found = moments_in(Gauges(server.prometheus, "toy", "seldon"), Span(server.begin, server.end))
    assert len(found) == LENGTH // SLOW
    assert {moment.seconds for moment in found} == {SLOW}
    assert {moment.rate for moment in found} == {55.5}
    assert {moment.ran["double"] for moment in found} == {(Allocation("light", 1, 2, 4),)}
    before = [moment for moment in found if moment.time < server.begin + TURN]
    assert {moment.advice["double"][0].replicas for moment in before} == {1}
    assert {moment.advice["double"][0].replicas for moment in found[len(before) :]} == {3}
    assert all(moment.agrees for moment in before)


def test_a_pipeline_that_no_adapter_tells_of(server: Server) -> None:
    """Is told by the gauge that is missing; a name is escaped."""
    with pytest.raises(PlatformError, match=r'nothing answers .ipa_current_replicas.*"un\\\\"known'):
        moments_in(Gauges(server.prometheus, 'un"known'), Span(server.begin, server.end))
