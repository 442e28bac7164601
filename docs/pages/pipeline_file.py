"""The pipeline file: every key, out of its JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docs.pages.markdown import ORIGIN, plain, slug, table
from ipa_seldon.schema import PipelineFile

Schema = Mapping[str, Any]
EXAMPLE = Path(__file__).resolve().parents[2] / "manifests" / "pipelines" / "text" / "pipeline.yaml"
HEAD = f"""# The pipeline file

{ORIGIN} One YAML document says what is served and how is decided. Unknown keys are refused, and what is wrong is told
in one line with what is accepted. As JSON Schema, for editors: [pipeline.schema.json](pipeline.schema.json), which
`ipa-seldon schema` prints too. Below `*` stands for a name that you choose.

The demo's, [manifests/pipelines/text/pipeline.yaml](../manifests/pipelines/text/pipeline.yaml):
"""
LIMITS = {
    "exclusiveMinimum": "above",
    "gt": "above",
    "minimum": "at least",
    "ge": "at least",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def pipeline_file() -> str:
    """Every key: type, default and meaning, by the part of the file that it is in; and the types that have a name."""
    schema = PipelineFile.model_json_schema()
    definitions: Mapping[str, Schema] = schema["$defs"]
    parts = dict(_parts("", schema, definitions))
    names = {part.get("title"): path for path, part in reversed(parts.items())}
    sections = [_section(path, part, definitions, names) for path, part in parts.items()]
    types = [(name.lower(), plain(one["description"])) for name, one in definitions.items() if _is_type(one)]
    example = EXAMPLE.read_text(encoding="utf-8")
    return "\n".join(
        [HEAD, f"```yaml\n{example}```\n", *sections, f"## Types\n\n{table(('type', 'what is accepted'), types)}"]
    )


def _is_type(definition: Schema) -> bool:
    return "properties" not in definition and "enum" not in definition


def _parts(path: str, part: Schema, definitions: Mapping[str, Schema]) -> Iterator[tuple[str, Schema]]:
    """Path -> part of the file, that above first; a part that holds itself is there once."""
    yield path, part
    for key, value in part["properties"].items():
        for steps, found in _objects(value, definitions):
            if found is not part:
                yield from _parts(f"{path}.{key}{steps}".lstrip("."), found, definitions)


def _objects(value: Schema, definitions: Mapping[str, Schema]) -> Iterator[tuple[str, Schema]]:
    """The documents that a value may be, or hold by name (``.*``)."""
    if "$ref" in value:
        found = definitions[value["$ref"].rpartition("/")[2]]
        if "properties" in found:
            yield "", found
    for one in value.get("anyOf", ()):
        yield from _objects(one, definitions)
    if isinstance(value.get("additionalProperties"), dict):
        for steps, found in _objects(value["additionalProperties"], definitions):
            yield f".*{steps}", found
    if "items" in value:
        yield from _objects(value["items"], definitions)


def _section(path: str, part: Schema, definitions: Mapping[str, Schema], names: Mapping[str | None, str]) -> str:
    rows = [
        (
            f"`{key}`",
            _type(value, definitions, names),
            _default(key, value, part, definitions),
            plain(value.get("description", "")),
        )
        for key, value in part["properties"].items()
    ]
    title = f"`{path}`" if path else "The document"
    return f"## {title}\n\n{plain(part['description'])}\n\n{table(('key', 'type', 'default', 'meaning'), rows)}"


def _type(value: Schema, definitions: Mapping[str, Schema], names: Mapping[str | None, str]) -> str:
    def words(one: Schema) -> str:
        return _type(one, definitions, names)

    match value:
        case {"$ref": reference}:
            return _named(reference.rpartition("/")[2], definitions, names)
        case {"anyOf": choices}:
            return " or ".join(map(words, choices))
        case {"enum": _} | {"const": _}:
            return ", ".join(f"`{one}`" for one in value.get("enum") or [value["const"]])
        case {"type": "array"}:
            return f"list of {', '.join(map(words, value.get('prefixItems') or [value['items']]))}"
        case {"type": "object"}:
            return f"{words(value['additionalProperties'])} by name"
    limits = [f"{bound} {value[key]}" for key, bound in LIMITS.items() if key in value]
    return " ".join([value["type"], " and ".join(limits)]).strip()


def _named(name: str, definitions: Mapping[str, Schema], names: Mapping[str | None, str]) -> str:
    if _is_type(definitions[name]):
        return f"[{name.lower()}](#types)"
    if name in names:
        return f"[object](#{slug(names[name])})"
    return _type(definitions[name], definitions, names)


def _default(key: str, value: Schema, part: Schema, definitions: Mapping[str, Schema]) -> str:
    if key in part.get("required", ()):
        return "required"
    default = value["default"]
    if isinstance(default, dict) and default and any(_objects(value, definitions)):
        return "as there"
    return f"`{json.dumps(default)}`"
