"""``ipa-seldon models``: where models come from and where they lie."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ipa_seldon.weights.sources import Source

PIPELINES = Path("manifests") / "pipelines"
CACHE = click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the text pipeline's networks.  [default: $IPA_SELDON_MODELS, else ~/.cache/ipa-seldon/models]",
)


@click.group()
def models() -> None:
    """Fetch the models of the pipelines."""


@models.command()
@click.argument("pipeline", required=False)
@click.option("--variant", "variants", multiple=True, help="Fetch this variant only; may be given several times.")
@click.option(
    "--source",
    default="hub",
    show_default=True,
    help="hub: the model hub; random: random weights of the true architecture and size; or a directory with files "
    "in STAGE/VARIANT/.",
)
@click.option("--tiny", is_flag=True, help="With --source random: the same architecture in a few hundred kB.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of random weights.")
@click.option(
    "--repository",
    type=click.Path(file_okay=False, path_type=Path),
    help="Model repository to fill; its weights.yaml says with what.  [default: the pipeline file's]",
)
@CACHE
@click.pass_context
def fetch(
    context: click.Context,
    pipeline: str | None,
    variants: tuple[str, ...],
    source: str,
    tiny: bool,
    seed: int,
    repository: Path | None,
    cache: Path | None,
) -> None:
    """Fill the model repository of PIPELINE: a pipeline file, or the name of one in manifests/pipelines.

    Every file is checked by its SHA-256; what is there and intact is skipped, so that an interrupted fetch goes on
    where it was. Each version gets a record, weights.json, of where its weights come from.

    Without PIPELINE: the networks of the text pipeline (40 MB).
    """
    if pipeline is None:
        _refuse(context, "with a PIPELINE", "variants", "source", "tiny", "seed", "repository")
        _fetch_networks(cache)
        return
    _refuse(context, "without a PIPELINE", "cache")
    if source != "random":
        _refuse(context, "with --source random", "tiny", "seed")
    from ipa_seldon.bootstrap import repository_of
    from ipa_seldon.config import read_config
    from ipa_seldon.weights.catalogue import targets
    from ipa_seldon.weights.fetch import MEGABYTE
    from ipa_seldon.weights.fetch import fetch as fetch_weights

    config = read_config(_pipeline_file(pipeline), profile=False)
    repository = repository or repository_of(config)
    wanted = targets(config, repository, variants)
    records = fetch_weights(wanted, _source(source, seed, tiny), lambda line: click.echo(line, err=True))
    size = sum(record.size for record in records)
    click.echo(
        f"{len(records)} variant{'' if len(records) == 1 else 's'}, {size / MEGABYTE:.0f} MB, verified, in {repository}"
    )


@models.command()
@CACHE
def path(cache: Path | None) -> None:
    """Print the directory of the text pipeline's networks."""
    from ipa_seldon.demo.models import models_directory

    click.echo(cache or models_directory())


def _refuse(context: click.Context, accepted: str, *names: str) -> None:
    """Usage error where one of these parameters was given."""
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and given is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"{parameter.opts[0]}: accepted: {accepted}")


def _fetch_networks(cache: Path | None) -> None:
    from ipa_seldon.demo.models import fetch as fetch_networks
    from ipa_seldon.demo.models import models_directory

    directory = cache or models_directory()
    paths = fetch_networks(directory, say=lambda line: click.echo(line, err=True))
    size = sum(path.stat().st_size for path in paths)
    click.echo(f"{len(paths)} models, {size / 1e6:.0f} MB, verified, in {directory}")


def _pipeline_file(name: str) -> Path:
    """The file of that path, else that of the pipeline of that name in this checkout."""
    return Path(name) if Path(name).is_file() else PIPELINES / name / "pipeline.yaml"


def _source(name: str, seed: int, tiny: bool) -> Source:
    from ipa_seldon.weights.hub import Hub
    from ipa_seldon.weights.sources import Folder, Random

    if name == "hub":
        return Hub()
    return Random(seed, tiny) if name == "random" else Folder(Path(name))
