"""``ipa-seldon run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from ipa_seldon.plan import Decision
    from ipa_seldon.schema import Mode


@click.command()
@click.option(
    "-f",
    "--file",
    "paths",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Pipeline file; with --platform seldon several, or none: then all that the namespace's ConfigMaps hold.",
)
@click.option(
    "--platform",
    type=click.Choice(["local", "seldon"]),
    default="local",
    show_default=True,
    help="A Triton of this machine, or SeldonDeployments of a cluster.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Of the gateway; with --platform seldon of the live page, probes and /metrics; 0 takes a free one.",
)
@click.option(
    "--status-port",
    type=click.IntRange(0, 65535),
    help="With --platform local: of the live page, /healthz and /metrics, on this machine alone; 0 takes a free one.",
)
@click.option(
    "--audit",
    type=click.Path(path_type=Path),
    help="Audit log (JSON lines) to write, with --platform seldon a directory of them; see ipa-seldon replay.",
)
@click.option("--algorithm", help="Overrides the file's algorithm.")
@click.option("--solver", help="Overrides the file's solver.")
@click.option("--namespace", help="With --platform seldon: the namespace; by default the context's, or the pod's own.")
@click.option(
    "--prometheus",
    help="With --platform seldon: URL of the Prometheus that knows the load.  [default: PROMETHEUS_URL, or the file's]",
)
@click.option(
    "--mode",
    type=click.Choice(["active", "recommend", "off"]),
    help="Apply plans, only say them, or make none; overrides the files' mode (spec.seldon.mode, else active).",
)
def run(
    paths: tuple[Path, ...],
    platform: str,
    port: int,
    status_port: int | None,
    audit: Path | None,
    algorithm: str | None,
    solver: str | None,
    namespace: str | None,
    prometheus: str | None,
    mode: Mode | None,
) -> None:
    """Serve a pipeline on a Triton of this machine, or adapt those of a cluster, until SIGINT or SIGTERM."""
    if platform == "local":
        if len(paths) != 1:
            raise click.UsageError("--file: accepted: one pipeline file with --platform local")
        for name, value in (("namespace", namespace), ("prometheus", prometheus)):
            if value is not None:
                raise click.UsageError(f"--{name}: accepted: only with --platform seldon")
        _run_local(paths[0], Ports(port, status_port), audit, mode, algorithm, solver)
        return
    if status_port is not None:
        raise click.UsageError("--status-port: accepted: only with --platform local; else the page is at --port")
    from ipa_seldon.adapter.run import AdapterSettings, run_adapter

    settings = AdapterSettings(paths, namespace, prometheus, mode, algorithm, solver, audit)
    run_adapter(settings, port, lambda words: click.echo(words, err=True))


class Ports(NamedTuple):
    """Of the gateway and, where it is wanted, of the live page."""

    gateway: int
    status: int | None


def _run_local(
    path: Path, ports: Ports, audit: Path | None, mode: Mode | None, algorithm: str | None, solver: str | None
) -> None:
    import signal
    import threading
    from contextlib import ExitStack

    from ipa_seldon.bootstrap import (
        build_algorithm,
        build_controller,
        first_plan,
        local_repository,
        serve_locally,
        time_shared,
    )
    from ipa_seldon.config import read_config, with_algorithm, with_mode
    from ipa_seldon.controller import Listener
    from ipa_seldon.driver import drive
    from ipa_seldon.platforms.recommending import Recommending
    from ipa_seldon.telemetry.audit import AuditLog
    from ipa_seldon.telemetry.live import LiveTelemetry, live_page
    from ipa_seldon.weights.origin import doubt

    config = read_config(path)
    config, shared = time_shared(with_algorithm(config, algorithm) if algorithm else config)
    for note in filter(None, (shared, doubt(config.pipeline, config.repository))):
        click.echo(f"{config.name}: {note}", err=True)
    config = with_mode(config, mode) if mode else config
    local_repository(config)  # what cannot be served is told before anything starts
    decider = build_algorithm(config, solver=solver)
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    listeners: list[Listener] = [_say]
    with ExitStack() as stack:
        if audit is not None:
            listeners.append(stack.enter_context(AuditLog(audit, config)))
        telemetry = LiveTelemetry()
        if ports.status is not None:
            click.echo(
                f"{config.name}: live page at {stack.enter_context(live_page(telemetry, ports.status))}", err=True
            )
        serving = stack.enter_context(serve_locally(config, first_plan(decider), ports.gateway))
        click.echo(f"{config.name}: serving at {serving.gateway.url}/v2/models/infer, {config.mode}", err=True)
        if config.mode == "off":
            told.wait()
            return
        listeners.append(stack.enter_context(telemetry.watching(config, serving.gateway.violations)))
        platform = serving.platform if config.mode == "active" else Recommending(serving.platform)
        drive(build_controller(config, platform, decider, listeners), config.spec.interval, told.wait)


def _say(decision: Decision) -> None:
    from ipa_seldon.words import decision_words

    click.echo(decision_words(decision), err=True)
