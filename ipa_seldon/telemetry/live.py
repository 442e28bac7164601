"""Metrics and live page of loops that run in this process, for whom no adapter's service tells them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ipa_seldon.asgi import listen, serving_beside
from ipa_seldon.config import Config
from ipa_seldon.plan import Decision
from ipa_seldon.telemetry.history import History
from ipa_seldon.telemetry.metrics import AdapterMetrics
from ipa_seldon.telemetry.pages import routes
from ipa_seldon.telemetry.status import Shown, stale

HOST = "127.0.0.1"
RECENT = 60
"""Seconds over which missed SLOs are counted."""


class LiveTelemetry:
    """What is told of this process's loops; ``role``, ``pipelines`` and ``invalid`` as a Subject's."""

    role = "local"
    invalid: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.metrics = AdapterMetrics()
        self.metrics.leads(True)
        self._shown: dict[str, Shown] = {}

    @property
    def pipelines(self) -> Sequence[Shown]:
        """Those watched now."""
        return list(self._shown.values())

    @contextmanager
    def watching(
        self, config: Config, violations: Callable[[int], float | None], algorithm: str | None = None
    ) -> Iterator[Callable[[Decision], None]]:
        """A listener of the config's loop, in which ``algorithm`` decides (by default the config's), which is told of
        until the context ends; ``violations(seconds)`` is the share of requests that missed the SLO.
        """
        history = History(config, time.time(), algorithm)
        self.metrics.add(config)
        count = self.metrics.listener(config.name, lambda _: violations(RECENT))

        def hear(decision: Decision) -> None:
            history(decision)
            count(decision)

        self._shown[config.name] = Shown(history)
        try:
            yield hear
        finally:
            del self._shown[config.name]
            self.metrics.remove(config.name)


@contextmanager
def live_page(telemetry: LiveTelemetry, port: int) -> Iterator[str]:
    """The page's URL, at which it is served in this context; ``port`` 0 takes a free one."""

    def healthz(_: Request) -> Response:
        """GET /healthz: 200 while every loop comes round."""
        silent = stale(telemetry, time.time())
        return JSONResponse({"error": f"no sign of {', '.join(silent)}"}, 503) if silent else JSONResponse({})

    app = Starlette(routes=[Route("/healthz", healthz), *routes(telemetry, telemetry.metrics)])
    with serving_beside(app, listen(HOST, port)) as url:
        yield f"{url}/"
