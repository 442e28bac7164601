"""Objects, their versions, and the events of their changes. Stored objects are never changed, only replaced."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.cluster.resources import NO_SUCH_RESOURCE, ApiError, Document, Resource


@dataclass(frozen=True)
class Event:
    """One change: ``before`` is None for a new object, ``after`` for one that is deleted."""

    version: int
    resource: Resource
    before: Document | None
    after: Document | None


class Store:
    """One lock, since tests look at objects from other threads than the one that writes."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._objects: dict[Resource, dict[tuple[str, str], Document]] = {}
        self._history: list[Event] = []
        self._oldest = 0
        self._listeners: list[Callable[[Event], None]] = []
        self.version = 0

    def register(self, resource: Resource) -> None:
        """Serve a kind of objects."""
        with self._lock:
            self._objects.setdefault(resource, {})

    def resource(self, group: str, version: str, plural: str) -> Resource:
        """What is served under a path; ApiError 404."""
        with self._lock:
            for resource in self._objects:
                if (resource.group, resource.version, resource.plural) == (group, version, plural):
                    return resource
        raise ApiError(404, NO_SUCH_RESOURCE)

    def serves(self, group: str, version: str) -> bool:
        """Whether anything is served under it."""
        with self._lock:
            return any((resource.group, resource.version) == (group, version) for resource in self._objects)

    def all(self, plural: str) -> list[Document]:
        """All objects of a plural name, by namespace and name."""
        with self._lock:
            kinds = [objects for resource, objects in self._objects.items() if resource.plural == plural]
            return [document for objects in kinds for _, document in sorted(objects.items())]

    def get(self, resource: Resource, namespace: str, name: str) -> Document:
        """One object; ApiError 404."""
        with self._lock:
            found = self._objects[resource].get((namespace, name))
        if found is None:
            raise resource.missing(name)
        return found

    def within(self, resource: Resource, namespace: str) -> list[Document]:
        """The objects of a namespace, or of all where it is empty."""
        with self._lock:
            found = sorted(self._objects[resource].items())
        return [document for (place, _), document in found if namespace in ("", place)]

    def write(self, resource: Resource, old: Document | None, new: Document, dry: bool = False) -> Document:
        """Store a new object, or ``new`` for ``old``, under the next resourceVersion, unless it is a ``dry`` run.

        ApiError 409 for a second object of a name.
        """
        with self._lock:
            key = _key(new)
            if old is None and key in self._objects[resource]:
                message = f'{resource.plural} "{key[1]}" already exists'
                raise ApiError(409, message, "AlreadyExists")
            if dry:
                return new
            new = _versioned(new, self.version + 1)
            self._objects[resource][key] = new
            self._record(resource, old, new)
        return new

    def delete(self, resource: Resource, old: Document) -> None:
        """Delete an object and whatever it owns."""
        with self._lock:
            del self._objects[resource][_key(old)]
            self._record(resource, old, None)
            while dependent := next(self._owned(old["metadata"]["uid"]), None):
                self.delete(*dependent)

    def _owned(self, uid: str) -> Iterator[tuple[Resource, Document]]:
        for resource, objects in self._objects.items():
            for document in objects.values():
                if any(owner["uid"] == uid for owner in document["metadata"].get("ownerReferences", ())):
                    yield resource, document

    def _record(self, resource: Resource, before: Document | None, after: Document | None) -> None:
        self.version += 1
        event = Event(self.version, resource, before, after)
        self._history.append(event)
        for listener in self._listeners:
            listener(event)

    def since(self, version: int) -> list[Event]:
        """The changes after ``version``; ApiError 410 where they are forgotten."""
        with self._lock:
            if version < self._oldest:
                raise ApiError(410, f"too old resource version: {version} ({self._oldest})")
            return [event for event in self._history if event.version > version]

    def forget(self) -> None:
        """Drop the changes so far; every version that anyone has seen is too old from now on."""
        with self._lock:
            self.version += 1
            self._oldest = self.version
            self._history.clear()

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener`` at every change, in the thread that writes."""
        with self._lock:
            self._listeners.append(listener)


def _key(document: Document) -> tuple[str, str]:
    return document["metadata"].get("namespace", ""), document["metadata"]["name"]


def _versioned(document: Document, version: int) -> Document:
    return {**document, "metadata": {**document["metadata"], "resourceVersion": str(version)}}
