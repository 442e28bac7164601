"""What a Prometheus metric is before anything is counted: catalogues are tables of these, and so is docs/metrics.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

# A second series for every counter and histogram, of no use to Prometheus, which takes a reset from the values.
disable_created_metrics()  # type: ignore[no-untyped-call]

Instrument = Counter | Gauge | Histogram


@dataclass(frozen=True)
class Metric:
    """``name`` as it is scraped, in base units; a histogram's is that of its buckets before ``_bucket``, whose upper
    bounds are ``buckets``. ``when`` says which series there are, in words.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    when: str = "always"
    buckets: tuple[float, ...] = ()

    @property
    def kind(self) -> Literal["counter", "gauge", "histogram"]:
        """As in the exposition's TYPE; a counter's name ends in ``_total``."""
        if self.buckets:
            return "histogram"
        return "counter" if self.name.endswith("_total") else "gauge"

    def gauge(self, registry: CollectorRegistry | None = None) -> Gauge:
        """A gauge of this name."""
        return Gauge(self.name, self.help, self.labels, registry=registry)

    def counter(self, registry: CollectorRegistry | None = None) -> Counter:
        """A counter of this name."""
        return Counter(self.name, self.help, self.labels, registry=registry)

    def histogram(self, registry: CollectorRegistry | None = None) -> Histogram:
        """A histogram of this name."""
        return Histogram(self.name, self.help, self.labels, registry=registry, buckets=self.buckets)

    @property
    def head(self) -> bytes:
        """The lines of the text format that come before all series."""
        return f"# HELP {self.name} {self.help}\n# TYPE {self.name} {self.kind}\n".encode()


def series_of(instrument: Instrument) -> bytes:
    """The series of an instrument as lines of the text format, without their head; empty where there are none."""
    return generate_latest(instrument).split(b"\n", 2)[2]
