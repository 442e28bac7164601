"""labelSelector and fieldSelector."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.cluster.resources import ApiError, Document

Matches = Callable[[Document], bool]

_FIELDS = ("metadata.name", "metadata.namespace", "spec.nodeName", "status.phase")
_COMMA = re.compile(r",(?![^(]*\))")
_SET = re.compile(r"([^\s!=()]+)\s+(in|notin)\s*\(([^()]*)\)")
_EQUAL = re.compile(r"([^\s!=()]+)\s*(==|!=|=)\s*([^\s!=()]*)")
_EXISTS = re.compile(r"(!?)\s*([^\s!=()]+)")


def selector(labels: str, fields: str) -> Matches:
    """What holds for objects that both choose; ApiError 400 for what cannot be read."""
    conditions = [_label(part.strip()) for part in _COMMA.split(labels) if part.strip()]
    conditions += [_field(part.strip()) for part in fields.split(",") if part.strip()]
    return lambda document: all(condition(document) for condition in conditions)


def _label(text: str) -> Matches:
    if found := _SET.fullmatch(text):
        key, values = found[1], {value.strip() for value in found[3].split(",")}
        return _among(key, values, wanted=found[2] == "in")
    if found := _EQUAL.fullmatch(text):
        return _among(found[1], {found[3]}, wanted=found[2] != "!=")
    if found := _EXISTS.fullmatch(text):
        absent, key = bool(found[1]), found[2]
        return lambda document: (key in _labels(document)) is not absent
    raise ApiError(400, f"unable to parse requirement: {text!r}")


def _among(key: str, values: set[str], wanted: bool) -> Matches:
    return lambda document: (_labels(document).get(key) in values) is wanted


def _labels(document: Document) -> Document:
    labels: Document = document["metadata"].get("labels") or {}
    return labels


def _field(text: str) -> Matches:
    found = _EQUAL.fullmatch(text)
    if not found or found[1] not in _FIELDS:
        raise ApiError(400, f"field label not supported: {text!r}")
    part, key = found[1].split(".")
    value, wanted = found[3], found[2] != "!="
    return lambda document: (document.get(part, {}).get(key, "") == value) is wanted
