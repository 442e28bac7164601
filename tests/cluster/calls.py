"""A request to the API as values, and the faults that strike some of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from tests.cluster.resources import ApiError

_PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<subresource>[^/]+)(?:/(?P<rest>.*))?)?)?"
)
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Call:
    """A request that was answered: ``verb`` and ``resource`` ("deployments/scale") as RBAC names them; ``manager`` is
    its fieldManager; ``code`` the HTTP status, 0 where the connection was cut instead.
    """

    verb: str
    resource: str
    group: str
    namespace: str
    name: str
    code: int
    manager: str


@dataclass(frozen=True)
class Asked:
    """What a request asks for; ``namespace`` and ``name`` are empty where the path has none."""

    verb: str
    group: str
    version: str
    plural: str
    namespace: str
    name: str
    subresource: str
    rest: str
    query: Mapping[str, str]
    content_type: str
    body: Any

    @property
    def resource(self) -> str:
        """As RBAC names it."""
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural

    @property
    def dry(self) -> bool:
        """Whether nothing is to be stored."""
        return self.query.get("dryRun") == "All"

    @property
    def named(self) -> str:
        """The object it is about, also where only the body says so."""
        return self.name or (self.verb == "create" and self.body.get("metadata", {}).get("name")) or ""

    def answered(self, code: int) -> Call:
        """The record of it."""
        manager = self.query.get("fieldManager", "")
        return Call(self.verb, self.resource, self.group, self.namespace, self.named, code, manager)


async def asked(request: Request) -> Asked | None:
    """What a request asks for, None where its path is none of the API's; ApiError where its body is not JSON."""
    found = _PATH.fullmatch(request.scope["path"])
    if not found:
        return None
    text, content_type = await request.body(), request.headers.get("content-type", "").split(";")[0]
    try:
        body = json.loads(text) if text else {}
    except ValueError as error:
        raise ApiError(415 if "yaml" in content_type else 400, f"the body is not JSON: {error}") from error
    query = dict(request.query_params)
    watching = query.get("watch") in ("1", "true", "True")
    reading = "watch" if watching else "get" if found["name"] else "list"
    return Asked(
        verb=_VERBS.get(request.method, reading),
        group=found["group"] or "",
        version=found["core"] or found["version"],
        plural=found["plural"],
        namespace=found["namespace"] or "",
        name=found["name"] or "",
        subresource=found["subresource"] or "",
        rest=found["rest"] or "",
        query=query,
        content_type=content_type,
        body=body,
    )


@dataclass(frozen=True)
class Fault:
    """What strikes a request that fits; see ``Emulator.fail``."""

    verb: str | None
    resource: str | None
    name: str | None
    code: int | None
    retry_after: float | None
    delay: float
    cut: bool
    after: bool

    def fits(self, request: Asked) -> bool:
        """Whether it strikes a request."""
        wanted = ((self.verb, request.verb), (self.resource, request.resource), (self.name, request.named))
        return all(value is None or value == given for value, given in wanted)
