"""Builds the adapter of a namespace, and serves until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from ipa_seldon.adapter.app import create_app
from ipa_seldon.adapter.load import build_load
from ipa_seldon.adapter.loop import PipelineLoop
from ipa_seldon.adapter.service import Service
from ipa_seldon.adapter.sources import Source, config_maps, files
from ipa_seldon.asgi import listen, serve_process
from ipa_seldon.bootstrap import build_controller, build_seldon_algorithm, seldon_platform
from ipa_seldon.cluster.api import Call, Cluster
from ipa_seldon.cluster.connection import connect
from ipa_seldon.cluster.lease import Lease
from ipa_seldon.config import Config, with_algorithm, with_mode
from ipa_seldon.controller import Listener
from ipa_seldon.plan import Decision, Outcome
from ipa_seldon.schema import Mode
from ipa_seldon.telemetry.audit import AuditLog
from ipa_seldon.telemetry.history import History
from ipa_seldon.telemetry.metrics import AdapterMetrics

LEASE = "ipa-seldon-adapter"


@dataclass(frozen=True)
class AdapterSettings:
    """What the operator of an adapter chooses. Without ``paths`` the pipelines are those of the namespace's ConfigMaps;
    ``namespace`` None is the context's own; ``prometheus`` is a URL, None: the environment's or the files'; ``mode``,
    ``algorithm`` and ``solver`` override the files'; ``audit`` is a directory of audit logs.
    """

    paths: tuple[Path, ...]
    namespace: str | None
    prometheus: str | None = None
    mode: Mode | None = None
    algorithm: str | None = None
    solver: str | None = None
    audit: Path | None = None


class Adapter:
    """Makes the loops of pipelines, with all they share."""

    def __init__(self, settings: AdapterSettings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._logs = ExitStack()
        self._told: dict[str, str] = {}
        named = files(settings.paths) if settings.paths else None
        for source in named() if named else ():
            build_load(source.read(), settings.namespace, settings.prometheus)  # only to refuse it before anything acts
        reading = connect(settings.namespace, self._count)
        self.metrics = AdapterMetrics(reading.namespace)
        self.lease = Lease(reading, LEASE, f"{socket.gethostname()}_{os.getpid()}_{uuid4().hex[:8]}")
        self.cluster: Cluster = connect(settings.namespace, self._count, lambda: self.lease.held)
        self.sources: Callable[[], list[Source]] = named or config_maps(self.cluster)

    def loop(self, source: Source) -> PipelineLoop | None:
        """The loop of one pipeline, None when its mode is off; ConfigError when its file cannot be used."""
        config = self._config(source)
        if config.mode == "off":
            return None
        load = build_load(config, self.cluster.namespace, self._settings.prometheus)
        platform = seldon_platform(config, self.cluster, load, self._say)
        history = History(config, time.time())
        listeners: list[Listener] = [
            history,
            self.metrics.listener(config.name, load.violations),
            lambda decision: self._tell(config.name, decision),
            lambda decision: platform.tell_load(decision.load),
            platform.heard,
        ]
        if self._settings.audit is not None:
            path = self._settings.audit / f"{config.name}.jsonl"
            listeners.append(self._logs.enter_context(AuditLog(path, config)))
        decider = build_seldon_algorithm(config, solver=self._settings.solver)
        controller = build_controller(config, platform, decider, listeners, self._settings.solver)
        return PipelineLoop(controller, platform, history, self.lease, self.metrics, self._say)

    def close(self) -> None:
        """Close the audit logs."""
        self._logs.close()

    def _config(self, source: Source) -> Config:
        config = source.read()
        if self._settings.algorithm:
            config = with_algorithm(config, self._settings.algorithm)
        return with_mode(config, self._settings.mode) if self._settings.mode else config

    def _count(self, call: Call) -> None:
        self.metrics.called(call.verb, call.resource, call.code)

    def _tell(self, pipeline: str, decision: Decision) -> None:
        """Say what keeps a decision from being made or applied, when that changes."""
        words, kind = decision.error, decision.error
        if decision.outcome is Outcome.NO_DATA and decision.load.reason is not None:
            words, kind = f"{decision.load.reason}: {decision.load.words}", str(decision.load.reason)
        if words and kind != self._told.get(pipeline):
            self._say(f"{pipeline}: {decision.outcome}: {words}")
        self._told[pipeline] = kind


def run_adapter(settings: AdapterSettings, port: int, say: Callable[[str], None]) -> None:
    """Adapt until SIGINT or SIGTERM; ConfigError when a named file cannot be used, or there is no cluster."""
    listener = listen("0.0.0.0", port)  # noqa: S104  # probes come from outside the pod
    adapter = Adapter(settings, say)
    service = Service(adapter.sources, adapter.loop, adapter.lease, adapter.metrics, say)
    app = create_app(service, adapter.metrics)
    try:
        where = f"namespace {adapter.cluster.namespace!r}"
        asyncio.run(serve_process(app, listener, 0.0, lambda url: say(f"adapts {where}, tells at {url}"), None))
    finally:
        adapter.close()
