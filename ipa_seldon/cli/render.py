"""``ipa-seldon render``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("-f", "--file", "path", type=click.Path(path_type=Path), required=True, help="Pipeline file.")
@click.option(
    "--rate", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Requests/s the first plan is for."
)
@click.option("--solver", help="Overrides the file's solver.")
@click.option("--algorithm", help="Overrides the file's algorithm.")
def render(path: Path, rate: float, solver: str | None, algorithm: str | None) -> int:
    """Write the Kubernetes documents of a pipeline for Seldon Core: YAML for kubectl apply -f -.

    A SeldonDeployment with a Triton per stage in a pod of its own, and the ConfigMap of the plan that the pods'
    sidecars follow: the best one for --rate. No replicas are stated: one pod per stage is started, and what is set on
    the Deployments stays. Exit code 3 when only a degraded plan exists.
    """
    import yaml

    from ipa_seldon.bootstrap import build_seldon_algorithm, seldon_documents
    from ipa_seldon.cli import EXIT_DEGRADED
    from ipa_seldon.config import read_config
    from ipa_seldon.plan import Observation, Status

    config = read_config(path)
    decider = build_seldon_algorithm(config, algorithm, solver)
    proposal = decider.decide(rate, Observation(time=0.0, arrivals=(), plan={}))
    click.echo(yaml.safe_dump_all(seldon_documents(config, proposal.plan), sort_keys=False), nl=False)
    if proposal.status is Status.DEGRADED:
        click.echo(f"{config.name}: {proposal.reason}", err=True)
        return EXIT_DEGRADED
    return 0
