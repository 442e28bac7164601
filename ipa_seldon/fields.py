"""What the keys of a file hold: durations, names, numbers; and the documents that they are in."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from typing_extensions import TypeAliasType

_DURATION = re.compile(r"(?P<number>\d+(\.\d*)?|\.\d+)(?P<unit>ms|s|m|h|d)")
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: object) -> object:
    """Seconds from ``250ms``, ``10s``, ``2m``, ``1h``, ``7d``; anything else is left for pydantic to judge."""
    if isinstance(value, bool):
        raise ValueError("accepted: seconds, or a duration such as 250ms, 10s, 2m")  # noqa: TRY004  # pydantic wants ValueError
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match:
            return float(match["number"]) * _SECONDS[match["unit"]]
        try:
            return float(value)
        except ValueError:
            raise ValueError("accepted: seconds, or a duration such as 250ms, 10s, 2m") from None
    return value


# Aliases, so that a schema has each of these once, by its name, and a key that holds one has words of its own.
Duration = TypeAliasType(
    "Duration",
    Annotated[
        float,
        BeforeValidator(parse_duration, json_schema_input_type=float | str),
        Field(gt=0, allow_inf_nan=False, description="Seconds, or a duration such as 250ms, 10s, 2m."),
    ],
)
Delay = TypeAliasType(
    "Delay",
    Annotated[
        float,
        BeforeValidator(parse_duration, json_schema_input_type=float | str),
        Field(ge=0, allow_inf_nan=False, description="Seconds, or a duration such as 250ms, 10s, 2m; 0 is none."),
    ],
)
Name = TypeAliasType(
    "Name",
    Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            max_length=63,
            description="A DNS-1123 label: a-z, 0-9 and hyphens.",
        ),
    ],
)
Quantity = TypeAliasType(
    "Quantity",
    Annotated[
        str,
        Field(pattern=r"^[0-9]+(\.[0-9]+)?([KMGT]i?)?$", description="A Kubernetes quantity of bytes, such as 512Mi."),
    ],
)
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Document(BaseModel):
    """Frozen, and strict about unknown keys. The string below a key describes it in the schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
