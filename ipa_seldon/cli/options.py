"""Options that several commands share, and the output they choose."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import click

from ipa_seldon.fields import parse_duration
from ipa_seldon.plan import Allocation

LATEST = 1e11
"""Seconds since the epoch: about as late as a datetime can be."""
_POD = re.compile(r"(?P<variant>[^=\s]+)=(?P<cores>[1-9]\d{0,5})(:(?P<share>\d*\.?\d+))?")


class Finite(click.FloatRange):
    """A FloatRange without infinity and what is no number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; fails with what is accepted."""
        number = float(super().convert(value, param, ctx))
        if not isfinite(number):
            self.fail(f"{value!r}: accepted: a finite number", param, ctx)
        return number


class Seconds(click.ParamType):
    """A positive duration: seconds, or 250ms, 10s, 2m, 7d."""

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


class Moment(click.ParamType):
    """A moment: seconds since the epoch, or ISO 8601, which without an offset is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds since the epoch; fails with what is accepted."""
        try:
            seconds = float(value)
        except ValueError:
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                seconds = -1.0
            else:
                seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        if not 0 < seconds < LATEST:
            self.fail(f"{value!r}: accepted: 2026-05-01T12:00:00Z, or seconds since the epoch", param, ctx)
        return seconds


class Running(click.ParamType):
    """What one stage runs: VARIANT=CORES, a pod each, or VARIANT=CORES:SHARE, with commas between."""

    name = "variant=cores"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Allocation, ...]:
        """The allocations; equal shares where none is given. Fails with what is accepted."""
        if isinstance(value, tuple):
            return value
        pods = []
        for part in str(value).split(","):
            match = _POD.fullmatch(part.strip())
            if match is None:
                self.fail(f"{part!r}: accepted: VARIANT=CORES or VARIANT=CORES:SHARE, with commas between", param, ctx)
            pods.append((match["variant"], int(match["cores"]), match["share"]))
        names = [name for name, *_ in pods]
        if len(set(names)) < len(names):
            self.fail(f"{value!r}: accepted: each variant once", param, ctx)
        given = [share for *_, share in pods if share is not None]
        if given and (len(given) < len(pods) or abs(sum(map(float, given)) - 1) > 1e-6):
            self.fail(f"{value!r}: accepted: no shares, or one for each variant, 1 in sum", param, ctx)
        shares = [float(share) for share in given] or [1 / len(pods)] * len(pods)
        return tuple(Allocation(name, 1, cores, 1, share) for (name, cores, _), share in zip(pods, shares, strict=True))


class Budgets(click.ParamType):
    """What queued requests have left: seconds, or 250ms, with commas between; below 0 is late already."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Seconds; fails with what is accepted."""
        if isinstance(value, tuple):
            return value
        budgets = []
        for part in str(value).split(","):
            try:
                seconds = parse_duration(part)
            except ValueError as error:
                self.fail(f"{part!r}: {error}", param, ctx)
            if not isinstance(seconds, float) or not isfinite(seconds):
                self.fail(f"{part!r}: accepted: seconds, or a duration such as 250ms", param, ctx)
            budgets.append(seconds)
        return tuple(budgets)


def network_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The network that requests pass before they come to the server, and their sizes, which go by it."""
    command = click.option("--size", help="Of requests: 200KB, 100KB-500KB, or several, 200KB:3,500KB:1.")(command)
    return click.option("--network", help="4g-bus, 4g-foot, 4g-static or a CSV file: second,bytes_per_second.")(command)


def echo(document: dict[str, Any], output: str) -> None:
    """Print a document as ``json`` or ``yaml``."""
    if output == "json":
        click.echo(json.dumps(document, indent=2, allow_nan=False))
        return
    import yaml

    click.echo(yaml.safe_dump(document, sort_keys=False), nl=False)
