"""Generated pages say all that there is to say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from docs.pages.audit_log import audit_log
from docs.pages.markdown import slug, table
from docs.pages.pipeline_file import pipeline_file
from ipa_seldon.schema import PipelineFile
from ipa_seldon.telemetry.audit_fields import DECISION, WHY


def parts() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object of the pipeline file's schema, by its name."""
    schema = PipelineFile.model_json_schema()
    yield "PipelineFile", schema
    yield from ((name, part) for name, part in schema["$defs"].items() if "properties" in part)


def test_every_key_of_the_pipeline_file_says_what_it_means() -> None:
    """A sentence for each in the schema, and in its row of the page."""
    rows = [row.split(" | ") for row in pipeline_file().splitlines() if row.startswith("| `")]
    described = {(key.strip("| `"), meaning.removesuffix(" |")) for key, _, _, meaning in rows}
    keys = 0
    for name, part in parts():
        for key, value in part["properties"].items():
            assert value.get("description", "").endswith("."), f"{name}.{key}"
            words = " ".join(value["description"].replace("``", "`").replace("|", "\\|").split())
            assert (key, words) in described, f"{name}.{key}"
            keys += 1
    assert len(rows) == keys > 80


def test_types_and_defaults_are_those_of_the_schema() -> None:
    """Limits, choices, objects and what they hold, lists, types with a name, and keys that are required."""
    page = pipeline_file()
    for row in (
        "| `latency` | [duration](#types) | required |",
        "| `percentile` | number above 0 and below 100 | `99.0` |",
        '| `solver` | `auto`, `highs`, `gurobi`, `exhaustive` | `"auto"` |',
        "| `stages` | [object](#specstages) by name | required |",
        "| `children` | list of [object](#specgraph) | `[]` |",
        "| `seldon` | [object](#specseldon) or null | `null` |",
        "| `order` | list of integer, integer, integer | `[1, 0, 0]` |",
    ):
        assert row in page
    assert "## `spec.stages.*.variants.*`" in page


def test_every_field_of_the_audit_log_is_on_its_page() -> None:
    """With type and meaning."""
    page = audit_log()
    for name, field in {**DECISION, **WHY}.items():
        assert f"| `{name}` | {field.type} | {field.meaning} |" in page


def test_tables_and_anchors_are_markdown() -> None:
    """A bar in a cell does not end it; an anchor is what repository browsers make of a heading."""
    assert table(("a", "b"), [("x|y", "z")]) == "| a | b |\n|---|---|\n| x\\|y | z |\n"
    assert slug("`spec.stages.*`") == "specstages"
    assert slug("Values of labels") == "values-of-labels"
