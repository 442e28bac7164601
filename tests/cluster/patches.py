"""PATCH bodies by content type. Nothing given is changed; what is returned may share parts with it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from tests.cluster.resources import ApiError, Document, Resource

_LIST_KEYS = ("name", "type")
"""What strategic merge tells the entries of a list apart by; Kubernetes states it field by field."""


def patched(resource: Resource, document: Document, content_type: str, body: Any) -> Document:
    """``document`` with a patch applied; ApiError 415 for content types that the resource does not take."""
    if content_type == "application/json-patch+json" and isinstance(body, list):
        return json_patch(document, body)
    strategic = content_type == "application/strategic-merge-patch+json"
    if content_type != "application/merge-patch+json" and (not strategic or resource.custom):
        raise ApiError(415, f"the body of the request was in an unknown format: {content_type}")
    if not isinstance(body, dict):
        raise ApiError(400, f"{content_type}: the body is not an object")
    merged: Document = _merge(document, body, strategic)
    return merged


def _merge(target: Any, patch: Any, strategic: bool) -> Any:
    """RFC 7386; a strategic one also merges lists whose entries have a name."""
    if isinstance(patch, dict):
        merged = dict(target) if isinstance(target, dict) else {}
        for key, value in patch.items():
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = _merge(merged.get(key), value, strategic)
        return merged
    if strategic and isinstance(patch, list) and isinstance(target, list):
        for key in _LIST_KEYS:
            if all(isinstance(entry, dict) and key in entry for entry in (*target, *patch)):
                entries = {entry[key]: entry for entry in target}
                entries |= {entry[key]: _merge(entries.get(entry[key]), entry, strategic) for entry in patch}
                return list(entries.values())
    return patch


def json_patch(document: Document, operations: list[Document]) -> Document:
    """RFC 6902 without ``move`` and ``copy``; ApiError 422 where a path is missing or a test fails, as Kubernetes."""
    result = deepcopy(document)
    for operation in operations:
        try:
            _operate(result, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise ApiError(422, f"the patch does not apply: {operation}: {error!r}") from error
    return result


def _operate(document: Document, operation: Document) -> None:
    action, value = operation["op"], deepcopy(operation.get("value"))
    *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:])
    target: Any = document
    for part in parents:
        target = target[int(part) if isinstance(target, list) else part]
    is_list = isinstance(target, list)
    key: Any = int(last) if is_list and last != "-" else last
    if action == "add":
        if is_list:
            target.insert(len(target) if key == "-" else key, value)
        else:
            target[key] = value
        return
    found = target[key]
    if action == "replace":
        target[key] = value
    elif action == "remove":
        del target[key]
    elif action != "test":
        raise ApiError(400, f"op {action!r}: accepted here: add, replace, remove, test")
    elif found != value:
        raise ApiError(422, f"testing value {operation['path']} failed")
