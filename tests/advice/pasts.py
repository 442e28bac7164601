"""What a Prometheus scraped six hours ago and more: executors' counters, and the adapter's gauges."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import floor

REQUESTS = "seldon_api_executor_server_requests_seconds_count"


class Past:
    """``length`` seconds of samples that begin ``before`` seconds ago; seconds count from there."""

    def __init__(self, length: int, before: int = 6 * 3600) -> None:
        self.begin = floor(time.time()) - before - length
        self.length = length
        self._lines: list[str] = []

    def write(self, metric: str, value: Callable[[int], float | None], scrape: int, **labels: str) -> None:
        """A series that is scraped every ``scrape`` seconds; ``value`` of a second is None where no scrape succeeds."""
        pairs = ",".join(f'{key}="{text}"' for key, text in labels.items())
        for second in range(0, self.length + 1, scrape):
            if (found := value(second)) is not None:
                self._lines.append(f"{metric}{{{pairs}}} {found} {self.begin + second}")

    def executor(self, graph: str, count: Callable[[int], float | None], scrape: int) -> None:
        """The counter of a graph's requests."""
        labels = {"deployment_name": graph, "predictor_name": "default", "service": "predictions", "code": "200"}
        self.write(REQUESTS, count, scrape, **labels)

    def plan(self, kind: str, replicas: Callable[[int], float | None], scrape: int, **labels: str) -> None:
        """What an adapter tells of a variant that runs, or is to: replicas on two cores, batches of 4, all the load."""

        def told(of: Callable[[float], float]) -> Callable[[int], float | None]:
            return lambda second: None if (count := replicas(second)) is None else of(count)

        self.write(f"ipa_{kind}_replicas", replicas, scrape, **labels)
        self.write(f"ipa_{kind}_cores", told(lambda count: 2 * count), scrape, **labels)
        self.write(f"ipa_{kind}_batch_size", told(lambda _: 4), scrape, **labels)
        self.write(f"ipa_{kind}_share_ratio", told(lambda _: 1), scrape, **labels)

    def openmetrics(self) -> str:
        """All of it, as promtool reads it."""
        return "\n".join([*self._lines, "# EOF", ""])
