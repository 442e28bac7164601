"""The one door to a Kubernetes API server: documents in and out as JSON types, every call counted and retried.

The official client brings authentication, TLS and connections. Its models are left aside: they drop what they do not
know, and a SeldonDeployment has none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ipa_seldon.errors import PlatformError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

MANAGER = "ipa-seldon"
"""The field manager of every write."""
TIMEOUT = (3.0, 10.0)
"""Seconds to connect, and between two bytes of an answer."""
MERGE = "application/merge-patch+json"
STRATEGIC_MERGE = "application/strategic-merge-patch+json"
RETRIES, RETRIED = 4, (429, 500, 502, 503, 504)
LONGEST_RETRY_AFTER = 5
METHODS = {"create": "POST", "patch": "PATCH", "update": "PUT"}
"""Of the verbs that write."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A resource type; one without a version is a page of the server itself."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """The URL's path of a collection, an object or a part of one."""
        root = ("apis", self.group, self.version) if self.group else ("api", self.version) if self.version else ()
        within = ("namespaces", namespace) if self.namespaced else ()
        return "/" + "/".join(part for part in (*root, *within, self.plural, name, subresource) if part)


CONFIG_MAPS = Kind("", "v1", "configmaps")
EVENTS = Kind("", "v1", "events")
PODS = Kind("", "v1", "pods")
DEPLOYMENTS = Kind("apps", "v1", "deployments")
AUTOSCALERS = Kind("autoscaling", "v2", "horizontalpodautoscalers")
SCALED_OBJECTS = Kind("keda.sh", "v1alpha1", "scaledobjects")
LEASES = Kind("coordination.k8s.io", "v1", "leases")
SELDON_DEPLOYMENTS = Kind("machinelearning.seldon.io", "v1", "seldondeployments")
DEFINITIONS = Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)
ACCESS_REVIEWS = Kind("authorization.k8s.io", "v1", "selfsubjectaccessreviews", namespaced=False)
_VERSION = Kind("", "", "version", namespaced=False)


@dataclass(frozen=True)
class Call:
    """A call that has ended, in the words of RBAC; ``code`` is the HTTP status, 0 without an answer."""

    verb: str
    group: str
    resource: str
    code: int


@dataclass(frozen=True)
class _Request:
    """A call to be made, and in words."""

    verb: str
    kind: Kind
    name: str = ""
    subresource: str = ""
    body: Document | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    content: str = "application/json"
    retried: bool = True

    def __str__(self) -> str:
        return f"{self.verb} {'/'.join(part for part in (self.kind.plural, self.name, self.subresource) if part)}"

    def call(self, code: int) -> Call:
        """What it became."""
        part = self.subresource.partition("/")[0]
        return Call(self.verb, self.kind.group, f"{self.kind.plural}/{part}" if part else self.kind.plural, code)


