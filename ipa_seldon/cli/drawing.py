"""The option that names a file to draw to."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click


class Drawing(click.ParamType):
    """A file with one of the suffixes ``formats``, that ``package`` of the extra ``report`` draws."""

    name = "file"

    def __init__(self, package: str, *formats: str) -> None:
        self._package = package
        self._formats = formats

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path; fails with what is accepted, and where the package that draws is missing."""
        path = Path(value)
        if path.suffix.lower() not in self._formats:
            self.fail(f"{str(value)!r}: accepted: a file that ends in {', '.join(self._formats)}", param, ctx)
        if find_spec(self._package) is None:
            self.fail(f"needs the package {self._package}: pip install 'ipa-seldon[report]'", param, ctx)
        return path
