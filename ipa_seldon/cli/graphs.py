"""What commands share that change a SeldonDeployment: its name, the diff, what is said."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ipa_seldon.cluster.api import Cluster, Document

KINDS = ("sdep", "seldondeployment", "seldondeployments")
LONGEST_SHOWN = 80
"""Characters of an annotation's value in a diff."""
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


class GraphName(click.ParamType):
    """The name of a SeldonDeployment: as kubectl takes it, sdep/NAME, or just NAME."""

    name = "sdep/NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name; fails with what is accepted."""
        kind, slash, name = str(value).rpartition("/")
        if not name or (slash and kind.partition(".")[0].lower() not in KINDS):
            self.fail(f"{value!r}: accepted: sdep/NAME, seldondeployment/NAME, NAME", param, ctx)
        return name


def graph_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument and options of a command that changes a SeldonDeployment."""
    for decorate in (
        click.option(
            "--dry-run",
            type=click.Choice(["none", "client", "server"]),
            default="none",
            show_default=True,
            help="client: only print the diff; server: have the API server check the change, and store nothing.",
        ),
        click.option("--namespace", help="By default the context's."),
        click.argument("name", type=GraphName(), metavar="sdep/NAME"),
    ):
        command = decorate(command)
    return command


def show_diff(before: Document, after: Document) -> None:
    """Print how labels, annotations and spec differ; colours only on a terminal."""
    name = f"sdep/{before['metadata']['name']}"
    for line in difflib.unified_diff(_lines(before), _lines(after), name, name, lineterm=""):
        click.secho(line, fg=_COLOURS.get(line[0]))


def _lines(graph: Document) -> list[str]:
    import yaml

    there = {key: graph["metadata"].get(key) for key in ("labels", "annotations")}
    metadata = {key: dict(_shown(values)) for key, values in there.items() if values}
    # Without what YAML would write as references to parts that are the same object.
    plain = json.loads(json.dumps({"metadata": metadata, "spec": graph["spec"]}))
    return yaml.safe_dump(plain, width=120).splitlines()


def _shown(values: dict[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        short = len(value) <= LONGEST_SHOWN
        yield key, value if short else f"{value[:LONGEST_SHOWN]}... ({len(value)} characters)"


def preview(cluster: Cluster, before: Document, after: Document, dry_run: str) -> bool:
    """Print what ``after`` in the place of ``before`` changes, as the server would store it where that is asked, and
    say which pods it replaces; returns whether it is to be written.
    """
    from ipa_seldon.cluster.api import SELDON_DEPLOYMENTS
    from ipa_seldon.specs.seldon_attach import rolled

    name = before["metadata"]["name"]
    if dry_run == "server":
        after = cluster.update(SELDON_DEPLOYMENTS, name, after, dry_run=True)
    show_diff(before, after)
    for predictor in rolled(before, after):
        say(name, f"this replaces the pods of predictor {predictor} once, its executor's too")
    return dry_run == "none"


def say(name: str, words: str) -> None:
    """A line about a SeldonDeployment, beside the output."""
    click.echo(f"sdep/{name}: {words}", err=True)
