"""A name from a table, or ``module:attribute``, to the object it stands for. Imports on use."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ipa_seldon.errors import PluginError


def load(kind: str, name: str, table: Mapping[str, str], extra: str | None = None) -> Any:
    """The object behind ``name``: a key of ``table``, or any importable ``module:attribute``.

    Raises PluginError naming the accepted values, or the package that is missing, which the extra ``extra`` brings:
    without one, that of the same name.
    """
    target = table.get(name, name)
    module, _, attribute = target.partition(":")
    if not (module and attribute):
        raise PluginError(f"{kind}: {name!r} is unknown; accepted: {', '.join(table)}, or 'module:attribute'")
    try:
        found = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        remedy = f"; install it, for example with an extra: pip install 'ipa-seldon[{extra or name}]'"
        raise PluginError(
            f"{kind}: {name!r} needs the package {error.name!r}{remedy if name in table else ''}"
        ) from error
    except AttributeError as error:
        raise PluginError(f"{kind}: {name!r}: module {module!r} has no attribute {attribute!r}") from error
    if not callable(found):
        raise PluginError(f"{kind}: {name!r}: accepted: a class or function; this is a {type(found).__name__}")
    return found
