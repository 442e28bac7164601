"""Options that several commands share, and the output they choose."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

import click

from ipa_seldon.schema import parse_duration


class Finite(click.FloatRange):
    """A FloatRange without infinity and what is no number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; fails with what is accepted."""
        number = float(super().convert(value, param, ctx))
        if not isfinite(number):
            self.fail(f"{value!r}: accepted: a finite number", param, ctx)
        return number


class Seconds(click.ParamType[float]):
    """A positive duration: seconds, or 250ms, 10s, 2m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds; fails with what is accepted."""
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)
        if not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
            self.fail(f"{value!r}: accepted: a duration above 0 such as 250ms, 10s, 2m", param, ctx)
        return float(seconds)


def echo(document: dict[str, Any], output: str) -> None:
    """Print a document as ``json`` or ``yaml``."""
    if output == "json":
        click.echo(json.dumps(document, indent=2, allow_nan=False))
        return
    import yaml

    click.echo(yaml.safe_dump(document, sort_keys=False), nl=False)
