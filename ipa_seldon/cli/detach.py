"""``ipa-seldon detach``."""

from __future__ import annotations

import click

from ipa_seldon.cli.graphs import graph_options, preview, say
from ipa_seldon.errors import ConfigError


@click.command()
@graph_options
@click.option("--force", is_flag=True, help="Also when its spec was edited since: the edits are lost.")
def detach(name: str, namespace: str | None, dry_run: str, force: bool) -> None:
    """Give a SeldonDeployment back the spec that it had before ipa-seldon attach.

    The change is printed as a diff and replaces its pods once. The ConfigMaps of its plan and its pipeline stay.
    """
    from ipa_seldon.cluster.api import SELDON_DEPLOYMENTS
    from ipa_seldon.cluster.changes import read_again
    from ipa_seldon.cluster.connection import connect
    from ipa_seldon.platforms.seldon.documents import read_graph
    from ipa_seldon.specs.seldon import pipeline_name, plan_name
    from ipa_seldon.specs.seldon_attach import detached, is_edited

    cluster = connect(namespace)

    def once() -> None:
        graph = read_graph(cluster, name)
        wanted = detached(graph)
        if is_edited(graph) and not force:
            raise ConfigError(
                f"sdep/{name}: its spec was edited since it was attached, which detach would undo; to see how: "
                f"ipa-seldon attach sdep/{name} -f FILE --dry-run client; accepted: --force"
            )
        if preview(cluster, graph, wanted, dry_run):
            cluster.update(SELDON_DEPLOYMENTS, name, wanted)
            stay = f"kubectl delete configmap -n {cluster.namespace} {pipeline_name(name)} {plan_name(name)}"
            say(name, f"detached; an adapter looks after it until: {stay}")

    read_again(once, lambda: say(name, "was changed by somebody else meanwhile: read again"))