class ApiError(PlatformError):
    """A call that failed; ``code`` as in Call."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Cluster:
    """One namespace of a cluster. ``on_call`` is told of every call; ``may_write`` is asked before every write: whoever
    has lost the lease must not.

    Calls that are answered 429 or 5xx, or not at all, are repeated up to RETRIES times with growing waits. A write
    whose answer was lost is repeated too: it names the version it changes (``metadata.resourceVersion``), or else sets
    the same values again. What still fails is an ApiError of one line; an absent object is None where one is read.
    """

    def __init__(
        self,
        client: ApiClient,
        namespace: str,
        on_call: Callable[[Call], None] = lambda _: None,
        may_write: Callable[[], bool] = lambda: True,
        timeout: tuple[float, float] = TIMEOUT,
    ) -> None:
        from urllib3 import Retry

        self.namespace = namespace
        self._client = client
        self._on_call = on_call
        self._may_write = may_write
        self._timeout = timeout
        self._retries = Retry(
            total=RETRIES,
            status_forcelist=RETRIED,
            allowed_methods=None,
            backoff_factor=0.1,
            backoff_jitter=0.1,
            raise_on_status=False,
            retry_after_max=LONGEST_RETRY_AFTER,
        )

    @property
    def host(self) -> str:
        """The URL of its API server."""
        return str(self._client.configuration.host)

    def version(self) -> Document:
        """What the server says that it is: ``major``, ``minor`` and more."""
        return self._json(_Request("get", _VERSION))

    def get(self, kind: Kind, name: str, subresource: str = "") -> Document | None:
        """One object, or None."""
        try:
            return self._json(_Request("get", kind, name, subresource))
        except ApiError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            raise

    def list(self, kind: Kind, labels: Mapping[str, str] | None = None) -> list[Document]:
        """The objects with all ``labels``; none where the cluster does not know the kind."""
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        try:
            found = self._json(_Request("list", kind, query={"labelSelector": selector} if selector else {}))
        except ApiError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return []
            raise
        items: list[Document] = found["items"]
        return items

    def serves(self, kind: Kind) -> bool:
        """Whether the cluster knows a kind."""
        try:
            self._json(_Request("list", kind, query={"limit": "1"}))
        except ApiError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    def watch(self, kind: Kind, name: str, version: str, seconds: int) -> Iterator[Document]:
        """Events of one object after ``version``, for about ``seconds``; ApiError 410 when that is too long ago."""
        query = {"watch": "true", "fieldSelector": f"metadata.name={name}", "resourceVersion": version}
        answer = self._send(_Request("watch", kind, query={**query, "timeoutSeconds": str(seconds)}), seconds)
        for line in _lines(answer):
            event = json.loads(line)
            if event["type"] == "ERROR":
                status = event["object"]
                raise ApiError(f"watch {kind.plural}: {status.get('message')}", status.get("code", 0))
            yield event

    def create(self, kind: Kind, body: Document) -> Document:
        """A new object; ApiError 409 when there is one of that name."""
        return self._json(_Request("create", kind, body=body))

    def patch(self, kind: Kind, name: str, body: Document, subresource: str = "") -> Document:
        """Merge ``body`` into an object; with a ``metadata.resourceVersion`` in it ApiError 409 if that has passed."""
        return self._json(_Request("patch", kind, name, subresource, body, content=MERGE))

    def patch_strategic(self, kind: Kind, name: str, body: Document, subresource: str = "") -> Document:
        """As ``patch``, with lists of built-in types merged by the names in them."""
        return self._json(_Request("patch", kind, name, subresource, body, content=STRATEGIC_MERGE))

    def update(self, kind: Kind, name: str, body: Document, dry_run: bool = False) -> Document:
        """Replace an object; ``dry_run`` has the server check and default it without storing it."""
        return self._json(_Request("update", kind, name, body=body, query={"dryRun": "All"} if dry_run else {}))

    def ask_pod(self, name: str, port: int, path: str) -> Document:
        """What a pod answers on ``port``, by way of the API server: that works from outside the cluster too.

        Asked once, whatever happens: a pod that does not answer is no fault of the cluster.
        """
        return self._json(_Request("get", PODS, f"{name}:{port}", f"proxy/{path}", retried=False))

    def _json(self, request: _Request) -> Document:
        answer = self._send(request)
        try:
            document: Document = json.loads(answer.data)
        except ValueError as error:
            raise ApiError(f"{request}: the answer is not JSON: {error}", answer.status) from error
        return document

    def _send(self, request: _Request, seconds: float = 0.0) -> Any:
        """The answer, which may take ``seconds`` longer than others; ApiError for anything but a success."""
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        if request.verb in METHODS and not self._may_write():
            raise ApiError(f"{request}: not sent: another adapter holds the lease", 0)
        connect, read = self._timeout
        try:
            # The client's own call takes no retries for one call, and waits for the end of a watch.
            answer = self._client.rest_client.pool_manager.request(
                **self._serialized(request),
                timeout=Timeout(connect=connect, read=read + seconds),
                retries=self._retries if request.retried else False,
                preload_content=request.verb != "watch",
            )
        except (HTTPError, OSError) as error:
            self._on_call(request.call(0))
            raise ApiError(f"{request}: no answer from {self.host}: {_reason(error)}", 0) from error
        self._on_call(request.call(answer.status))
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise ApiError(f"{request}: {answer.status}: {_message(answer.data)}", answer.status)
        return answer

    def _serialized(self, request: _Request) -> dict[str, Any]:
        """Method, address, authentication and body of a request."""
        method = METHODS.get(request.verb, "GET")
        headers = {"Accept": "application/json", "Content-Type": request.content}
        query = dict(request.query) if request.body is None else {**request.query, "fieldManager": MANAGER}
        path = request.kind.path(self.namespace, request.name, request.subresource)
        method, url, headers, body, _ = self._client.param_serialize(
            method, path, None, query, headers, request.body, auth_settings=["BearerToken"]
        )
        return {"method": method, "url": url, "headers": headers, "body": None if body is None else json.dumps(body)}


def _lines(answer: Any) -> Iterator[bytes]:
    """The lines of a stream; it just ends where the connection does: whoever watches starts again anyway."""
    from urllib3.exceptions import HTTPError

    try:
        yield from answer
    except (HTTPError, OSError):
        return
    finally:
        answer.release_conn()


def _reason(error: Exception) -> str:
    """The innermost reason in one line: urllib3 wraps it in what it was doing."""
    found: BaseException = getattr(error, "reason", None) or error
    return str(found).splitlines()[0] if str(found) else type(found).__name__


def _message(data: bytes) -> str:
    """What a Status document says, or the beginning of whatever else was answered."""
    text = data.decode(errors="replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(text.split())[:200] or "no reason given"
