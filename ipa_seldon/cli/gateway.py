"""``ipa-seldon gateway``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("-f", "--file", "path", required=True, type=click.Path(path_type=Path), help="The pipeline file.")
@click.option("--triton", required=True, metavar="URL", help="Triton's HTTP endpoint, http://host:port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option(
    "--order",
    type=click.Choice(["edf", "fifo"]),
    default="edf",
    show_default=True,
    help="Which queued request is next: that with the earliest deadline, or the one that came first.",
)
@click.option("--parent-pid", type=int, help="Stop when the process that started this one, of this id, is gone.")
def gateway(path: Path, triton: str, host: str, port: int, order: str, parent_pid: int | None) -> None:
    """Run the local ingress of a pipeline.

    Prints one JSON line {"url": ...} once it answers, and runs until SIGINT or SIGTERM.

    \b
    POST /v2/models/infer               the whole graph; Open Inference Protocol v2
    POST /v2/models/STAGE/infer         one stage; also /versions/N/infer
    GET  /v2/health/ready               whether every stage answers
    GET  /metrics                       for Prometheus
    GET  /arrivals?seconds=N            requests received in each complete second
    GET  /queue                         what requests that wait, and those that came lately, have left of the SLO
    GET  /dispatch                      {stage: {version: {weight, in_flight, healthy}}}
    PUT  /dispatch                      {stage: {version: weight}}, from this machine

    A request's deadline: what the header Ipa-Remaining-Slo (seconds) leaves; else the SLO, from Ipa-Send-Time (seconds
    since the epoch, of a synchronised clock) on, or from its arrival. What can no longer keep it is dropped (504).

    Tensors are JSON or, by Triton's binary tensor data extension, raw bytes, as the client sends them and asks for
    them; where it does either, stages in between answer in raw bytes, which are passed on as they are. A body of more
    than 64 MiB is refused (413), and any while 512 MiB of them are under way (503).

    A stage in the table of /dispatch runs a set of variants: each request goes to the Triton model STAGE.VERSION whose
    turn it is by the weights, past those that are not healthy or cannot serve it in time; the version * is the model
    STAGE. A table replaces the one before as a whole.
    """  # noqa: D301  # click wants the control character
    import asyncio
    import json
    from dataclasses import replace

    from ipa_seldon.asgi import listen, serve_process
    from ipa_seldon.config import read_config
    from ipa_seldon.gateway.app import create_app
    from ipa_seldon.gateway.graph import graph_of

    graph = replace(graph_of(read_config(path, profile=False).pipeline), by_deadline=order == "edf")
    listener = listen(host, port)

    def announce(url: str) -> None:
        click.echo(json.dumps({"url": url}))

    asyncio.run(serve_process(create_app(graph, triton), listener, graph.slo, announce, parent_pid))
