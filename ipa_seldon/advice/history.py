"""Histories out of a Prometheus, in pages: it refuses a question for more than 11,000 points of a series."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np

from ipa_seldon.advice.recording import Recording, trimmed
from ipa_seldon.errors import PlatformError
from ipa_seldon.prometheus import Prometheus
from ipa_seldon.prometheus.queries import Counters

PAGE = 10_000
"""Points of a series that are asked for at once."""
SCRAPES = 3
"""Scrape intervals in which two scrapes are looked for, so that one may fail."""
Tell = Callable[[float], None]
"""Hears which share of a history is there."""


@dataclass(frozen=True)
class Span:
    """The seconds since the epoch after ``start``, up to and with ``end``, and ``past`` seconds before them."""

    start: int
    end: int
    past: int = 0

    def pages(self, step: int) -> Iterator[range]:
        """Moments ``step`` seconds apart from the past on, page by page."""
        first = self.start - ceil(self.past / step) * step
        for begin in range(first, self.end, PAGE * step):
            if page := range(begin + step, min(begin + PAGE * step, self.end) + 1, step):
                yield page


@dataclass(frozen=True)
class Source:
    """A load in ``prometheus``: the values of ``query`` (requests/s), each of the ``step`` seconds up to it."""

    prometheus: Prometheus
    query: str
    step: int


def counted(prometheus: Prometheus, counters: Counters, span: Span) -> Source:
    """The load that somebody counts, at the pace the counters are scraped at; 1 s where that is not known.

    The pace is that of the end of the span, else of its middle, else of its beginning.
    """
    moments = (span.end, (span.start + span.end) / 2, span.start)
    paces = (prometheus.scrape_interval(counters.counters[0], moment) for moment in moments)
    pace = next((pace for pace in paces if pace), 1.0)
    step = max(1, round(pace))
    return Source(prometheus, counters.arrivals_query(SCRAPES * max(pace, 1.0)), step)


def recorded(source: Source, span: Span, tell: Tell = lambda _: None) -> Recording:
    """The load of a span, without what nobody measured at either end; PlatformError where it has none."""
    step = source.step
    pages = list(span.pages(step))
    start = pages[0][0] - step
    rates = np.full((pages[-1][-1] - start), np.nan)
    for number, page in enumerate(pages, 1):
        for moment, rate in zip(page, source.prometheus.rates(source.query, page), strict=True):
            if rate < 0:
                raise PlatformError(
                    f"{source.prometheus}: {rate:g} answers {source.query!r}; accepted: requests/s >= 0"
                )
            at = moment - start
            rates[at - step : at] = rate
        tell(number / len(pages))
    found = trimmed(start, rates, span.start - start)
    if found is None:
        raise PlatformError(f"{source.prometheus}: nothing answers {source.query!r} in {span.end - span.start:,} s")
    return found
