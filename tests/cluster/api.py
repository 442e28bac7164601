"""What each verb does to the stored objects."""

from __future__ import annotations

import aiohttp
from starlette.responses import JSONResponse, Response, StreamingResponse

from tests.cluster.calls import Asked
from tests.cluster.patches import patched
from tests.cluster.resources import (
    ACCESS_REVIEWS,
    DEFINITIONS,
    NAMESPACES,
    NO_SUCH_RESOURCE,
    SELDON_DEFINITION,
    SERVED,
    ApiError,
    Document,
    Resource,
)
from tests.cluster.selectors import Matches, selector
from tests.cluster.store import Store
from tests.cluster.watches import Watches, Watching
from tests.cluster.writes import check_blind_put, check_preconditions, created, scale_of, scaled, updated

PROXY_TIMEOUT = aiohttp.ClientTimeout(30)
_UNVERSIONED = ("", "0")
"""resourceVersions of a watch that begins with everything there is."""


class Api:
    """Answers requests; see ``Emulator`` for ``denied`` and ``resize_supported``."""

    def __init__(self) -> None:
        self.store = Store()
        self.watches = Watches(self.store)
        self.store.listen(self.watches.publish)
        self.denied: set[tuple[str, str]] = set()
        self.resize_supported = True
        for resource in SERVED:
            self.store.register(resource)
        self.store.write(NAMESPACES, None, created(NAMESPACES, "", {"metadata": {"name": "default"}}))
        self.store.write(DEFINITIONS, None, created(DEFINITIONS, "", SELDON_DEFINITION))

    def version(self) -> Document:
        """What the server says that it is."""
        minor = "33" if self.resize_supported else "32"
        unknown = dict.fromkeys(("buildDate", "compiler", "gitCommit", "gitTreeState", "goVersion", "platform"), "")
        return {"major": "1", "minor": minor, "gitVersion": f"v1.{minor}.0", **unknown}

    async def answer(self, asked: Asked) -> Response:
        """The answer to a request, errors included."""
        try:
            resource = self._resource(asked)
            if asked.verb == "watch":
                return StreamingResponse(
                    self.watches.stream(self._watching(resource, asked)), media_type="application/json"
                )
            if asked.subresource == "proxy":
                return await self._proxied(resource, asked)
            document = self._done(resource, asked)
            return JSONResponse(document, 201 if asked.verb == "create" else 200)
        except ApiError as error:
            return JSONResponse(error.document(), error.code)

    def _resource(self, asked: Asked) -> Resource:
        resource = self.store.resource(asked.group, asked.version, asked.plural)
        known = not asked.subresource or asked.subresource in resource.subresources
        if not known or (asked.subresource == "resize" and not self.resize_supported):
            raise ApiError(404, NO_SUCH_RESOURCE)
        if asked.name and resource.namespaced != bool(asked.namespace):
            raise ApiError(404, NO_SUCH_RESOURCE)
        return resource

    def _done(self, resource: Resource, asked: Asked) -> Document:
        """Do what is asked, the document of the answer."""
        if resource == ACCESS_REVIEWS:
            return self._reviewed(asked)
        if asked.verb == "list":
            return self._listed(resource, asked)
        if asked.verb == "create" and not asked.name:
            return self._created(resource, asked)
        if not asked.name or asked.verb == "create":
            raise ApiError(405, "the server does not allow this method on the requested resource")
        found = self.store.get(resource, asked.namespace, asked.name)
        if asked.verb == "delete":
            return self._deleted(resource, asked, found)
        shown = scale_of if asked.subresource == "scale" else _as_it_is
        if asked.verb == "get":
            return shown(found)
        if asked.verb == "update":
            check_blind_put(resource, asked.body)
            wanted = asked.body
        else:
            wanted = patched(resource, shown(found), asked.content_type, asked.body)
        if asked.subresource == "scale":
            new = scaled(resource, found, wanted)
        else:
            new = updated(resource, found, wanted, asked.subresource)
        return shown(new if new is found else self.store.write(resource, found, new, asked.dry))

    def _created(self, resource: Resource, asked: Asked) -> Document:
        if resource.namespaced:
            self.store.get(NAMESPACES, "", asked.namespace)
        new = created(resource, asked.namespace, asked.body)
        return self.store.write(resource, None, new, asked.dry)

    def _deleted(self, resource: Resource, asked: Asked, found: Document) -> Document:
        check_preconditions(resource, found, asked.body.get("preconditions") or {})
        if not asked.dry:
            self.store.delete(resource, found)
        if resource.plural == "pods":
            return found
        details = {
            "name": asked.name,
            "group": resource.group,
            "kind": resource.plural,
            "uid": found["metadata"]["uid"],
        }
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _listed(self, resource: Resource, asked: Asked) -> Document:
        matches = _selector(asked)
        # The entries of built-in lists do not say what they are.
        hidden = () if resource.custom else ("kind", "apiVersion")
        return {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": {"resourceVersion": str(self.store.version)},
            "items": [
                {key: value for key, value in document.items() if key not in hidden}
                for document in self.store.within(resource, asked.namespace)
                if matches(document)
            ],
        }

    def _watching(self, resource: Resource, asked: Asked) -> Watching:
        version, seconds = asked.query.get("resourceVersion", ""), asked.query.get("timeoutSeconds")
        try:
            return Watching(
                resource,
                asked.namespace,
                _selector(asked),
                start=None if version in _UNVERSIONED else int(version),
                seconds=float(seconds) if seconds else None,
                bookmarks=asked.query.get("allowWatchBookmarks") in ("1", "true", "True"),
            )
        except ValueError as error:
            raise ApiError(400, f"resourceVersion, timeoutSeconds: {error}") from error

    def _reviewed(self, asked: Asked) -> Document:
        if asked.verb != "create":
            raise ApiError(405, "the server does not allow this method on the requested resource")
        spec = asked.body.get("spec", {})
        wanted = spec.get("resourceAttributes", {})
        parts = (wanted.get("group"), wanted.get("resource"), wanted.get("subresource"))
        denied = (wanted.get("verb"), "/".join(filter(None, parts))) in self.denied
        head = {"kind": ACCESS_REVIEWS.kind, "apiVersion": ACCESS_REVIEWS.api_version, "metadata": {}}
        return {**head, "spec": spec, "status": {"allowed": not denied}}

    async def _proxied(self, resource: Resource, asked: Asked) -> Response:
        """GET of a page of a pod: NAME:PORT/proxy/PATH."""
        if asked.verb != "get":
            raise ApiError(405, "the server does not allow this method on the requested resource")
        name, _, port = asked.name.partition(":")
        address = self.store.get(resource, asked.namespace, name)["status"].get("podIP")
        if not address:
            raise ApiError(503, f"no address of pod {name!r} yet")
        url = f"http://{address}:{port or 80}/{asked.rest}"
        try:
            async with (
                aiohttp.ClientSession(timeout=PROXY_TIMEOUT) as session,
                session.get(url, params=asked.query) as answer,
            ):
                kind = answer.headers.get("Content-Type")
                return Response(await answer.read(), answer.status, media_type=kind)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(503, f"error trying to reach service: {error}") from error


def _as_it_is(document: Document) -> Document:
    return document


def _selector(asked: Asked) -> Matches:
    return selector(asked.query.get("labelSelector", ""), asked.query.get("fieldSelector", ""))
