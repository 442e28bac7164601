"""Options that say which part of a Prometheus' history is meant."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from math import floor
from typing import TYPE_CHECKING, Any

import click

from ipa_seldon.cli.options import Moment, Seconds

if TYPE_CHECKING:
    from ipa_seldon.advice.gauges import Gauges
    from ipa_seldon.advice.history import Source, Span
    from ipa_seldon.advice.recording import Recording
    from ipa_seldon.config import Config
    from ipa_seldon.prometheus import Prometheus

PATIENCE = 60.0
"""Seconds that a page of a history may take."""


@dataclass(frozen=True)
class Range:
    """What the options say; ``seconds`` up to ``end`` (seconds since the epoch; None: now)."""

    url: str | None
    seconds: float | None
    end: float | None
    query: str | None
    namespace: str | None

    def refuse(self, instead: str) -> None:
        """UsageError for options that are only about a Prometheus, where ``instead`` of one is given."""
        for name, value in (
            ("prometheus", self.url),
            ("range", self.seconds),
            ("end", self.end),
            ("query", self.query),
            ("namespace", self.namespace),
        ):
            if value is not None:
                raise click.UsageError(f"--{name}: accepted: without {instead}")

    def span(self, past: int = 0) -> Span:
        """The seconds that are meant."""
        from ipa_seldon.advice.history import Span

        if self.seconds is None:
            raise click.UsageError("--range: missing; a Prometheus needs one, such as 7d")
        end = floor(time.time() if self.end is None else self.end)
        return Span(end - max(1, round(self.seconds)), end, past)

    def source(self, config: Config) -> Source:
        """Where the load of a pipeline is: of the query that is given, else of the file's, else as it is counted."""
        from ipa_seldon.adapter.load import counters_of
        from ipa_seldon.advice.history import Source, counted
        from ipa_seldon.prometheus import Executor

        spec, prometheus = config.spec.seldon, self.prometheus(config)
        query = self.query or (spec.arrivals if spec else None)
        if query:
            return Source(prometheus, query, 1)
        counters = counters_of(config, self.namespace) if spec else Executor(config.name, "default", self.namespace)
        return counted(prometheus, counters, self.span())

    def gauges(self, config: Config) -> Gauges:
        """What the adapter told of a pipeline."""
        from ipa_seldon.advice.gauges import Gauges

        return Gauges(self.prometheus(config), config.name, self.namespace)

    def prometheus(self, config: Config) -> Prometheus:
        """The one to ask, by the command line, the environment or the file, for as long as a history takes."""
        from ipa_seldon.adapter.load import prometheus_of
        from ipa_seldon.prometheus import Prometheus
        from ipa_seldon.prometheus.access import resolve

        if config.spec.seldon:
            found = prometheus_of(config, self.url)
        else:
            named = resolve(self.url)
            found = named and Prometheus(named[0], access=named[1])
        if found is None:
            raise click.UsageError("--prometheus: missing; accepted: there, or by PROMETHEUS_URL")
        return replace(found, timeout=max(found.timeout, PATIENCE))

    def recording(self, config: Config) -> Recording:
        """The load, behind a progress bar, with what forecasts look back on before it."""
        from rich.console import Console
        from rich.progress import Progress

        from ipa_seldon.advice.history import recorded
        from ipa_seldon.bootstrap import history_seconds

        span = self.span(history_seconds(config))
        source = self.source(config)
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(f"history, every {source.step} s", total=1.0)
            return recorded(source, span, lambda done: bar.update(task, completed=done))


def history_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--prometheus, --range, --end, --query and --namespace, which a command gets as ``history``."""

    @wraps(command)
    def with_history(
        prometheus: str | None,
        seconds: float | None,
        end: float | None,
        query: str | None,
        namespace: str | None,
        **options: Any,
    ) -> Any:
        return command(history=Range(prometheus, seconds, end, query, namespace), **options)

    for option in (
        click.option("--namespace", help="Of the graph, where graphs in several namespaces share its name."),
        click.option(
            "--query", help="PromQL for requests/s, one series, in place of the file's or the executors' own."
        ),
        click.option(
            "--end", type=Moment(), help="End of the range: ISO 8601, or seconds since the epoch.  [default: now]"
        ),
        click.option("--range", "seconds", type=Seconds(), help="How much of its history: 7d, 12h, 30m."),
        click.option(
            "--prometheus", help="URL of the one that has the history.  [default: PROMETHEUS_URL, or the file's]"
        ),
    ):
        with_history = option(with_history)
    return with_history
