"""``ipa-seldon attach``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ipa_seldon.cli.graphs import graph_options, preview, say, show_diff
from ipa_seldon.errors import ConfigError

if TYPE_CHECKING:
    from ipa_seldon.cluster.api import Document


@click.command()
@graph_options
@click.option("-f", "--file", "path", type=click.Path(path_type=Path), required=True, help="Pipeline file.")
@click.option(
    "--rate", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Requests/s the first plan is for."
)
def attach(name: str, path: Path, rate: float, namespace: str | None, dry_run: str) -> int:
    """Make a SeldonDeployment that is there one that can be adapted, by the pipeline file of its name.

    Its Tritons get a pod each, with a sidecar, and nothing in it states replicas any more; whatever else it has stays.
    The change is printed as a diff and replaces its pods once: with one per stage, until an adapter scales them.
    `ipa-seldon detach` takes it back. Exit code 3 when only a degraded plan exists.
    """
    from ipa_seldon.bootstrap import attached_graph, build_seldon_algorithm, seldon_config_maps
    from ipa_seldon.cli import EXIT_DEGRADED
    from ipa_seldon.cluster.api import SELDON_DEPLOYMENTS
    from ipa_seldon.cluster.changes import read_again, save_config_map
    from ipa_seldon.cluster.connection import connect
    from ipa_seldon.config import read_config
    from ipa_seldon.plan import Observation, Status
    from ipa_seldon.platforms.seldon.documents import read_graph
    from ipa_seldon.specs.seldon_attach import is_attached

    config = read_config(path)
    proposal = build_seldon_algorithm(config).decide(rate, Observation(time=0.0, arrivals=(), plan={}))
    plan_map, pipeline_map = seldon_config_maps(config, proposal.plan)
    cluster = connect(namespace)

    def once() -> None:
        graph = read_graph(cluster, name)
        wanted = attached_graph(config, proposal.plan, graph)
        if is_attached(graph):
            _stays(name, graph, wanted)
        elif preview(cluster, graph, wanted, dry_run):
            # Before the graph, whose pods mount it.
            save_config_map(cluster, plan_map)
            cluster.update(SELDON_DEPLOYMENTS, name, wanted)
            say(name, "attached; there is one pod per stage until an adapter scales it")
        # After the graph: an adapter that finds it acts on the graph as it is then.
        if dry_run == "none" and save_config_map(cluster, pipeline_map):
            say(name, f"ConfigMap {pipeline_map['metadata']['name']} written")

    read_again(once, lambda: say(name, "was changed by somebody else meanwhile: read again"))
    if proposal.status is Status.DEGRADED:
        say(name, proposal.reason)
        return EXIT_DEGRADED
    return 0


def _stays(name: str, graph: Document, wanted: Document) -> None:
    """Nothing is written where it is attached; ConfigError where attaching again would change it."""
    from ipa_seldon.specs.seldon_attach import same_spec

    if not same_spec(graph, wanted):
        show_diff(graph, wanted)
        raise ConfigError(
            f"sdep/{name}: attached already, and the diff is what attaching it again would change; "
            f"accepted: first ipa-seldon detach sdep/{name}"
        )
    say(name, "attached already, and as it should be: nothing changes")
