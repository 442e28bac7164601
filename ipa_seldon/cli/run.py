"""``ipa-seldon run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ipa_seldon.plan import Decision


@click.command()
@click.option("-f", "--file", "path", type=click.Path(path_type=Path), required=True, help="Pipeline file.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Of the gateway; 0 takes a free one."
)
@click.option(
    "--audit", type=click.Path(path_type=Path), help="Audit log (JSON lines) to write; see ipa-seldon replay."
)
@click.option("--algorithm", help="Overrides the file's algorithm.")
@click.option("--solver", help="Overrides the file's solver.")
def run(path: Path, port: int, audit: Path | None, algorithm: str | None, solver: str | None) -> None:
    """Serve a pipeline on a Triton of this machine, and adapt it until SIGINT or SIGTERM."""
    import signal
    import threading
    from contextlib import ExitStack

    from ipa_seldon.bootstrap import build_algorithm, build_controller, first_plan, serve_locally, time_shared
    from ipa_seldon.config import read_config
    from ipa_seldon.controller import Listener
    from ipa_seldon.driver import drive
    from ipa_seldon.telemetry.audit import AuditLog

    config, note = time_shared(read_config(path))
    if note:
        click.echo(f"{config.name}: {note}", err=True)
    decider = build_algorithm(config, algorithm, solver)
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    listeners: list[Listener] = [_say]
    with ExitStack() as stack:
        if audit is not None:
            listeners.append(stack.enter_context(AuditLog(audit, config, algorithm)))
        serving = stack.enter_context(serve_locally(config, first_plan(decider), port))
        controller = build_controller(config, serving.platform, decider, listeners)
        click.echo(f"{config.name}: serving at {serving.gateway.url}/v2/models/infer", err=True)
        drive(controller, config.spec.interval, told.wait)


def _say(decision: Decision) -> None:
    from ipa_seldon.demo.words import decision_words

    click.echo(decision_words(decision), err=True)
