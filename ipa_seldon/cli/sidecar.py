"""``ipa-seldon sidecar``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from ipa_seldon.cli.options import Seconds


@click.command()
@click.option("--stage", required=True, help="The stage, which is the model's name in Triton's repository.")
@click.option(
    "--plan", "path", required=True, type=click.Path(path_type=Path), help="The plan document, a mounted ConfigMap's."
)
@click.option("--entry", help="Its entry in the plan, a variant of a set.  [default: the stage]")
@click.option(
    "--pod",
    envvar="POD_NAME",
    default="",
    help="This pod's name, by which the plan says how many cores it has; by default as in POD_NAME.",
)
@click.option(
    "--config-map", help="That ConfigMap's name: watched where the pod may, which is faster than the mounted file."
)
@click.option("--triton", default="localhost:9500", show_default=True, help="Triton's gRPC endpoint, host:port.")
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")  # noqa: S104  # probes come from outside the pod
@click.option(
    "--port", default=8090, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option("--poll", type=Seconds(), default="1s", show_default=True, help="How often to look at plan and Triton.")
@click.option(
    "--min-interval", type=Seconds(), default="2s", show_default=True, help="Between two changes of Triton, at least."
)
def sidecar(
    stage: str,
    path: Path,
    entry: str | None,
    pod: str,
    config_map: str | None,
    triton: str,
    host: str,
    port: int,
    poll: float,
    min_interval: float,
) -> None:
    """Make the Triton of this pod run its stage's part of the plan, until SIGINT or SIGTERM.

    Prints one JSON line {"url": ...} once it answers: /readyz (is a plan of ours served?), /healthz, /status, /metrics.
    """
    import asyncio
    import json
    import time

    from ipa_seldon.asgi import listen, serve_process
    from ipa_seldon.platforms.triton_models import TritonModels
    from ipa_seldon.sidecar.app import Sidecar, create_app
    from ipa_seldon.sidecar.reconciler import Reconciler
    from ipa_seldon.specs.desired import PodPlan, pod_plan

    def say(words: str) -> None:
        click.echo(words, err=True)

    def announce(url: str) -> None:
        click.echo(json.dumps({"url": url}))

    def mounted() -> str:
        # By its path, each time: the kubelet swaps the directory that a ConfigMap is mounted as.
        return path.read_text(encoding="utf-8")

    listener = listen(host, port)
    watched = _watched(config_map, say) if config_map else lambda: None

    def wanted() -> PodPlan:
        return pod_plan(watched() or mounted(), entry or stage, pod)

    reconciler = Reconciler(stage, wanted, lambda: TritonModels(triton), time.monotonic, min_interval)
    app = create_app(Sidecar(stage, reconciler, poll, say))
    asyncio.run(serve_process(app, listener, 0.0, announce, None))


def _watched(config_map: str, say: Callable[[str], None]) -> Callable[[], str | None]:
    """What a watch has seen of the plan document; always None where there is no cluster to ask."""
    import threading

    from ipa_seldon.cluster.connection import connect
    from ipa_seldon.cluster.watched import WatchedDocument
    from ipa_seldon.errors import ConfigError
    from ipa_seldon.specs.desired import KEY

    try:
        document = WatchedDocument(connect(), config_map, KEY, say)
    except ConfigError as error:
        say(f"following the mounted plan alone: {error}")
        return lambda: None
    threading.Thread(target=document.run, args=(threading.Event(),), name="watch", daemon=True).start()
    return lambda: document.text
