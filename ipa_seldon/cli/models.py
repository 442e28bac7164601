"""``ipa-seldon models``: where the demo's networks come from and where they lie."""

from __future__ import annotations

from pathlib import Path

import click

CACHE = click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the models.  [default: $IPA_SELDON_MODELS, else ~/.cache/ipa-seldon/models]",
)


@click.group()
def models() -> None:
    """Fetch the models of the demo pipeline."""


@models.command()
@CACHE
def fetch(cache: Path | None) -> None:
    """Download what is missing (40 MB), check every file against its SHA-256; quick when all is there."""
    from ipa_seldon.demo.models import fetch as fetch_models
    from ipa_seldon.demo.models import models_directory

    directory = cache or models_directory()
    paths = fetch_models(directory, say=lambda line: click.echo(line, err=True))
    size = sum(path.stat().st_size for path in paths)
    click.echo(f"{len(paths)} models, {size / 1e6:.0f} MB, verified, in {directory}")


@models.command()
@CACHE
def path(cache: Path | None) -> None:
    """Print the directory of the models."""
    from ipa_seldon.demo.models import models_directory

    click.echo(cache or models_directory())
