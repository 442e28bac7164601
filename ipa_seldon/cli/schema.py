"""``ipa-seldon schema``."""

from __future__ import annotations

import json

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of the pipeline file."""
    from ipa_seldon.schema import PipelineFile

    document = PipelineFile.model_json_schema()
    click.echo(json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **document}, indent=2))
