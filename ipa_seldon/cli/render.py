"""``ipa-seldon render``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ipa_seldon.config import Config
    from ipa_seldon.plan import Plan


@click.command()
@click.option("-f", "--file", "path", type=click.Path(path_type=Path), required=True, help="Pipeline file.")
@click.option(
    "--rate", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Requests/s the first plan is for."
)
@click.option("--solver", help="Overrides the file's solver.")
@click.option("--algorithm", help="Overrides the file's algorithm.")
@click.option(
    "--triton",
    "target",
    type=click.Path(path_type=Path),
    help="Write the plan as a Triton model repository instead, to this new or empty directory.",
)
def render(path: Path, rate: float, solver: str | None, algorithm: str | None, target: Path | None) -> int:
    """Write the Kubernetes documents of a pipeline for Seldon Core: YAML for kubectl apply -f -.

    A SeldonDeployment with a Triton per stage in a pod of its own, and the ConfigMap of the plan that the pods'
    sidecars follow: the best one for --rate. No replicas are stated: one pod per stage is started, and what is set on
    the Deployments stays. Exit code 3 when only a degraded plan exists.

    With --triton, what any Triton serves without Seldon Core: for every stage the complete config.pbtxt of its plan,
    and links into the file's repository for the rest. cp -rL makes a copy that stands alone.
    """
    from ipa_seldon.bootstrap import build_algorithm, build_seldon_algorithm, repository_of
    from ipa_seldon.cli import EXIT_DEGRADED
    from ipa_seldon.config import read_config
    from ipa_seldon.plan import Observation, Status

    config = read_config(path)
    build = build_seldon_algorithm if target is None else build_algorithm
    proposal = build(config, algorithm, solver).decide(rate, Observation(time=0.0, arrivals=(), plan={}))
    if target is None:
        _print_documents(config, proposal.plan)
    else:
        from ipa_seldon.platforms.export import export_repository

        export_repository(config.pipeline, proposal.plan, repository_of(config), target)
    if proposal.status is Status.DEGRADED:
        click.echo(f"{config.name}: {proposal.reason}", err=True)
        return EXIT_DEGRADED
    return 0


def _print_documents(config: Config, plan: Plan) -> None:
    import yaml

    from ipa_seldon.bootstrap import seldon_documents

    click.echo(yaml.safe_dump_all(seldon_documents(config, plan), sort_keys=False), nl=False)
